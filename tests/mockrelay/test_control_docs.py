"""The commands of the documents about the control API, run as they stand against a relay."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(r"^```sh( fails)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@contextmanager
def served(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of the documents' commands, with a relay behind it."""
    environment = {**os.environ, "MOCKRELAY_ADMIN_TOKEN": "let-me", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "mockrelay", "serve", "--user", "alice", "--user", "bob"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--http-port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=DOCS.parent,
    )
    try:
        assert process.stdout is not None
        found = re.search(r'"http_url": "([^"]+)"', process.stdout.readline())
        assert found is not None
        yield {
            **environment,
            "URL": found.group(1),
            "AUTH": "Authorization: Bearer let-me",
            "JSON": "Content-Type: application/json",
        }
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=60)
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["control-api.md", "clock.md"])
def test_the_documents_commands_must_work_in_their_order(name: str, tmp_path: Path) -> None:
    blocks = _BLOCK.findall((DOCS / name).read_text())
    assert len(blocks) >= 2
    with served(tmp_path) as environment:
        for fails, text in blocks:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert (done.returncode != 0) == bool(fails), f"{text}\n{done.stdout}\n{done.stderr}"
            if fails:
                assert "did you mean `send_message`?" in done.stdout


@pytest.mark.parametrize("name", ["faults.md", "journal.md"])
def test_what_the_documents_ask_must_be_understood(name: str, tmp_path: Path) -> None:
    """What they verify has not happened here, so that the answer may be no; but it is an answer."""
    blocks = [text for _, text in _BLOCK.findall((DOCS / name).read_text())]
    assert len(blocks) == 2
    with served(tmp_path) as environment:
        for text in blocks:
            command = text.replace("http://127.0.0.1:8766", environment["URL"]).replace("5000", "50")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                env={**environment, "ADMIN": "let-me"},
                capture_output=True,
                timeout=120,
                check=True,
            )
            answer = json.loads(done.stdout)
            assert "id" in answer or answer["held"] in (True, False), answer
