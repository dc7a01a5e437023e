"""Silence and heartbeat (R-8), and the timed parts of receipts, presence, typing and subscriptions (R-7, R-11.4)."""

from __future__ import annotations

import pytest
from fake_relay import BOB, MS, T0_MS, FakeRelay, S, config, message

from zentalk_sim.protocol.client_effects import AbortSocket, Failed, Receipt, Update
from zentalk_sim.protocol.client_receipts import MAX_RECENT
from zentalk_sim.protocol.client_signals import MAX_TYPING
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.frames import Frame, MessageDelivered, MessageReadNotice, Ping, TypingUpdate

# --- heartbeat ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R-8.1")
def test_a_ping_is_answered_at_once_with_its_own_timestamp() -> None:
    relay = FakeRelay().join()
    relay.advance(1 * S)
    relay.say("PING", Ping(12345, rtt_ms=3.5))
    (frame,) = relay.frames()
    assert (frame.type, frame.payload.timestamp, frame.payload.client_time) == ("PONG", 12345, relay.now // MS)


@pytest.mark.requirement("R-8.3")
def test_after_120_s_of_silence_the_connection_is_taken_for_lost() -> None:
    relay = FakeRelay().join()
    relay.advance(60 * S)
    relay.ping()
    relay.advance(120 * S - 1)
    assert relay.state.value == "CONNECTED"
    relay.advance(1)
    assert relay.state.value == "FAILED"
    assert relay.new(AbortSocket) == [AbortSocket("silence")]
    assert 1 * S <= relay.wait_for_attempt() <= 1.1 * S


@pytest.mark.requirement("R-8.3")
def test_anything_heard_breaks_the_silence_even_what_makes_no_sense() -> None:
    relay = FakeRelay().join()
    for _ in range(4):
        relay.advance(100 * S)
        relay.do(relay.client.receive_data("nonsense", relay.now))
    assert relay.state is ClientState.CONNECTED


# --- receipts ----------------------------------------------------------------------------------------


def reads(relay: FakeRelay) -> list[str]:
    return [frame.payload.message_id for _, frame in relay.sent("MESSAGE_READ")]


@pytest.mark.requirement("R-6.3")
def test_receipts_of_the_others_are_told_to_the_application() -> None:
    relay = FakeRelay().join()
    relay.say("MESSAGE_DELIVERED", MessageDelivered("m", "device", 1))
    relay.say("MESSAGE_READ", MessageReadNotice("m", BOB, 2))
    assert relay.new(Receipt) == [Receipt("delivered", "m", "device", 1), Receipt("read", "m", BOB, 2)]


@pytest.mark.requirement("R-11.4")
def test_reads_while_offline_wait_first_in_first_out() -> None:
    relay = FakeRelay()
    for n in range(3):
        relay.do(relay.client.mark_read(f"m{n}", relay.now))
    relay.join()
    start = relay.now
    relay.do(relay.client.mark_read("m3", relay.now))
    relay.advance(1 * S)
    assert reads(relay) == ["m0", "m1", "m2", "m3"]
    assert [at - start for at, _ in relay.sent("MESSAGE_READ")] == [n * 100 * MS for n in range(4)]
    relay.do(relay.client.mark_read("m4", relay.now))
    assert reads(relay)[-1] == "m4"


@pytest.mark.requirement("R-11.4")
def test_of_more_than_1000_waiting_receipts_the_oldest_is_dropped_and_counted() -> None:
    relay = FakeRelay()
    for n in range(1002):
        relay.do(relay.client.mark_read(f"m{n}", relay.now))
    assert relay.count("receipts.dropped") == 2
    relay.join()
    assert reads(relay) == ["m2"]


@pytest.mark.requirement("R-11.5")
def test_a_read_refused_by_its_limit_goes_again_when_the_pause_is_over_and_receipts_pass_it() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.mark_read("m0", relay.now))
    relay.error("RATE_LIMITED", relay.sent("MESSAGE_READ")[-1][1], retry_after=5)
    relay.do(relay.client.mark_read("m1", relay.now))
    relay.new_message(message(1))
    assert len(relay.sent("MESSAGE_RECEIVED")) == 1
    relay.advance(5 * S - 1)
    assert reads(relay) == ["m0"]
    relay.advance(1 * S)
    assert reads(relay) == ["m0", "m0", "m1"]


