"""A rule that cannot be read is refused with its line, its column and the nearest right name, as the mock relay's."""

from __future__ import annotations

from typing import Any

import pytest

from zentalk_sim.experiment import loader
from zentalk_sim.experiment.fault_schema import EventRule
from zentalk_sim.faults import RuleFaults, parse_rule
from zentalk_sim.files import yaml
from zentalk_sim.files.yaml import FileFaults

HEAD = "name: x\npopulation: {devices: 6, devices_per_user: 2}\nfaults:\n  - "
ADDRESS = "0x1234567890123456789012345678901234567890"


def faults(text: str, *settings: str) -> list[str]:
    """The lines told of a file whose faults begin on line 4 at column 5."""
    with pytest.raises(FileFaults) as caught:
        loader.read(yaml.parse(f"{HEAD}{text}\n", "f.yaml"), settings)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "{match: {type: MESAGE_ACK}, action: {do: drop}}",
            "f.yaml:4:20: `faults.0.match.type`: `MESAGE_ACK` is no frame type; did you mean `MESSAGE_ACK`?",
        ),
        (
            "{match: {evnt: upgrade}, action: {do: stall}}",
            "f.yaml:4:14: `faults.0.match.evnt`: a match has no such field; did you mean `event`?",
        ),
        (
            "{match: {}, action: {do: corupt}}",
            "f.yaml:4:30: `faults.0.action.do`: `corupt` is no action; did you mean `corrupt`?",
        ),
        (
            "{match: {event: upgrade}, action: {do: drop}}",
            "f.yaml:4:44: `faults.0.action.do`: `drop` cannot be done at `upgrade`",
        ),
        ("{match: {nth: 0}, action: {do: drop}}", "f.yaml:4:19: `faults.0.match.nth`: must be a whole number"),
        ("{match: {}, action: {do: delay, ms: 200ms}}", "f.yaml:4:41: `faults.0.action.ms`: must be a whole number of"),
        ("{match: {}, action: {do: close}}", "f.yaml:4:25: `faults.0.action.code`: is missing; it must be"),
        ("{match: {}, acton: {do: drop}}", "f.yaml:4:17: `faults.0.acton`: a rule has no such field; did you mean"),
        (
            "{mtch: {}, action: {do: drop}}",
            "f.yaml:4:6: `faults.0.mtch`: a rule has no such field; did you mean `match`",
        ),
        (
            "{macth: {}, acton: {do: drop}}",
            "f.yaml:4:6: `faults.0.macth`: a rule has no such field; did you mean `match`",
        ),
        (
            "{match: {}, action: drop}",
            '`faults.0.action`: must be an object with `do`, not `drop`; write {"do": "drop"}',
        ),
        ("{match: {}, action: {do: drop}, times: 0}", "f.yaml:4:44: `faults.0.times`: must be a whole number"),
        (
            "{at: 3s, do: drop}",
            "f.yaml:4:18: `faults.0.do`: `drop` is what a rule does; write {match: {…}, action: {do: drop}}",
        ),
        (
            "{at: 3s, do: crash_nod}",
            "f.yaml:4:18: `faults.0.do`: unknown value `crash_nod`; did you mean `crash_node`?",
        ),
        ("{at: 3s}", "f.yaml:4:5: `faults.0` needs `do`: one of crash_node"),
        ("{at: 3s}", "or `match` and `action`, where it is a rule"),
        ("3", "f.yaml:4:5: `faults.0` must be a mapping"),
        # Who there is.
        (
            "{match: {user: bob}, action: {do: abort}}",
            "f.yaml:4:14: `faults.0.match.user`: there is no user `bob`; they are `user-0` to `user-2`, or",
        ),
        ("{match: {user: user-3}, action: {do: abort}}", "there is no user 3; the population has 3, numbered from 0"),
        ("{match: {device: device-6}, action: {do: abort}}", "there is no device 6; the population has 6"),
        (
            "{match: {device: phone}, action: {do: abort}}",
            "there is no device `phone`; they are `device-0` to `device-5`",
        ),
        (
            f"{{match: {{user: {ADDRESS}}}, action: {{do: abort}}}}",
            "f.yaml:4:20: `faults.0.match.user` is read as a number too large for one; an address stands in quotes",
        ),
        (
            f"{{match: {{payload: {{to: {ADDRESS}}}}}, action: {{do: drop}}}}",
            "f.yaml:4:28: `faults.0.match.payload.to` is read as a number too large for one",
        ),
    ],
)
def test_a_wrong_rule_must_be_told_with_its_place(text: str, fault: str) -> None:
    told = faults(text)
    assert any(fault in line for line in told), told


def test_all_mistakes_of_a_rule_must_be_told_at_once() -> None:
    told = faults("{match: {type: NO, nth: -1}, action: {do: delay, ms: -3}, tims: 2}")
    assert len(told) == 4
    assert all(line.startswith("f.yaml:4:") for line in told)


def test_what_an_option_sets_must_be_told_as_the_option() -> None:
    told = faults("{match: {}, action: {do: drop}}", "faults.0.match.nth=none")
    assert told == ["-S faults.0.match.nth=none: `faults.0.match.nth`: must be a whole number, at least 1, not `none`"]


@pytest.mark.parametrize(
    "raw",
    [
        {"match": {"type": "PONGG"}, "action": {"do": "drop"}},
        {"match": {"event": "rest", "type": "PING"}, "action": {"do": "refuse", "status": 99}},
        {"match": {"nth": 1, "every": 2}, "action": {"do": "error", "error_code": "NO"}},
    ],
)
def test_messages_must_be_those_of_the_mock_relay(raw: dict[str, Any]) -> None:
    with pytest.raises(RuleFaults) as theirs:
        parse_rule(raw)
    with pytest.raises(FileFaults) as ours:
        loader.from_mapping({"name": "x", "faults": [raw]})
    mine = [fault.message for fault in ours.value.faults]
    assert mine == [f"`faults.0.{place}`: {message}" for place, message in theirs.value.faults]


@pytest.mark.parametrize("text", [f'{{user: "{ADDRESS}"}}', "{user: user-2}", "{device: device-5}", "{connection: 7}"])
def test_a_name_an_address_or_a_number_must_do(text: str) -> None:
    found = loader.from_text(f"{HEAD}{{match: {text}, action: {{do: abort}}}}")
    (fault,) = found.faults
    assert isinstance(fault, EventRule)


def test_where_the_number_of_users_is_drawn_there_may_be_as_many_as_devices() -> None:
    base = {"name": "x", "population": {"devices": 6, "devices_per_user": [1, 1]}}
    rule = {"match": {"user": "user-5"}, "action": {"do": "abort"}}
    assert loader.from_mapping({**base, "faults": [rule]}).rules
    with pytest.raises(FileFaults, match="there is no user 6"):
        loader.from_mapping({**base, "faults": [{**rule, "match": {"user": "user-6"}}]})
