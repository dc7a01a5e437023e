"""Runs a notebook as Jupyter would, without Jupyter: ``python cells.py NOTEBOOK SHOWN``.

Cell by cell; where a cell's last statement is an expression (without a semicolon), its value is what the cell shows.
SHOWN becomes a list, as JSON: of each cell that shows something the type's name, the last expression's source, and
its HTML where the value has any (``_repr_html_``).
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any


def code_cells(text: str) -> list[str]:
    """The code cells of a file in the percent format, each with as many blank lines before it as keep its numbers."""
    cells = re.finditer(r"^# %%(.*)\n((?:(?!# %%).*\n?)*)", text, flags=re.MULTILINE)
    return ["\n" * text.count("\n", 0, cell.start(2)) + cell[2] for cell in cells if "[markdown]" not in cell[1]]


def run_cell(source: str, name: str, namespace: dict[str, Any]) -> tuple[str, Any] | None:
    """Run a cell; the source and value of the expression it ends in."""
    tree = ast.parse(source, name)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr) or source.rstrip().endswith(";"):
        exec(compile(tree, name, "exec"), namespace)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), name, "exec"), namespace)
    return ast.unparse(last), eval(compile(ast.Expression(last.value), name, "eval"), namespace)


def main(notebook: Path, shown: Path) -> None:
    """Run all, and write down what was shown."""
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(notebook)}
    values = []
    for source in code_cells(notebook.read_text(encoding="utf-8")):
        found = run_cell(source, str(notebook), namespace)
        if found is not None and found[1] is not None:
            html = found[1]._repr_html_() if hasattr(found[1], "_repr_html_") else None
            values.append({"type": type(found[1]).__name__, "source": found[0], "html": html})
    shown.write_text(json.dumps(values), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
