"""The vectors checked in are what the code makes, and they hold known answers of the standards."""

from __future__ import annotations

import json

import pytest
from generate import FILES, HERE, text_of

from zentalk_sim.protocol.crypto import Ed25519


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_file_must_be_what_the_code_makes(name: str) -> None:
    text = (HERE / f"{name}.json").read_text(encoding="utf-8")
    assert text == text_of(name), "run: python tests/vectors/generate.py"
    assert json.loads(text)["cases"]


def test_no_vector_file_may_lie_beside_the_list() -> None:
    assert sorted(path.stem for path in HERE.glob("*.json")) == sorted(FILES)


def test_ed25519_must_agree_with_rfc_8032_test_1() -> None:
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert Ed25519().public_key(secret).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert (
        Ed25519().sign(secret, b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901")
    )