@pytest.mark.requirement("R-11.5")
def test_a_confirmation_that_met_a_passing_fault_goes_again_with_backoff_past_paused_reads() -> None:
    relay = FakeRelay(config(backoff={"jitter": 0})).join()
    relay.new_message(message(1))
    start = relay.now
    relay.do(relay.client.mark_read("m0", relay.now))
    relay.error("RATE_LIMITED", relay.sent("MESSAGE_READ")[-1][1], retry_after=60)
    for k in range(5):
        relay.error("INTERNAL_ERROR", relay.sent("MESSAGE_RECEIVED")[-1][1])
        relay.advance(2**k * S)
    assert [at - start for at, _ in relay.sent("MESSAGE_RECEIVED")] == [n * S for n in (0, 1, 3, 7, 15, 31)]
    relay.error("INTERNAL_ERROR", relay.sent("MESSAGE_RECEIVED")[-1][1])
    assert relay.count("receipts.refused") == 1


@pytest.mark.requirement("R-11.5", "R-11.6")
def test_a_confirmation_must_outlast_a_store_that_is_away_however_long() -> None:
    """R-11.6: every copy is confirmed. Given up on, a copy would stay unconfirmed as long as the connection stands."""
    relay = FakeRelay(config(backoff={"jitter": 0}, silence_timeout_ms=10**9)).join()
    relay.new_message(message(1))
    for _ in range(20):
        relay.error("SERVICE_UNAVAILABLE", relay.sent("MESSAGE_RECEIVED")[-1][1])
        relay.advance(30 * S)
    assert len(relay.sent("MESSAGE_RECEIVED")) == 21
    assert relay.count("receipts.refused") == 0


@pytest.mark.requirement("R-11.5")
def test_confirmations_of_a_whole_page_refused_at_once_must_all_go_again() -> None:
    relay = FakeRelay(config(backoff={"jitter": 0}, silence_timeout_ms=10**9)).join()
    for n in range(100):
        relay.new_message(message(n))
    for _, frame in list(relay.sent("MESSAGE_RECEIVED")):
        relay.error("SERVICE_UNAVAILABLE", frame)
    relay.advance(120 * S)
    confirmed = [frame.payload.message_id for _, frame in relay.sent("MESSAGE_RECEIVED")]
    assert sorted(confirmed[100:]) == sorted(set(confirmed[:100]))


@pytest.mark.requirement("R-1.4")
def test_a_read_behind_refused_confirmations_must_carry_the_present_time() -> None:
    """What waits behind another kind's pause was once due at the beginning of time, and was sent with that time."""
    relay = FakeRelay(config(backoff={"jitter": 0})).join()
    relay.new_message(message(1))
    relay.error("SERVICE_UNAVAILABLE", relay.sent("MESSAGE_RECEIVED")[-1][1])
    relay.do(relay.client.mark_read("m0", relay.now))
    relay.advance(5 * S)
    assert [frame.timestamp for _, frame in relay.sent("MESSAGE_READ")] == [
        at // MS for at, _ in relay.sent("MESSAGE_READ")
    ]


@pytest.mark.requirement("R-11.5")
def test_a_receipt_refused_for_good_is_counted() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.mark_read("m0", relay.now))
    frame = relay.sent("MESSAGE_READ")[-1][1]
    relay.error("FORBIDDEN", frame)
    relay.error("FORBIDDEN", frame)
    assert relay.count("receipts.refused") == 1


def test_a_read_sent_just_before_a_loss_is_sent_again_and_one_long_gone_is_not() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.mark_read("long ago", relay.now))
    relay.advance(30 * S)
    relay.ping()
    relay.do(relay.client.mark_read("just now", relay.now))
    relay.new_message(message(1))
    relay.rejoin()
    relay.advance(1 * S)
    assert reads(relay) == ["long ago", "just now", "just now"]
    assert len(relay.sent("MESSAGE_RECEIVED")) == 1


def test_only_the_last_receipts_are_remembered() -> None:
    relay = FakeRelay().join()
    for n in range(MAX_RECENT + 1):
        relay.do(relay.client.mark_read(f"m{n}", relay.now))
    relay.error("RATE_LIMITED", relay.sent("MESSAGE_READ")[0][1], retry_after=1)
    relay.advance(5 * S)
    assert len(reads(relay)) == MAX_RECENT + 1


# --- presence ----------------------------------------------------------------------------------------


