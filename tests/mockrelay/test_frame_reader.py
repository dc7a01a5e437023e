"""Frames in: however the bytes are cut, and whoever reads them, what comes out is the same."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from mockrelay.frame_reader import FrameReader, Received
from tests.mockrelay.live_support import masked

MAX_BYTES = 70_000

frames = st.builds(
    masked,
    st.sampled_from([0, 1, 1, 1, 2, 8, 9, 10]),
    st.one_of(st.binary(max_size=130), st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536])),
    fin=st.sampled_from([True, True, True, False]),
    mask=st.sampled_from([True, True, True, True, False]),
)


def by_library(data: bytes) -> tuple[list[bytes | Received], Any]:
    parser = ServerProtocol(state=OPEN, max_size=MAX_BYTES)
    parser.receive_data(data)
    found = [event for event in parser.events_received() if isinstance(event, Frame)]
    return [plain(Received(frame.opcode, bytes(frame.data), frame.fin)) for frame in found], parser


def plain(frame: Received) -> bytes | Received:
    """A whole text is nothing but its bytes."""
    return frame.data if frame.opcode is Opcode.TEXT and frame.fin else frame


@given(st.lists(frames, max_size=8), st.binary(max_size=4), st.lists(st.integers(1, 70_000), max_size=6))
def test_frames_must_be_those_that_the_library_reads(whole: list[bytes], tail: bytes, cuts: list[int]) -> None:
    data = b"".join(whole) + tail
    expected, parser = by_library(data)
    reader = FrameReader(MAX_BYTES)
    found: list[bytes | Received] = []
    at = 0
    for cut in [*cuts, len(data)]:
        found += reader.feed(data[at : at + cut])
        at += cut
    if parser.close_rcvd is not None:
        # A close between two fragments is one all the same (RFC 6455 §5.4).
        assert reader.error is None
        assert isinstance(found[-1], Received)
        assert found[-1].opcode is Opcode.CLOSE
        expected = expected if expected[-1:] == found[-1:] else [*expected, found[-1]]
    else:
        assert repr(reader.error) == repr(parser.parser_exc)
    assert found == expected


def test_a_large_frame_that_comes_byte_by_byte_must_be_looked_at_once() -> None:
    payload = os.urandom(60_000)
    data = masked(2, payload)
    reader = FrameReader(MAX_BYTES)
    found = [frame for at in range(len(data)) for frame in reader.feed(data[at : at + 1])]
    assert found == [Received(Opcode.BINARY, payload)]


def test_a_frame_above_the_bound_must_be_refused_by_its_header() -> None:
    reader = FrameReader(1_000)
    assert reader.feed(b"\x82\xfe\x03\xe9" + bytes(4)) == []
    assert type(reader.error).__name__ == "PayloadTooBig"


def test_what_follows_a_close_must_be_passed_over() -> None:
    reader = FrameReader(1_000)
    found = reader.feed(masked(1, b"a", fin=False) + masked(8, b"\x03\xe8bye") + masked(0, b"b") + masked(1, b"c"))
    assert found == [Received(Opcode.TEXT, b"a", False), Received(Opcode.CLOSE, b"\x03\xe8bye")]
    assert reader.error is None
    assert reader.feed(masked(1, b"d")) == []
