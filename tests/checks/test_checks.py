"""Every check: held where client and relay keep to the rulings, broken by the one edit that breaks its requirement."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.checks.breaking import ALSO, EDITS
from tests.checks.recorded_pair import RecordedPair, living, storming
from tests.checks.story import Story
from tests.trace.recorded import Bench, converse
from zentalk_sim.checks import catalogue, run_checks, run_file
from zentalk_sim.checks.document import BEGIN, listing, renewed
from zentalk_sim.checks.registry import Recent
from zentalk_sim.trace import events as ev
from zentalk_sim.trace.event_reader import read_events

_IDS = [kind.id for kind in catalogue()]


def _broken(report: Any) -> set[str]:
    return {result.id for result in report.results if result.verdict == "broken"}


def _exercised(report: Any) -> set[str]:
    return {result.id for result in report.results if result.verdict != "not_exercised"}


def _kept(pair: RecordedPair, path: Path) -> Path:
    path.write_bytes(pair.recording())
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("recordings")
    return {make.__name__: _kept(make(), folder / f"{make.__name__}.jsonl") for make in (living, storming)}


@pytest.fixture(scope="module")
def good(recordings: dict[str, Path]) -> list[Any]:
    return list(read_events(recordings["living"]))


def test_the_projects_own_client_and_relay_break_nothing(recordings: dict[str, Path]) -> None:
    """Must hold: all that two long sessions of the real cores put to the test, most of the list."""
    reports = [run_file(path) for path in recordings.values()]
    for report in reports:
        evidence = [(r.id, r.evidence) for r in report.results if r.verdict == "broken"]
        assert evidence == []
        assert report.held
        assert report.passed_over == {}
    both = _exercised(reports[0]) | _exercised(reports[1])
    assert len(both) >= 70, sorted(set(_IDS) - both)
    assert {"client.mac", "client.resend_same", "client.backoff_growth", "relay.accounted", "relay.resume"} <= both


def test_a_simulations_whole_trace_is_judged_as_a_recording_is(tmp_path: Path) -> None:
    """Fidelity ``frames``: objects in the place of bytes, modelled signatures, a header without a snapshot."""
    report = run_file(_kept(living(wire=False), tmp_path / "frames.jsonl"))
    assert [(r.id, r.evidence) for r in report.results if r.verdict == "broken"] == []
    named = {"client.auth_signature", "client.mac", "relay.fan_out", "relay.limits", "relay.accounted"}
    assert named | {"relay.heartbeat", "client.refresh_form"} <= _exercised(report)


@pytest.mark.parametrize("before", [0, 3])
def test_a_recording_of_the_driver_blames_the_client_that_misbehaved(tmp_path: Path, before: int) -> None:
    """The relay answers an unruly client as it must; a recording begun amid the session serves as well."""

    async def session() -> None:
        converse(Bench(), tmp_path / "session.jsonl", before=before)

    asyncio.run(session())
    report = run_file(tmp_path / "session.jsonl")
    assert _broken(report) == {"client.payload_size", "client.upgrade_form", "client.well_formed"}
    assert {"relay.close_bytes", "relay.heartbeat", "relay.accounted", "relay.seq"} <= _exercised(report)


def test_each_check_has_its_breaking_edit() -> None:
    assert set(EDITS) == set(_IDS)


@pytest.mark.parametrize("name", _IDS)
def test_a_trace_broken_by_hand_breaks_that_check_and_no_other(good: list[Any], name: str) -> None:
    story = Story(good)
    EDITS[name](story)
    report = run_checks(story.events)
    found = {r.id: [e.message for e in r.evidence] for r in report.results if r.verdict == "broken"}
    assert set(found) == {name} | ALSO.get(name, set()), found
    assert report.held == all(kind.severity == "should" for kind in catalogue() if kind.id in found)


def test_evidence_names_the_lines_and_is_bounded(good: list[Any]) -> None:
    story = Story(good)
    for _ in range(3):
        EDITS["client.mac"](story)
    EDITS["client.malformed_run"](story)
    results = {r.id: r for r in run_checks(story.events).results}
    (evidence,) = results["client.mac"].evidence
    assert [type(story.events[line - 1]).__name__ for line in evidence.lines] == ["FrameIn"]
    assert results["client.well_formed"].broken == 10
    assert len(results["client.well_formed"].evidence) == 5


def test_a_lost_copy_is_found_wherever_the_relay_counts_its_mailbox(good: list[Any]) -> None:
    """R-6.2: a copy that leaves without confirmation and without a note shows at the next SYNC_REQUIRED and fetch."""
    story = Story(good)
    announced = story.at(ev.FrameOut, type="SYNC_REQUIRED")
    device = story.events[story.at(ev.Upgrade, c=story.events[announced].c)].query["device_id"]
    lost = story.at(ev.Note, name="copies.confirmed", device=device)
    assert lost < announced
    story.drop(lost)
    assert {"relay.accounted", "relay.fetch_complete"} <= _broken(run_checks(story.events))


def test_what_a_check_remembers_is_bounded() -> None:
    recent: Recent[int, int] = Recent(4)
    for n in range(10):
        recent[n] = n
        assert len(recent) <= 4
        assert all(kept in recent for kept in range(max(0, n - 1), n + 1))
    assert 5 not in recent
    assert [key for key, _ in recent.items()] == sorted(key for key, _ in recent.items())
    assert recent.get(9) == 9
    assert recent.pop(9) == 9
    assert recent.pop(9) is None


def test_a_session_token_is_no_new_one_after_4001(good: list[Any]) -> None:
    """R-11.3: the session's own token has expired with it; only one got since then is another."""
    for token, verdict in (("session 900001", "broken"), ("a new one", "held")):
        story = Story(good)
        device = next(story.ids)
        c, events = story.ready(story.end_us - 1_000_000, device)
        assert c == 900_001
        story.add(*events, ev.Close(0, story.end_us, c, 4001, "token_expired"), ev.Lost(0, story.end_us, c, "closed"))
        story.add(*story.opening(device=device, token=token)[1])
        results = {r.id: r.verdict for r in run_checks(story.events).results}
        assert results["client.token_after_4001"] == verdict


def test_every_check_has_a_title_and_cites_a_ruling() -> None:
    for kind in catalogue():
        assert kind.title(), kind.id
        assert kind.title()[0].isalpha()
        assert kind.citation.startswith("R-")


def test_the_docs_list_every_check() -> None:
    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
    assert renewed(page) == page, "renew it: python -m zentalk_sim.checks.document"
    assert listing().count("| R-") == len(_IDS)
    with pytest.raises(ValueError, match="lacks"):
        renewed(page.replace(BEGIN, ""))