def statuses(relay: FakeRelay) -> list[str]:
    return [frame.payload.status for _, frame in relay.sent("PRESENCE_SET")]


@pytest.mark.requirement("R-11.4")
def test_presence_set_while_offline_keeps_the_latest() -> None:
    relay = FakeRelay()
    relay.do(relay.client.set_presence("away", relay.now))
    relay.do(relay.client.set_presence("invisible", relay.now))
    relay.join()
    assert statuses(relay) == ["invisible"]
    relay.rejoin()
    assert statuses(relay) == ["invisible"]


@pytest.mark.requirement("R-11.5")
@pytest.mark.parametrize("meanwhile", [None, "online"])
def test_presence_refused_by_its_limit_is_sent_after_the_pause(meanwhile: str | None) -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.set_presence("away", relay.now))
    relay.error("RATE_LIMITED", relay.sent("PRESENCE_SET")[-1][1], retry_after=60)
    if meanwhile:
        relay.do(relay.client.set_presence("online", relay.now))
    relay.advance(60 * S - 1)
    assert statuses(relay) == ["away"]
    relay.advance(1)
    assert statuses(relay) == ["away", meanwhile or "away"]


def test_presence_refused_for_good_is_reported() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.set_presence("away", relay.now))
    frame = relay.sent("PRESENCE_SET")[-1][1]
    relay.error("FORBIDDEN", frame)
    assert relay.new(Failed) == [Failed(frame.id, "FORBIDDEN", 0)]


def test_a_passing_fault_to_a_signal_is_retried_five_times() -> None:
    relay = FakeRelay(config(backoff={"jitter": 0})).join()
    relay.do(relay.client.set_presence("away", relay.now))
    for k in range(5):
        relay.error("INTERNAL_ERROR", relay.sent("PRESENCE_SET")[-1][1])
        relay.advance(2**k * S)
        assert len(statuses(relay)) == k + 2
    relay.error("INTERNAL_ERROR", relay.sent("PRESENCE_SET")[-1][1])
    assert len(relay.new(Failed)) == 1


@pytest.mark.requirement("R-8.3")
def test_the_background_makes_a_device_away_and_the_foreground_what_was_chosen() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.foreground(False, relay.now))
    relay.do(relay.client.foreground(True, relay.now))
    relay.do(relay.client.set_presence("invisible", relay.now))
    relay.do(relay.client.foreground(False, relay.now))
    assert statuses(relay) == ["away", "online", "invisible"]


# --- typing ------------------------------------------------------------------------------------------


@pytest.mark.requirement("R-7.4")
def test_typing_start_is_sent_at_most_every_3_s_a_conversation() -> None:
    relay = FakeRelay().join()
    start = relay.now
    for _ in range(7):
        relay.do(relay.client.start_typing("c1", relay.now))
        relay.advance(1 * S)
    assert [at - start for at, _ in relay.sent("TYPING_START")] == [0, 3 * S, 6 * S]
    relay.do(relay.client.start_typing("c2", relay.now))
    relay.do(relay.client.stop_typing("c2", relay.now))
    assert [frame.type for frame in relay.frames()][-2:] == ["TYPING_START", "TYPING_STOP"]


@pytest.mark.requirement("R-11.4")
def test_typing_while_offline_is_dropped() -> None:
    relay = FakeRelay()
    relay.do(relay.client.start_typing("c1", relay.now))
    relay.do(relay.client.stop_typing("c1", relay.now))
    relay.join()
    assert relay.sent("TYPING_START") == []
    assert relay.count("typing.dropped") == 2
    relay.do(relay.client.start_typing("c1", relay.now))
    assert len(relay.sent("TYPING_START")) == 1


def test_memory_of_typing_is_bounded() -> None:
    relay = FakeRelay(config(silence_timeout_ms=10**9)).join()
    for n in range(MAX_TYPING + 10):
        relay.do(relay.client.start_typing(f"c{n}", relay.now))
        relay.advance(1 * S)
    assert len(relay.client.signals._typed) < MAX_TYPING


@pytest.mark.requirement("R-7.4")
def test_a_peers_typing_is_shown_5_s_without_an_update() -> None:
    relay = FakeRelay().join()
    relay.say("TYPING_START", TypingUpdate("c1", BOB))
    relay.advance(3 * S)
    relay.say("TYPING_START", TypingUpdate("c1", BOB))
    relay.advance(5 * S - 1)
    assert [effect.frame.type for effect in relay.new(Update)] == ["TYPING_START"] * 2
    relay.advance(1)
    (update,) = relay.new(Update)
    assert (update.frame.type, update.frame.payload) == ("TYPING_STOP", TypingUpdate("c1", BOB))
    relay.advance(20 * S)
    assert relay.new(Update) == []


