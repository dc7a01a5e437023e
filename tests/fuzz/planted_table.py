"""Finds for each planted bug the first seed that shows it, and writes the table of docs/fuzzing.md.

``python -m tests.fuzz.planted_table`` looks anew (minutes); with ``--table`` it only renews the page.
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


def first_seed(name: str) -> dict[str, object]:
    """The first seed that shows a bug. Raises SystemExit where none does within the budget."""
    for seed in range(1, MOST_SEEDS + 1):
        with planted(name):
            outcome = run(draw(seed))
        gc.collect()
        if outcome.failure is not None:
            return {"seed": seed, "check": outcome.failure.id}
    raise SystemExit(f"{name}: not caught in {MOST_SEEDS} seeds")


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
        SEEDS.write_text(json.dumps({name: first_seed(name) for name in BUGS}, indent=1) + "\n")
    PAGE.write_text(renewed(PAGE.read_text()))
