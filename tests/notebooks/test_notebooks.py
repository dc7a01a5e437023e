"""Every notebook must run from beginning to end, at small size, and come to its conclusion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_concludes(notebook: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "NOTEBOOK_SIZE": "small", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", notebook],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^Conclusion: .*\d", done.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == [], "a notebook leaves no files"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_the_percent_format_and_its_parts(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    assert text.startswith("# ---\n# jupyter:\n")
    assert "format_name: percent" in text
    cells = re.split(r"^# %%", text, flags=re.MULTILINE)[1:]
    markdown = [cell for cell in cells if cell.startswith(" [markdown]\n")]
    assert re.match(r" \[markdown\]\n# # .*\n#\n# \*\*Question\.\*\* ", markdown[0])
    assert "# ## Conclusion\n" in markdown[-1]
    for cell in markdown:
        assert all(line.startswith("#") for line in cell.strip().splitlines()[1:])
    assert len(cells) - len(markdown) >= 5


def test_the_list_of_notebooks_is_complete() -> None:
    readme = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) >= 5
    assert re.findall(r"\| \[(\w+\.py)\]\(\1\)", readme) != []
    assert sorted(re.findall(r"\| \[(\w+\.py)\]\(\1\)", readme)) == [path.name for path in NOTEBOOKS]
