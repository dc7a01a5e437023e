"""Writes docs/validation.md with figures measured here and now: ``python -m tests.validation.document [--quick]``.

``--quick`` measures what the tests do; without it every check runs in its long form, some minutes. The tests hold the
document to the catalogue: the same rows with the same theory; what was measured is for who runs this.
"""

from __future__ import annotations

import argparse
import re
import sys
from math import sqrt
from pathlib import Path
from textwrap import fill

from tests.validation.catalogue import CHECKS
from tests.validation.check import Check, Outcome
from tests.validation.faces import (
    DURATION_S,
    LIVE_SEED,
    SETTLED_S,
    UNSETTLED_S,
    live,
    simulated,
)
from tests.validation.faces import (
    Outcome as Face,
)
from tests.validation.intervals import KS_99, ks_two, quantile
from tests.validation.prose import ENDING, FACES, INTRODUCTION, SECTIONS

DOCUMENT = Path(__file__).parents[2] / "docs" / "validation.md"
HEADER = ("what", "theory", "measured", "parameters", "sample", "file")
FACES_TITLE = "Simulated against live"
FACES_HEADER = ("experiment", "figure", "simulated", "live", "ratio")
TITLES = (*SECTIONS, FACES_TITLE)
SIMULATED_SEEDS = 20
QUANTILES = (0.1, 0.5, 0.9, 0.99)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def linked(file: str) -> str:
    """A link to a file of the checkout, from docs/."""
    return f"[{Path(file).name}](../{file})"


def row(check: Check, outcome: Outcome) -> tuple[str, ...]:
    """A check's row."""
    measured = outcome.measured if outcome.agrees else f"**disagrees**: {outcome.measured}"
    return (check.what, check.theory, measured, check.parameters, outcome.sample, linked(check.file))


def face_rows(title: str, simulated: Face, live: Face) -> list[tuple[str, ...]]:
    """What two faces showed of one experiment."""
    ours, theirs = simulated.latencies_ms, live.latencies_ms
    rows: list[tuple[str, ...]] = [
        (title, "messages sent", str(simulated.planned), str(live.planned), ""),
        (title, "shown", str(len(ours)), str(len(theirs)), ""),
        (title, "of these fetched", f"{simulated.fetched / len(ours):.1%}", f"{live.fetched / len(theirs):.1%}", ""),
    ]
    for q in QUANTILES:
        a, b = quantile(ours, q), quantile(theirs, q)
        rows.append((title, f"delivery latency, p{100 * q:g}", f"{a:.1f} ms", f"{b:.1f} ms", f"{b / a:.2f}"))
    if simulated.away_s and live.away_s:
        a, b = quantile(simulated.away_s, 0.5), quantile(live.away_s, 0.5)
        rows.append((title, "time without connection, median", f"{a:.3f} s", f"{b:.3f} s", f"{b / a:.2f}"))
    limit = KS_99 * sqrt(1 / len(ours) + 1 / len(theirs))
    rows.append((title, "KS distance of delivery latency", "", f"{ks_two(ours, theirs):.3f}", f"99 %: {limit:.3f}"))
    if not live.away_s:
        # Only where the distribution has one hump does its median tell by how much the whole of it has moved.
        shift = quantile(theirs, 0.5) - quantile(ours, 0.5)
        moved = ks_two([value + shift for value in ours], theirs)
        rows.append((title, "the same, medians together", f"{shift:+.1f} ms", f"{moved:.3f}", f"99 %: {limit:.3f}"))
    return rows


def faces(seeds: int) -> str:
    """The section on the two faces."""
    # One after the other: two at once would take each other's time.
    steady, reset = live(False), live(True)
    expected = simulated(False, seeds)
    rows = face_rows("steady", expected, steady) + face_rows("reset", simulated(True, seeds), reset)
    setting = FACES.format(
        seeds=seeds,
        seed=LIVE_SEED,
        duration=DURATION_S,
        settled=SETTLED_S,
        end=DURATION_S - UNSETTLED_S,
    )
    setting = "\n\n".join(fill(" ".join(paragraph.split()), 119) for paragraph in setting.split("\n\n"))
    return f"## {FACES_TITLE}\n\n{setting}\n\n{table(FACES_HEADER, rows)}\n"


def section_of(title: str, is_long: bool) -> str:
    """One section, measured now."""
    if title == FACES_TITLE:
        return faces(SIMULATED_SEEDS)
    rows = []
    for check in (check for check in CHECKS if check.section == title):
        outcome = check.run(is_long)
        print(f"{'agrees' if outcome.agrees else 'DISAGREES'}  {check.id}: {outcome.measured}", file=sys.stderr)
        rows.append(row(check, outcome))
    return f"## {title}\n\n{SECTIONS[title]}\n\n{table(HEADER, rows)}\n"


def kept_sections(text: str) -> dict[str, str]:
    """Title → section of a document written before: its table, under the present words."""
    kept = {}
    for part in text.split("\n## ")[1:]:
        title = part.partition("\n")[0]
        if title in SECTIONS:
            lines = "\n".join(line for line in part.splitlines() if line.startswith("| "))
            kept[title] = f"## {title}\n\n{SECTIONS[title]}\n\n{lines}\n"
        elif title == FACES_TITLE:
            kept[title] = f"## {part.rstrip()}\n"
    return kept


def rows_of(section: str) -> list[list[str]]:
    """The rows of a section's table, header and rule left out."""
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2:]]
    return [[cell.strip().replace("\\|", "|") for cell in line] for line in cells]


def document(sections: dict[str, str]) -> str:
    """The whole text."""
    checks = [cells for title in SECTIONS for cells in rows_of(sections[title])]
    parts = [INTRODUCTION.format(tally=tally(checks)), *(sections[title] for title in TITLES), ENDING]
    return "\n".join(parts)


def tally(rows: list[list[str]]) -> str:
    """How many checks there are, and how many estimates miss their 99 % interval."""
    agreeing = sum("disagrees" not in cells[2] for cells in rows)
    estimates = missed = 0
    for _, theory, measured, *_ in rows:
        known, found = re.match(r"[\d.]+", theory), re.match(r"([\d.]+) ± ([\d.]+)", measured)
        if known and found:
            estimates += 1
            missed += abs(float(known[0]) - float(found[1])) > float(found[2])
    told = (
        f"{agreeing} of {len(rows)} checks agree. Of the {estimates} that estimate a mean, theory lies outside the "
        f"printed 99 % interval in {missed}; chance alone would have it so in {estimates / 100:.1f}."
    )
    return fill(told, 119)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.validation.document",
        description="Measure what the checks measure, and write docs/validation.md.",
        epilog=f"example: python -m tests.validation.document --only '{FACES_TITLE}'",
    )
    parser.add_argument("--quick", action="store_true", help="the short form of every check, as the tests run it")
    parser.add_argument(
        "--only", action="append", choices=TITLES, metavar="TITLE", help="measure this section, keep the others"
    )
    options = parser.parse_args()
    sections = kept_sections(DOCUMENT.read_text(encoding="utf-8")) if options.only else {}
    for title in TITLES:
        if title not in sections or title in (options.only or []):
            sections[title] = section_of(title, is_long=not options.quick)
    text = document(sections)
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"wrote {DOCUMENT}", file=sys.stderr)
    if "**disagrees**" in text:
        sys.exit(99)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
