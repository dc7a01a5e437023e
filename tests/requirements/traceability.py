"""Which tests hold which requirement, read from the tests' marks, written to ``docs/requirements.md``.

python tests/requirements/traceability.py
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from catalogue import ONE_FACE, RULINGS, TABLES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "requirements.md"
NOT_MODELLED = "not modelled: "


def marked_ids(decorator: ast.expr) -> list[str]:
    """The ids of ``@requirement(...)`` or ``@pytest.mark.requirement(...)``."""
    if not isinstance(decorator, ast.Call):
        return []
    name = decorator.func.attr if isinstance(decorator.func, ast.Attribute) else getattr(decorator.func, "id", "")
    if name != "requirement":
        return []
    return [arg.value for arg in decorator.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]


def collect(root: Path = ROOT / "tests") -> dict[str, list[str]]:
    """Requirement → ``file::test``, in the order of files and lines.

    A mark on a class, or ``pytestmark``, holds for all in it.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        file_ids: list[str] = []
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "pytestmark" for t in node.targets):
                values = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
                file_ids += [name for value in values for name in marked_ids(value)]
        _walk(tree, file_ids, path.relative_to(root.parent).as_posix(), "", found)
    return dict(found)


def _walk(tree: ast.AST, outer: list[str], path: str, prefix: str, found: dict[str, list[str]]) -> None:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        ids = outer + [name for decorator in node.decorator_list for name in marked_ids(decorator)]
        if isinstance(node, ast.ClassDef):
            _walk(node, ids, path, f"{prefix}{node.name}::", found)
        elif node.name.startswith("test"):
            for name in dict.fromkeys(ids):
                found[name].append(f"{path}::{prefix}{node.name}")


def tests_of_row(table: str, row: str, carried_by: str, found: dict[str, list[str]]) -> list[str]:
    """The tests of a row: its own, or else those of the rulings that carry it."""
    own = found.get(f"table:{table}/{row}", [])
    return own or [test for ruling in carried_by.split() for test in found.get(ruling, [])]


def faults(found: dict[str, list[str]]) -> list[str]:
    """What breaks traceability: a requirement without a test or a reason, a mark that names nothing."""
    lines = [f"{ruling} ({title}) has no test" for ruling, title in RULINGS.items() if not found.get(ruling)]
    for ruling in RULINGS:
        played = any(test.startswith("tests/conformance/") for test in found.get(ruling, []))
        if played == (ruling in ONE_FACE):
            lines.append(f"{ruling} has {'a' if played else 'no'} conformance body, against what ONE_FACE says")
    known = set(RULINGS)
    for table, rows in TABLES.items():
        for row, carried_by in rows.items():
            known.add(f"table:{table}/{row}")
            if carried_by.startswith(NOT_MODELLED):
                continue
            lines += [f"{table}/{row} names {r}, which is no ruling" for r in carried_by.split() if r not in RULINGS]
            if not tests_of_row(table, row, carried_by, found):
                lines.append(f"table:{table}/{row} has no test")
    strangers = [(name, tests[0]) for name, tests in found.items() if name not in known]
    lines += [f"{test} is marked {name!r}, which is no requirement" for name, test in strangers]
    return lines


def document(found: dict[str, list[str]]) -> str:
    """``docs/requirements.md``."""
    lines = [
        "# Requirements and their tests",
        "",
        "Made by `python tests/requirements/traceability.py`; CI fails when a requirement has neither a test nor a",
        "reason.",
        "",
        "## Rulings",
        "",
        "| ruling | what it decides | tests |",
        "|---|---|---|",
    ]
    for ruling, title in RULINGS.items():
        lines.append(f"| {ruling} | {title} | {_cell(found.get(ruling, []))} |")
    lines += [
        "",
        "Every ruling has a body in `tests/conformance` that plays before the simulator and before real sockets, but",
        "for:",
        "",
    ]
    lines += [f"- {ruling}: {why}" for ruling, why in ONE_FACE.items()]
    lines += ["", "## The specification's tables", ""]
    for table, rows in TABLES.items():
        lines += [f"### {table}", "", "| row | carried by | tests |", "|---|---|---|"]
        for row, carried_by in rows.items():
            if carried_by.startswith(NOT_MODELLED):
                lines.append(f"| {row} | – | {carried_by} |")
            else:
                lines.append(f"| {row} | {', '.join(carried_by.split())} | {_summary(table, row, carried_by, found)} |")
        lines.append("")
    return "\n".join(lines)


def _summary(table: str, row: str, carried_by: str, found: dict[str, list[str]]) -> str:
    own = found.get(f"table:{table}/{row}", [])
    if own:
        return _cell(own)
    return f"{len(tests_of_row(table, row, carried_by, found))} tests of {' and '.join(carried_by.split())}"


def _cell(tests: list[str]) -> str:
    by_file: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        path, _, name = test.partition("::")
        by_file[path].append(name)
    return "<br>".join(f"`{path}`: {', '.join(f'`{name}`' for name in names)}" for path, names in by_file.items())


if __name__ == "__main__":
    DOCUMENT.write_text(document(collect()), encoding="utf-8")
    print("\n".join(faults(collect())) or f"wrote {DOCUMENT.relative_to(ROOT)}")
