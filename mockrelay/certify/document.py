"""The list of all cases for the docs: ``python -m mockrelay.certify.document`` renews it in ``docs/certify.md``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from mockrelay.certify.case import catalogue

BEGIN: Final = "<!-- cases: begin -->"
END: Final = "<!-- cases: end -->"


def listing() -> str:
    """All cases as Markdown tables, one a group."""
    lines: list[str] = []
    group = ""
    for case in catalogue():
        if case.group != group:
            group = case.group
            lines += ["", f"### {case.id.partition('.')[0]} {group}", ""]
            lines += ["| case | title | source | expectation |", "|---|---|---|---|"]
        lines.append(f"| {case.id} | {case.title} | {case.citation} | {case.expectation.replace('|', '/')} |")
    return "\n".join(lines[1:]) + "\n"


def renewed(page: str) -> str:
    """A page with the list between its two marks renewed. Raises ValueError where a mark is missing."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{head}{BEGIN}\n{listing()}\n{END}{tail}"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/certify.md")
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
