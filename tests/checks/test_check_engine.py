"""The engine behind the checks: whom it calls for what, and that its memory does not grow with the trace."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.checks.story import BOB, Story
from tests.checks.tokens import token_for
from zentalk_sim.checks.engine import Engine
from zentalk_sim.checks.registry import Check, Recent
from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.frames import MessageDelivered, MessageReceived
from zentalk_sim.trace import events as ev

ALICE = "0x" + "a" * 40


class Listening(Check):
    """Notes down what it is called for."""

    id, citation, severity, side = "relay.listening", "R-0.0", "must", "relay"
    in_types = frozenset(("PONG",))
    out_types = frozenset(("PING",))
    notes = frozenset(("rtt",))

    def begin(self) -> None:
        self.heard: list[str] = []

    def in_any(self, event: ev.FrameIn) -> None:
        self.heard.append(f"in {event.type}")
        self.await_group_end()
        self.await_group_end()

    def out_any(self, event: ev.FrameOut) -> None:
        self.heard.append(f"out {event.type}")

    def on_note(self, event: ev.Note) -> None:
        self.heard.append(f"note {event.name}")

    def on_group_end(self, following: Any) -> None:
        self.heard.append("the group is over")


def _frame(kind: type, name: str) -> Any:
    return kind(0, 1, 1, name, "an id", 1)


def test_a_check_must_be_called_for_what_it_wants_and_nothing_else() -> None:
    engine = Engine([Listening])
    for event in (
        _frame(ev.FrameIn, "MESSAGE_SEND"),
        _frame(ev.FrameOut, "MESSAGE_ACK"),
        ev.Note(0, 1, "copies.stored", 1, None, None, None, None),
        _frame(ev.FrameIn, "PONG"),
        ev.Note(0, 1, "rtt", 1, None, None, None, None),
        _frame(ev.FrameOut, "PING"),
        ev.Timer(0, 1),
        ev.Timer(0, 1),
    ):
        engine.feed(event)
    engine.report()
    (check,) = engine.checks
    assert isinstance(check, Listening)
    assert check.heard == ["in PONG", "note rtt", "out PING", "the group is over"]


def test_frame_types_out_of_a_file_are_not_kept_without_bound() -> None:
    engine = Engine([Listening])
    for n in range(2_000):
        engine.feed(_frame(ev.FrameIn, f"NO_SUCH_{n}"))
        engine.feed(ev.Note(0, 1, f"no.such.{n}", 1, None, None, None, None))
    assert len(engine._in) + len(engine._notes) <= 1_000


def _conversation() -> Iterator[list[Any]]:
    """Alice writes to Bob without end; each message is pushed, confirmed, and Alice told so."""
    story = Story([ev.Begin(1, 1, "recording", RelayConfig(), ClientConfig(), None, False, False, 1, True)])
    ends = []
    for user in (ALICE, BOB):
        device = next(story.ids)
        c, events = story.ready(1, device, token=token_for(user, device))
        ends.append((c, device))
        yield events
    (alice, _), (bob, device) = ends
    for n in itertools.count(1):
        t = n * 1_100_000
        send = story.message(alice, t, ciphertext=bytes(2_000), nonce=n.to_bytes(12, "big"))
        confirmed = ev.Note(0, t, "copies.confirmed", 1, bob, BOB, device, send.id)
        delivered = MessageDelivered(send.id, device, t // 1000)
        yield [
            send,
            *story.ack(send, 2 * n),
            story.push(bob, send.id, n + 1, t),
            story.frame_in(bob, "MESSAGE_RECEIVED", MessageReceived(send.id), t),
            confirmed,
            story.frame_out(alice, "MESSAGE_DELIVERED", delivered, t, seq=2 * n + 1),
        ]


def test_memory_must_not_grow_with_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once what is remembered is full, three times as many messages must take no more."""
    monkeypatch.setattr(Recent.__init__, "__defaults__", (100,))
    engine = Engine()
    conversation = _conversation()
    sizes = []
    tracemalloc.start()
    try:
        for messages in (200, 400):
            for events in itertools.islice(conversation, messages):
                for event in events:
                    engine.feed(event)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    first, second = sizes
    assert engine.frames > 2_000
    assert second < first * 1.1, f"{first} bytes after 200 messages, {second} after 600"