@pytest.mark.requirement("R-7.4")
def test_a_peers_typing_stop_ends_it_and_each_peer_has_its_own_time() -> None:
    relay = FakeRelay().join()
    relay.say("TYPING_START", TypingUpdate("c1", BOB))
    relay.advance(1 * S)
    relay.say("TYPING_START", TypingUpdate("c2", BOB))
    relay.say("TYPING_STOP", TypingUpdate("c1", BOB))
    relay.new(Update)
    relay.lose(1000)
    relay.advance(5 * S)
    assert [effect.frame.payload for effect in relay.new(Update)] == [TypingUpdate("c2", BOB)]


def test_only_so_many_peers_are_shown_typing() -> None:
    relay = FakeRelay(wire=False).join()
    for n in range(MAX_TYPING + 1):
        relay.say("TYPING_START", TypingUpdate(f"c{n}", BOB))
    stops = [effect.frame for effect in relay.new(Update) if effect.frame.type == "TYPING_STOP"]
    assert [frame.payload for frame in stops] == [TypingUpdate("c0", BOB)]


# --- subscriptions -----------------------------------------------------------------------------------


def test_a_closing_client_takes_answers_and_sends_nothing() -> None:
    relay = FakeRelay().join()
    message_id = relay.send()
    relay.do(relay.client.close(relay.now))
    relay.new(object)
    relay.ping()
    relay.new_message(message(1))
    assert relay.count("frames.ignored") == 2
    relay.ack(message_id)
    relay.send("later")
    relay.do(relay.client.mark_read("m", relay.now))
    relay.do(relay.client.subscribe(["a"], relay.now))
    assert relay.frames() == []
    assert relay.client.unacked == 1


def test_a_frame_by_reference_keeps_its_own_times() -> None:
    relay = FakeRelay(wire=False).join()
    relay.say("TYPING_START", TypingUpdate("c1", BOB))
    (update,) = relay.new(Update)
    assert isinstance(update.frame, Frame)
    assert update.frame.timestamp == T0_MS


def test_a_loss_with_nothing_read_sends_no_read_again() -> None:
    relay = FakeRelay().join()
    relay.new_message(message(1))
    relay.rejoin()
    relay.advance(1 * S)
    assert reads(relay) == []


@pytest.mark.requirement("R-7.4")
def test_a_later_typing_indicator_outlives_an_earlier_one() -> None:
    relay = FakeRelay().join()
    relay.say("TYPING_START", TypingUpdate("c1", BOB))
    relay.advance(2 * S)
    relay.say("TYPING_START", TypingUpdate("c2", BOB))
    relay.new(Update)
    relay.advance(3 * S)
    assert [effect.frame.payload.conversation_id for effect in relay.new(Update)] == ["c1"]
    relay.advance(2 * S)
    assert [effect.frame.payload.conversation_id for effect in relay.new(Update)] == ["c2"]


def test_reads_keep_their_order_over_a_refusal_and_over_a_loss() -> None:
    relay = FakeRelay()
    for n in range(3):
        relay.do(relay.client.mark_read(f"m{n}", relay.now))
    relay.join()
    relay.error("RATE_LIMITED", relay.sent("MESSAGE_READ")[-1][1], retry_after=1)
    relay.advance(2 * S)
    assert reads(relay) == ["m0", "m0", "m1", "m2"]
    relay.rejoin()
    relay.advance(2 * S)
    assert reads(relay)[4:] == ["m0", "m1", "m2"]


def test_a_late_refusal_of_an_old_presence_must_not_undo_the_newest() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.set_presence("away", relay.now))
    relay.do(relay.client.set_presence("online", relay.now))
    first, second = (frame for _, frame in relay.sent("PRESENCE_SET"))
    relay.error("RATE_LIMITED", first, retry_after=60)
    relay.do(relay.client.set_presence("invisible", relay.now))
    relay.error("RATE_LIMITED", second, retry_after=60)
    relay.advance(60 * S)
    assert statuses(relay) == ["away", "online", "invisible"]
