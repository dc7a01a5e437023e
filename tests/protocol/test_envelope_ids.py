"""R-1.2: what is a frame's id is what the pattern of UUIDs says, however it is looked at."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.errors import MALFORMED, ProtocolError
from zentalk_sim.protocol.frames import UUID_PATTERN

GOOD = "6ba7b810-9dad-41D1-80B4-00c04fd430c8"

near_uuids = st.tuples(
    st.from_regex(re.compile(UUID_PATTERN), fullmatch=True), st.integers(0, 35), st.sampled_from("-0gé🙂 \n\0xF")
).map(lambda drawn: drawn[0][: drawn[1]] + drawn[2] + drawn[0][drawn[1] + 1 :])


@pytest.mark.requirement("R-1.2")
@given(st.one_of(near_uuids, st.from_regex(re.compile(UUID_PATTERN)), st.text(max_size=40)))
@example(GOOD)
@example(GOOD + "\n")
@example(GOOD[:-1])
@example(GOOD.replace("-", "0"))
@example(GOOD[:-1] + "٣")
@example("")
def test_an_id_must_be_taken_where_the_pattern_of_uuids_matches_and_only_there(frame_id: str) -> None:
    text = json.dumps({"type": "PONG", "id": frame_id, "timestamp": 1, "payload": {}}).encode()
    try:
        found = codec.decode_text(text, 100)
    except ProtocolError as error:
        assert (error.reason, error.details.get("field")) == (MALFORMED, "id")
        assert re.match(UUID_PATTERN, frame_id) is None
    else:
        assert found.id_as_sent == frame_id
        assert re.match(UUID_PATTERN, frame_id) is not None


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize("changes", [{"seq": None}, {"message_mac": None}, {"seq": 0}, {"message_mac": "AA=="}])
def test_a_member_that_may_be_absent_must_not_be_null_or_of_another_form(changes: dict[str, object]) -> None:
    frame = {"type": "PONG", "id": GOOD, "timestamp": 1, "payload": {}}
    assert codec.decode_text(json.dumps(frame).encode(), 100).seq is None
    with pytest.raises(ProtocolError) as caught:
        codec.decode_text(json.dumps({**frame, **changes}).encode(), 100)
    assert (caught.value.reason, caught.value.details["field"]) == (MALFORMED, next(iter(changes)))
