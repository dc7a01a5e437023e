"""The list of all checks for the docs: ``python -m zentalk_sim.checks.document`` renews it in ``docs/checks.md``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from zentalk_sim.checks.registry import catalogue

BEGIN: Final = "<!-- checks: begin -->"
END: Final = "<!-- checks: end -->"


def listing() -> str:
    """Both sides' checks as Markdown tables."""
    parts = []
    for side in ("client", "relay"):
        checks = [c for c in catalogue() if c.side == side]
        parts.append(f"### The {side}: {len(checks)} checks\n")
        parts.append("| check | source | | requirement |\n|---|---|---|---|")
        rows = [f"| `{c.id}` | {c.citation} | {c.severity} | {c.title().replace('|', '/')} |" for c in checks]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def renewed(page: str) -> str:
    """A page with the list between its two marks renewed. Raises ValueError where a mark is missing."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{head}{BEGIN}\n{listing()}\n{END}{tail}"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/checks.md")
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
