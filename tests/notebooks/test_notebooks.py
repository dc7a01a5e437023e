"""Every notebook must run from beginning to end, at small size, and come to its conclusion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.cells import code_cells, run_cell

ROOT = Path(__file__).resolve().parents[2]
CELLS = Path(__file__).with_name("cells.py")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_concludes_and_shows_its_study_tables_and_pictures(notebook: Path, tmp_path: Path) -> None:
    """Cell by cell, as Jupyter does: what a cell ends in is shown, and each is something that has a rendering."""
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {**os.environ, "NOTEBOOK_SIZE": "small", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", CELLS, notebook, tmp_path / "shown.json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^Conclusion: .*\d", done.stdout, re.MULTILINE)
    assert "95 % interval" not in done.stdout, "of three seeds there is none"
    assert list(folder.iterdir()) == [], "a notebook leaves no files"
    shown = json.loads((tmp_path / "shown.json").read_text(encoding="utf-8"))
    assert {each["type"] for each in shown} <= {"Sweep", "Run", "DataFrame", "Figure"}, "each has a rendering"
    studies = [each for each in shown if each["source"] in ("study", "one")]
    assert {each["type"] for each in studies} & {"Sweep", "Run"}
    for each in studies:
        assert "<table" in each["html"]
        assert each["type"] == "Run" or "too narrow for a 95 % interval" in each["html"]
    assert any(each["type"] == "DataFrame" and "<table" in each["html"] for each in shown)
    pictures = sum(each["type"] == "Figure" for each in shown)
    assert pictures
    text = notebook.read_text(encoding="utf-8")
    assert text.count("plt.subplots(") == text.count("\nplt.close(figure)") == pictures, "an open one is shown twice"


def test_the_last_expression_of_a_cell_is_what_it_shows_under_its_own_line_number() -> None:
    text = "# %% [markdown]\n# words\n\n# %%\nx = 1\n\n# %%\nx + 1\n\n# %%\nx;\n\n# %%\nx / 0\n"
    namespace: dict[str, Any] = {}
    cells = code_cells(text)
    assert [run_cell(cell, "n.py", namespace) for cell in cells[:3]] == [None, ("x + 1", 2), None]
    with pytest.raises(ZeroDivisionError) as caught:
        run_cell(cells[3], "n.py", namespace)
    assert caught.traceback[-1].lineno + 1 == 14


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
