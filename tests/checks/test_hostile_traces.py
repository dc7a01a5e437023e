"""Files nobody vouches for: a clear error that names the line, and never a traceback."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.checks.recorded_pair import living
from zentalk_sim.checks import run_checks, run_file
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.trace import events as ev
from zentalk_sim.trace.event_reader import _READERS, TraceError, _Line, read_events, read_line

HEADER = b'{"zentalk_trace":1,"extent":"full"}\n'


@pytest.fixture(scope="module")
def recording() -> bytes:
    return living().recording()


@pytest.fixture(scope="module")
def events(recording: bytes, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    path = tmp_path_factory.mktemp("hostile") / "living.jsonl"
    path.write_bytes(recording)
    return list(read_events(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", ":1: the file is empty"),
        (b"hello\n", ":1: not a trace"),
        (b'{"zentalk_trace"\n', ":1: header: "),
        (b'{"zentalk_trace":2}\n', ":1: format 2 is not known"),
        (b'{"zentalk_trace":1,"config":{"limit":3}}\n', ":1: header: "),
        (b'{"zentalk_trace":1,"snapshot":"!"}\n', ":1: "),
        (b'{"zentalk_trace":1,"snapshot":"AAAA"}\n', ":1: the snapshot cannot be read"),
        (HEADER[:-1], ":1: the last line is cut off"),
        (HEADER + b"[]\n", ":2: not an event"),
        (HEADER + b'{"e":"text","t":1,"data":"x"}\n', ":2: text without c"),
        (HEADER + b'{"e":"respond","t":1}\n', ":2: respond without r"),
        (HEADER + b'{"e":"binary","t":1,"c":1,"data":"%"}\n', ":2: data is not base64"),
        (HEADER + b'{"e":"config","t":1,"config":{"x":1}}\n', ":2: config: "),
        (HEADER + b'{"e":"restart","t":1,"config":{},"snapshot":"AAAA"}\n', ":2: the snapshot cannot be read"),
        (HEADER + b'{"e":"timer","t":5}\n{"e":"timer","t":4}\n', ":3: t is 4, after 5"),
        (HEADER + b'{"e":"timer","t":99999999999999999999999}\n', ":2: "),
        (HEADER + b'{"e":"timer","t":-1}\n', ":2: t is -1"),
        (HEADER + b'{"e":"timer","t":5}\n{"e":"tim', ":3: the last line is cut off"),
        (HEADER + b"[" * 100_000 + b"\n", ":2: not an event"),
        (HEADER + b'"' + b"x" * (17 << 20) + b'"\n', ":2: this line is longer than"),
        (HEADER + b"\xff\xfe\n", ":2: not an event"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(data)
    with pytest.raises(TraceError) as raised:
        run_file(path)
    assert f"bad.jsonl{message}" in str(raised.value)


def test_a_compressed_recording_reads_as_the_plain_one(tmp_path: Path, recording: bytes, events: list[Any]) -> None:
    path = tmp_path / "living.jsonl.gz"
    path.write_bytes(gzip.compress(recording, 1))
    assert list(read_events(path)) == events


@pytest.mark.parametrize("cut", [20, 1_000, -3])
def test_a_compressed_recording_cut_off_is_refused(tmp_path: Path, recording: bytes, cut: int) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(recording, 1)[:cut])
    with pytest.raises(TraceError, match=r"cut\.gz:\d+: "):
        run_file(path)


def test_damage_amid_a_compressed_recording_is_refused(tmp_path: Path, recording: bytes) -> None:
    data = bytearray(gzip.compress(recording, 1))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "damaged.gz"
    path.write_bytes(data)
    with pytest.raises(TraceError, match=r"damaged\.gz:\d+: "):
        run_file(path)


def test_lines_of_later_versions_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "later.jsonl"
    path.write_bytes(HEADER + b'{"e":"quantum","t":1}\n{"e":"timer","t":2,"phase":"new"}\n')
    report = run_file(path)
    assert report.passed_over == {"quantum": 1}
    assert report.held


def test_frames_that_a_fault_rule_touched_are_not_held_against_the_client(events: list[Any]) -> None:
    pong = next(i for i, e in enumerate(events) if getattr(e, "type", "") == "PONG")
    wrong = [*events[:pong], replace(events[pong], fault="malformed", payload=None), *events[pong + 1 :]]
    touched = ev.Faulted(0, events[pong].t, events[pong].c, "in", "rule 1", "corrupt")
    broken = {r.id for r in run_checks(wrong).results if r.verdict == "broken"}
    assert "client.well_formed" in broken
    excused = run_checks([*wrong[:pong], touched, *wrong[pong:]])
    assert not [r for r in excused.results if r.verdict == "broken" and r.side == "client"]


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
_names = st.sampled_from(_Line.__struct_fields__)


@given(st.sampled_from(sorted(_READERS)), st.dictionaries(_names, _json, max_size=8), st.integers(0, 2**60))
def test_any_line_is_an_event_or_a_value_error(kind: str, fields: dict[str, Any], t: int) -> None:
    try:
        event = read_line(json.dumps({**fields, "e": kind, "t": t}).encode(), 2, RelayConfig())
    except ValueError:
        return
    run_checks([event])


@st.composite
def _scenes(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """(event, connection, ms later): events of a real recording in any order, on any connection, at any pace."""
    return draw(st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 4), st.integers(0, 90_000)), max_size=60))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scene=_scenes(), begun=st.booleans())
def test_no_sequence_of_events_makes_a_check_raise(
    events: list[Any], scene: list[tuple[int, int, int]], begun: bool
) -> None:
    now = events[0].t
    fed = events[:1] if begun else []
    for index, c, later_ms in scene:
        now += later_ms * 1000
        event = replace(events[index % len(events)], t=now)
        if getattr(event, "c", None) is not None:
            event = replace(event, c=c)
        fed.append(event)
    report = run_checks(fed)
    assert report.events == len(fed)
