"""The tool's bounds: settings from the file, from the environment and from flags."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from mockrelay.bounds import BadBound, Bounds, parse_bounds
from mockrelay.cli import cli
from mockrelay.lobby import Lobby
from mockrelay.settings import read_file


def test_bounds_must_have_the_contracts_defaults() -> None:
    bounds = Bounds()
    assert (bounds.journal_entries, bounds.journal_bytes) == (100_000, 64 << 20)
    assert bounds.media_bytes == 100 << 20
    assert (bounds.spaces, bounds.space_ttl_s) == (500, 3_600)
    assert (bounds.event_queue, bounds.wait_timeout_ms) == (1_000, 60_000)


def test_a_bound_must_be_set_by_its_name() -> None:
    assert parse_bounds(("journal-entries=5", "spaces = 7")) == Bounds(journal_entries=5, spaces=7)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("journal_entires=5", "did you mean `journal_entries`?"),
        ("nothing", "no bound `nothing`; known: journal_entries, "),
        ("spaces=", "a bound is a whole number of at least 1, such as spaces=100"),
        ("spaces=-1", "a whole number of at least 1"),
        ("spaces=0", "a whole number"),
    ],
)
def test_a_bad_bound_must_be_told_with_its_remedy(pair: str, said: str) -> None:
    with pytest.raises(BadBound) as caught:
        parse_bounds((pair,))
    assert said in str(caught.value)
    refused = CliRunner().invoke(cli, ["serve", "--bound", pair])
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output


def test_a_bad_bound_of_a_file_must_be_told_at_its_place(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_text("bounds:\n  journal_entries: 10\n  spaces: many\n")
    refused = CliRunner().invoke(cli, ["serve", "--config", str(file)])
    assert refused.exit_code == 2
    assert f"{file}:3:3: spaces=many: a bound is a whole number" in refused.output
    file.write_text("bounds: {journal_entries: 10}\n")
    assert read_file(str(file)).flags == {"bounds": ("journal_entries=10",)}


class Guest:
    def __init__(self) -> None:
        self.is_out = False

    def turn_out(self) -> None:
        self.is_out = True


def test_a_lobby_must_turn_out_the_one_that_has_waited_longest() -> None:
    lobby, counted = Lobby(max_guests=2), list[str]()
    lobby.count = counted.append
    first, second, third = Guest(), Guest(), Guest()
    for guest in (first, second, third):
        lobby.enter(guest)
    assert [guest.is_out for guest in (first, second, third)] == [True, False, False]
    assert counted == ["handshakes.dropped"]
    lobby.leave(first)
    lobby.leave(second)
    assert len(lobby) == 1
