"""docs/journal.md: its table of events is the code's, and its examples are asked as the routes read them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mockrelay.journal import JOURNAL_EVENTS
from zentalk_sim.faults import parse_journal_match

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "journal.md").read_text(encoding="utf-8")


def test_the_table_must_name_every_event() -> None:
    table = TEXT[TEXT.index("| `event` |") :].split("\n\n", 1)[0].splitlines()[2:]
    named = [name for row in table for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(JOURNAL_EVENTS)


def test_every_example_must_be_a_match() -> None:
    bodies = [json.loads(body) for body in re.findall(r"-d '(\{.*?\})'\n", TEXT)]
    assert len(bodies) == 2
    for body in bodies:
        parse_journal_match(body["match"], JOURNAL_EVENTS)
