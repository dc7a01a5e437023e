"""The commands of docs/control-api.md and docs/clock.md, run as they stand against a relay."""

from __future__ import annotations

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
            process.communicate(timeout=10)
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
                timeout=30,
                check=False,
            )
            assert (done.returncode != 0) == bool(fails), f"{text}\n{done.stdout}\n{done.stderr}"
            if fails:
                assert "did you mean `send_message`?" in done.stdout
