"""Messages received: shown once, every copy confirmed, the backlog first (R-6.6, R-11.6)."""

from __future__ import annotations

import msgspec
import pytest
from fake_relay import BOB, T0_MS, FakeRelay, S, config, message, page

from zentalk_sim.protocol.client_effects import Deliver, Fetch, NeedToken
from zentalk_sim.protocol.client_records import read_page
from zentalk_sim.protocol.client_sync import MAX_HELD

ONE, TWO, THREE, FOUR = (message(n, T0_MS + n) for n in range(1, 5))


def confirmed(relay: FakeRelay) -> list[str]:
    return [frame.payload.message_id for _, frame in relay.sent("MESSAGE_RECEIVED")]


@pytest.mark.requirement("R-11.6")
@pytest.mark.parametrize("wire", [False, True])
def test_a_message_is_shown_and_then_confirmed(wire: bool) -> None:
    relay = FakeRelay(wire=wire).join()
    relay.new_message(ONE)
    assert relay.new(Deliver) == [Deliver(ONE[0], BOB, "conv_1", ONE[1], "push")]
    assert confirmed(relay) == [ONE[0]]


@pytest.mark.requirement("R-11.6")
def test_a_message_is_shown_once_and_every_copy_confirmed() -> None:
    relay = FakeRelay().join()
    for _ in range(3):
        relay.new_message(ONE)
    assert relay.shown() == [ONE[0]]
    assert confirmed(relay) == [ONE[0]] * 3
    assert relay.count("messages.duplicate") == 2


@pytest.mark.requirement("R-11.6")
def test_the_same_id_from_another_sender_is_another_message_and_case_makes_no_difference() -> None:
    relay = FakeRelay().join()
    relay.new_message(ONE)
    relay.new_message((ONE[0], message(1, T0_MS, "0x" + "c" * 40)[1]))
    assert len(relay.shown()) == 2
    relay.new_message((ONE[0], message(1, T0_MS, "0x" + "B" * 40)[1]))
    assert len(relay.shown()) == 2


@pytest.mark.requirement("R-11.6")
def test_memory_of_what_was_shown_is_bounded_and_forgets_the_oldest() -> None:
    relay = FakeRelay(config(shown_memory=2)).join()
    for entry in (ONE, TWO, THREE, THREE, TWO, ONE):
        relay.new_message(entry)
    assert relay.shown() == [entry[0] for entry in (ONE, TWO, THREE, ONE)]


@pytest.mark.requirement("R-6.6")
@pytest.mark.parametrize("wire", [False, True])
def test_the_backlog_is_fetched_at_offset_0_until_empty_and_live_messages_wait(wire: bool) -> None:
    relay = FakeRelay(config(fetch_page=2, ack_by="frame"), wire=wire).join()
    relay.sync_required(3)
    assert relay.new(Fetch) == [Fetch(1, "GET", "/api/messages?limit=2&offset=0")]
    relay.new_message(FOUR)
    assert relay.shown() == []
    relay.respond(200, page(ONE, TWO))
    assert relay.shown() == [ONE[0], TWO[0]]
    assert confirmed(relay) == [ONE[0], TWO[0]]
    assert relay.respond(200, page(THREE)).path == "/api/messages?limit=2&offset=0"
    assert relay.shown() == [ONE[0], TWO[0], THREE[0]]
    relay.respond(200, page())
    assert relay.shown() == [entry[0] for entry in (ONE, TWO, THREE, FOUR)]
    assert confirmed(relay) == relay.shown()
    assert [deliver.via for deliver in relay.all(Deliver)] == ["fetch"] * 3 + ["push"]
    assert len(relay.all(Fetch)) == 3
    relay.new_message(message(5))
    assert relay.shown()[-1] == message(5)[0]


@pytest.mark.requirement("R-6.6")
def test_live_messages_held_back_are_shown_in_the_order_of_their_times() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    for entry in (THREE, ONE, TWO, ONE):
        relay.new_message(entry)
    relay.respond(200, page())
    assert relay.shown() == [ONE[0], TWO[0], THREE[0]]
    assert sorted(confirmed(relay)) == sorted([ONE[0], ONE[0], TWO[0], THREE[0]])


