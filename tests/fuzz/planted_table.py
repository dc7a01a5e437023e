"""Finds for each planted bug the first seed that shows it, and writes the table of docs/fuzzing.md.

``python -m tests.fuzz.planted_table`` looks anew (ten minutes); with ``--table`` it only renews the page, and with
names of bugs it looks for those alone. It ends with 1, and changes nothing, where one is not caught.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from tests.fuzz.planted import BUGS, MOST_SEEDS, planted
from zentalk_sim.fuzz.plan import draw
from zentalk_sim.fuzz.trial import run

SEEDS = Path(__file__).parent / "planted_seeds.json"
PAGE = Path(__file__).parents[2] / "docs" / "fuzzing.md"
BEGIN, END = "<!-- planted: begin -->\n", "<!-- planted: end -->"


def first_seed(name: str) -> dict[str, object] | None:
    """The first seed that shows a bug, and the check that did; None where none does within the budget."""
    for seed in range(1, MOST_SEEDS + 1):
        with planted(name):
            outcome = run(draw(seed))
        gc.collect()
        if outcome.failure is not None:
            return {"seed": seed, "check": outcome.failure.id}
    return None


def look_anew(names: list[str]) -> None:
    """Renew what is known of some bugs. Raises SystemExit, at the end, for those not caught."""
    found = {name: first_seed(name) for name in names}
    missed = [name for name, entry in found.items() if entry is None]
    if missed:
        raise SystemExit(f"not caught in {MOST_SEEDS} seeds: {', '.join(missed)}")
    known = {**json.loads(SEEDS.read_text()), **found}
    SEEDS.write_text(json.dumps({name: known[name] for name in BUGS if name in known}, indent=1) + "\n")


def table() -> str:
    """The table of bugs, in the order of the page."""
    found = json.loads(SEEDS.read_text())
    lines = ["| bug | what it does | caught by | seeds |", "|---|---|---|---|"]
    for name, (text, _) in BUGS.items():
        lines.append(f"| {name} | {text} | `{found[name]['check']}` | {found[name]['seed']} |")
    return "\n".join(lines) + "\n"


def renewed(page: str) -> str:
    """The page with its table as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    if "--table" not in sys.argv:
        look_anew(sys.argv[1:] or list(BUGS))
    PAGE.write_text(renewed(PAGE.read_text()))
