"""Huge pages for a large world: Python's memory comes from elsewhere, and all else stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.native_queue import native_calendar
from zentalk_sim.model import compiled

# Objects enough for some arenas are made before, after and across the change, and given back out of order.
CODE = """
import gc, sys
from zentalk_sim.model import compiled
compiled.activate()
print(compiled.large_pages(compiled.LARGE_DEVICES - 1))
def some(n): return [bytes([i % 251]) * (40 + i % 400) for i in range(n)]
before = some(20_000)
used = compiled.large_pages(compiled.LARGE_DEVICES)
print(used)
after = some(400_000)
del before[::2]
kept = after[::1000]
del after
gc.collect()
again = some(400_000)
print(compiled.large_pages(compiled.LARGE_DEVICES) == used)
print(all(text == bytes([i % 251]) * (40 + i % 400) for i, text in enumerate(again)))
print(all(text == bytes([i * 1000 % 251]) * (40 + i * 1000 % 400) for i, text in enumerate(kept)))
print(all(text == bytes([(2 * i + 1) % 251]) * (40 + (2 * i + 1) % 400)
          for i, text in enumerate(before)))
"""


def printed(cache: Path, **environment: str) -> list[str]:
    """What a fresh process prints, with compiled forms in ``cache``."""
    variables = {**os.environ, "XDG_CACHE_HOME": str(cache), **environment}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=variables)
    return done.stdout.split()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(compiled.SWITCH, raising=False)


def test_without_the_queue_in_c_nothing_must_change(tmp_path: Path) -> None:
    assert printed(tmp_path) == ["False", "False", "True", "True", "True", "True"]


def test_objects_must_survive_the_change_and_memory_given_back_be_used_again(tmp_path: Path) -> None:
    if native_calendar() is None:
        # Without a compiler there is nothing to change.
        with pytest.raises(compiled.CannotCompile):
            compiled.QUEUE_FORM.build()
        return
    compiled.QUEUE_FORM.build()
    found = printed(tmp_path)
    assert found[0] == "False", "a small world gains nothing"
    assert found[1] == str(sys.platform == "linux")
    assert found[2:] == ["True"] * 4
    assert printed(tmp_path, **{compiled.SWITCH: "0"})[1] == "False"