@pytest.mark.requirement("R-6.6")
def test_a_live_message_that_a_page_brings_too_is_shown_once() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.new_message(TWO)
    relay.respond(200, page(ONE, TWO))
    relay.respond(200, page())
    assert relay.shown() == [ONE[0], TWO[0]]


@pytest.mark.requirement("R-6.6")
def test_confirming_by_rest_waits_for_the_answer_before_the_next_page() -> None:
    relay = FakeRelay(config(ack_by="rest")).join()
    relay.sync_required()
    relay.respond(200, page(ONE, TWO))
    fetch = relay.all(Fetch)[-1]
    assert (fetch.method, fetch.path) == ("POST", "/api/messages/ack")
    assert msgspec.json.decode(fetch.body or b"") == {"message_ids": [ONE[0], TWO[0]]}
    assert confirmed(relay) == []
    relay.respond(200, b'{"acked": 2}')
    assert relay.all(Fetch)[-1].path.startswith("/api/messages?")
    relay.respond(200, page())
    assert len(relay.all(Fetch)) == 3


def test_pages_are_confirmed_by_rest_unless_the_client_is_told_otherwise() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.respond(200, page(ONE))
    assert relay.all(Fetch)[-1].path == "/api/messages/ack"
    assert confirmed(relay) == []


def test_a_page_that_stays_although_the_relay_said_it_was_gone_is_not_asked_for_in_a_tight_loop() -> None:
    relay = FakeRelay(config(fetch_page=1)).join()
    relay.sync_required()
    for wait_s in (0, 1, 2, 4):
        relay.respond(200, page(ONE))
        asked = len(relay.all(Fetch))
        relay.respond(200, b'{"acked": 0}')
        if wait_s:
            assert len(relay.all(Fetch)) == asked
            relay.advance(wait_s * S)
        assert len(relay.all(Fetch)) == asked + 1
    relay.respond(200, page(TWO))
    relay.respond(200, b'{"acked": 1}')
    relay.respond(200, page())
    assert relay.shown() == [ONE[0], TWO[0]]
    assert not relay.client.inbox.syncing


def test_pages_shown_before_are_confirmed_by_rest_without_waiting() -> None:
    relay = FakeRelay(config(fetch_page=1)).join()
    for entry in (ONE, TWO, THREE):
        relay.new_message(entry)
    relay.sync_required()
    for entry in (ONE, TWO, THREE):
        relay.respond(200, page(entry))
        relay.respond(200, b'{"acked": 1}')
    relay.respond(200, page())
    assert not relay.client.inbox.syncing
    assert relay.count("messages.duplicate") == 3


def test_a_confirmation_by_rest_that_failed_is_made_again_with_its_page() -> None:
    relay = FakeRelay(config(ack_by="rest")).join()
    relay.sync_required()
    relay.respond(200, page(ONE))
    relay.respond(503)
    relay.advance(1 * S)
    relay.respond(200, page(ONE))
    assert relay.all(Fetch)[-1].path == "/api/messages/ack"
    assert relay.shown() == [ONE[0]]


@pytest.mark.requirement("R-6.6")
def test_a_second_sync_required_meanwhile_starts_nothing_new() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.sync_required()
    assert len(relay.all(Fetch)) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (0, None),
        (503, b"{}"),
        (200, b"not json"),
        (200, b'{"messages": [{"id": "x"}]}'),
        (200, {"messages": [{"id": "x", "payload": {}}]}),
        (200, None),
    ],
)
def test_a_page_that_failed_is_asked_for_again_with_backoff(status: int, body: object) -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    for k in range(3):
        relay.respond(status, body)
        relay.advance(2**k * S - 1)
        assert len(relay.all(Fetch)) == k + 1
        relay.advance(1)
        assert len(relay.all(Fetch)) == k + 2


def test_a_request_refused_for_its_token_asks_for_a_new_one() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.respond(401, b"{}")
    assert relay.new(NeedToken) == [NeedToken()]
    relay.do(relay.client.renew_token("fresh", relay.now))
    relay.advance(1 * S)
    relay.respond(200, page())
    assert relay.client.token == "fresh"
    assert not relay.client.inbox.syncing


def test_a_last_page_that_brings_nothing_new_ends_the_synchronisation() -> None:
    """Its confirmations are on their way; live messages are not held until the mailbox is seen empty."""
    relay = FakeRelay(config(ack_by="frame")).join()
    relay.new_message(ONE)
    relay.sync_required()
    relay.new_message(TWO)
    assert relay.shown() == [ONE[0]]
    relay.respond(200, page(ONE))
    assert relay.shown() == [ONE[0], TWO[0]]
    assert not relay.client.inbox.syncing
    assert confirmed(relay).count(ONE[0]) == 2


