"""docs/faults.md: each example is a rule, and its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import fields

from zentalk_sim.faults.corruption import corrupt
from zentalk_sim.faults.reading import RuleFaults
from zentalk_sim.faults.rules import Match, parse_journal_match, parse_rule, parse_rules
from zentalk_sim.faults.verdicts import ACTIONS, name_of
from zentalk_sim.faults.vocabulary import ACTIONS_AT, CORRUPTIONS, EVENTS
from zentalk_sim.protocol.streams import Streams

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
EXAMPLES = [msgspec.json.decode(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
RULES = [rule for example in EXAMPLES for rule in (example if isinstance(example, list) else [example])]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_read(example: Any) -> None:
    if isinstance(example, list):
        assert len(parse_rules(example)) == len(example)
    elif "count" in example:
        assert parse_journal_match(example["match"]).event == "frame_in"
    else:
        parse_rule(example)


def test_the_examples_show_every_action() -> None:
    shown = {name_of(parse_rule(rule).action) for rule in RULES if "action" in rule}
    assert shown == set(ACTIONS)


def rows(heading: str) -> dict[str, list[str]]:
    """A table's rows: each name in the first column → the text of the others."""
    table = TEXT[TEXT.index(heading) :].split("\n\n", 1)[0]
    found: dict[str, list[str]] = {}
    for line in table.splitlines()[2:]:
        first, *others = [cell.strip() for cell in line.strip("|").split(" | ")]
        for name in re.findall(r"`(\w+)`", first):
            found[name] = others
    return found


def test_the_table_of_events_is_the_codes() -> None:
    table = rows("| `event` | is when")
    assert list(table) == list(EVENTS)
    for event in EVENTS:
        named = set(re.findall(r"`(\w+)`", table[event][1]))
        if event == "frame_out":
            named = set(re.findall(r"`(\w+)`", table["frame_in"][1])) - {"error"}
        assert named | {"pass"} == set(ACTIONS_AT[event])


def test_the_table_of_matches_names_every_field_of_a_rule() -> None:
    journal_only = {"direction", "close_code", "rule"}
    assert set(rows("| Field | Holds")) == {field.name for field in fields(Match)} - journal_only


def test_the_table_of_actions_names_every_parameter() -> None:
    table = rows("| `do` | Parameters")
    assert set(table) == set(ACTIONS)
    for do, kind in ACTIONS.items():
        assert set(re.findall(r"`(\w+)`", table[do][0])) == {field.name for field in fields(kind)}


def test_the_table_of_corruptions_is_the_codes() -> None:
    table = rows("| `kind` | What becomes")
    assert list(table) == list(CORRUPTIONS)
    for kind in table:
        assert corrupt(kind, b"{}", Streams(1).fresh("docs")) != b"{}"


def test_the_messages_shown_are_the_ones_given() -> None:
    shown = re.findall(r"^((?:match|action)\.\w+): (.*?)(?: …)?$", TEXT, re.MULTILINE)
    given: list[tuple[str, str]] = []
    for raw in (
        {"match": {"type": "MESAGE_ACK"}, "action": {"do": "drop"}},
        {"match": {"event": "upgrade"}, "action": {"do": "drop"}},
    ):
        with pytest.raises(RuleFaults) as caught:
            parse_rule(raw)
        given += caught.value.faults
    assert [place for place, _ in shown] == [place for place, _ in given]
    assert all(message.startswith(start) for (_, start), (_, message) in zip(shown, given, strict=True))