def test_full_pages_that_bring_nothing_new_are_not_asked_for_in_a_tight_loop() -> None:
    relay = FakeRelay(config(fetch_page=1, ack_by="frame")).join()
    relay.new_message(ONE)
    relay.sync_required()
    relay.respond(200, page(ONE))
    assert len(relay.all(Fetch)) == 1
    relay.advance(1 * S)
    relay.respond(200, page(ONE))
    relay.advance(2 * S)
    relay.respond(200, page(ONE, TWO))
    # Progress: the next page is asked for at once.
    assert len(relay.all(Fetch)) == 4


def test_after_ten_failures_in_a_row_live_messages_wait_no_longer() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.new_message(ONE)
    for _ in range(10):
        relay.respond(503)
        relay.advance(30 * S)
        relay.ping()
    assert relay.shown() == []
    relay.respond(503)
    assert relay.shown() == [ONE[0]]
    assert relay.count("sync.abandoned") == 1
    relay.sync_required()
    assert relay.client.inbox.syncing


def test_a_page_unanswered_for_30_s_counts_as_failed() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.advance(31 * S - 1)
    assert len(relay.all(Fetch)) == 1
    relay.advance(1)
    assert len(relay.all(Fetch)) == 2


@pytest.mark.requirement("R-6.6")
def test_a_lost_connection_ends_the_synchronisation_and_its_late_pages_are_ignored() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.new_message(TWO)
    relay.lose()
    assert relay.client.receive_response(1, 200, page(ONE), relay.now) == []
    relay.wait_for_attempt()
    relay.handshake()
    assert relay.client.receive_response(1, 200, page(ONE), relay.now) == []
    relay.sync_required()
    relay.respond(200, page(ONE, TWO))
    relay.respond(200, page())
    assert relay.shown() == [ONE[0], TWO[0]]


def test_answers_that_come_while_no_synchronisation_runs_change_nothing() -> None:
    relay = FakeRelay().join()
    effects: list[object] = []
    relay.client.inbox.answered(200, page(ONE), relay.now, effects)  # type: ignore[arg-type]
    relay.client.inbox.acknowledged(200, relay.now, effects)  # type: ignore[arg-type]
    assert effects == []
    assert relay.client.receive_response(99, 200, b"", relay.now) == []


def test_only_so_many_live_messages_are_held_back() -> None:
    relay = FakeRelay(wire=False).join()
    relay.sync_required()
    for n in range(MAX_HELD + 2):
        relay.new_message(message(n + 10, T0_MS + n))
    assert relay.count("messages.held_dropped") == 2
    relay.respond(200, {"messages": []})
    assert len(relay.shown()) == MAX_HELD


def test_pages_by_reference_may_hold_objects_or_mappings() -> None:
    as_mapping = msgspec.to_builtins(ONE[1], builtin_types=(bytes,))
    body = {"messages": [{"id": ONE[0].upper(), "payload": ONE[1]}, {"id": TWO[0], "payload": as_mapping}]}
    assert read_page(body) == [ONE, (TWO[0], ONE[1])]


def test_progress_makes_the_waits_short_again() -> None:
    relay = FakeRelay(config(fetch_page=1, ack_by="frame")).join()
    relay.new_message(ONE)
    relay.sync_required()
    for wait_s in (1, 2, 4):
        relay.respond(200, page(ONE))
        relay.advance(wait_s * S)
    relay.respond(200, page(TWO))
    relay.respond(200, page(TWO))
    asked = len(relay.all(Fetch))
    relay.advance(1 * S)
    assert len(relay.all(Fetch)) == asked + 1


def test_what_was_held_back_at_a_loss_is_left_to_the_next_fetch() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.new_message(TWO)
    relay.rejoin()
    relay.sync_required()
    relay.respond(200, page())
    assert relay.shown() == []


def test_a_page_of_the_connection_before_is_none_of_this_ones() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.rejoin()
    relay.sync_required()
    assert relay.client.receive_response(1, 200, page(ONE), relay.now) == []
    assert len(relay.all(Fetch)) == 2
