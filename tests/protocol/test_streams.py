"""Randomness by name: the seed, the boot and the name say all."""

from __future__ import annotations

import uuid
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.streams import Streams, seed_bytes


@given(st.lists(st.integers(0, 200) | st.just(5_000), max_size=30))
def test_a_stream_must_not_depend_on_how_it_is_cut(counts: list[int]) -> None:
    parts = Streams(1).stream("a")
    assert b"".join(parts.bytes(count) for count in counts) == Streams(1).stream("a").bytes(sum(counts))


def test_a_stream_must_not_depend_on_what_else_was_drawn() -> None:
    lone, crowded = Streams("seed"), Streams("seed")
    for i in range(50):
        crowded.stream(f"device/{i}").bytes(i)
    assert lone.stream("challenge").bytes(500) == crowded.stream("challenge").bytes(500)


def test_seed_boot_and_name_must_each_make_another_stream() -> None:
    drawn = [
        Streams(seed, boot).stream(name).bytes(32)
        for seed in (1, 2, "1", b"1", bytes(32))
        for boot in (0, 1)
        for name in ("a", "b")
    ]
    assert len(set(drawn)) == len(drawn)


def test_the_key_as_a_seed_must_give_the_same_streams() -> None:
    streams = Streams("a word")
    assert Streams(streams.key).stream("x").bytes(40) == streams.stream("x").bytes(40)
    assert seed_bytes(bytes(range(32))) == bytes(range(32))


def test_streams_must_stay_what_they_are() -> None:
    """BLAKE2b in counter mode, written out. A change here changes every recording and every digest there is."""
    key = blake2b(b"i1", digest_size=32).digest()
    boot, name = (2).to_bytes(8, "big"), b"challenge"
    blocks = [blake2b(n.to_bytes(8, "big") + boot + name, key=key, digest_size=64).digest() for n in range(3)]
    assert Streams(1, 2).stream("challenge").bytes(192) == b"".join(blocks)
    assert Streams(1, 2).stream("challenge").word() == int.from_bytes(blocks[0][:8], "big")
    assert [seed_bytes(seed) for seed in ("1", b"1")] == [
        blake2b(tagged, digest_size=32).digest() for tagged in (b"s1", b"b1")
    ]


@pytest.mark.requirement("R-1.2")
@given(st.integers(0, 2**64))
def test_a_uuid_must_be_of_version_4_in_its_36_characters(seed: int) -> None:
    text = Streams(seed).stream("id").uuid4()
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


DRAWS = ("uuid4", "word", "uniform", 1, 8, 16, 40, 64, 130)


@given(st.lists(st.sampled_from(DRAWS), max_size=40))
def test_every_draw_must_take_the_next_of_the_same_bytes(draws: list[str | int]) -> None:
    """16 of them for an id, whose version and variant stand over two of its digits, and 8 for a word."""
    stream, raw = Streams(1).stream("a"), Streams(1).stream("a").bytes(64 * 100)
    at = 0
    for draw in draws:
        if draw == "uuid4":
            digits = raw[at : at + 16].hex()
            digits = f"{digits[:12]}4{digits[13:16]}{'89ab'[int(digits[16], 16) >> 2]}{digits[17:]}"
            assert stream.uuid4() == str(uuid.UUID(digits))
        elif draw == "word":
            assert stream.word() == int.from_bytes(raw[at : at + 8], "big")
        elif draw == "uniform":
            assert stream.uniform() == (int.from_bytes(raw[at : at + 8], "big") >> 11) / 2**53
        else:
            assert stream.bytes(int(draw)) == raw[at : at + int(draw)]
        at += {"uuid4": 16, "word": 8, "uniform": 8}.get(str(draw)) or int(draw)
        assert stream.counter == -(-at // 64), "all that a snapshot keeps"


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40))
def test_between_must_keep_its_bounds(low: int, span: int) -> None:
    stream = Streams(low).stream("x")
    assert all(low <= stream.between(low, low + span) <= low + span for _ in range(20))
    assert stream.between(low, low) == low


@pytest.mark.requirement("R-1.2")
def test_every_variant_digit_that_rfc_9562_allows_must_be_drawn() -> None:
    stream = Streams(9).stream("id")
    assert {stream.uuid4()[19] for _ in range(200)} == set("89ab")


def test_between_must_reach_both_ends_evenly() -> None:
    stream = Streams(3).stream("dice")
    counts = [0] * 6
    for _ in range(6_000):
        counts[stream.between(0, 5)] += 1
    assert all(900 < count < 1_100 for count in counts)


def test_between_must_refuse_an_empty_range() -> None:
    with pytest.raises(ValueError, match=r"empty range 2\.\.1"):
        Streams(1).stream("x").between(2, 1)


def test_uniform_must_lie_in_the_unit_interval() -> None:
    stream = Streams(4).stream("u")
    drawn = [stream.uniform() for _ in range(2_000)]
    assert all(0 <= value < 1 for value in drawn)
    assert 0.47 < sum(drawn) / len(drawn) < 0.53


def test_hex_must_have_the_digits_asked_for() -> None:
    stream = Streams(5).stream("h")
    assert [len(stream.hex(digits)) for digits in (0, 1, 7, 12)] == [0, 1, 7, 12]


def test_the_same_name_must_be_the_same_stream_and_fresh_another() -> None:
    streams = Streams(6)
    assert streams.stream("a") is streams.stream("a")
    first = streams.stream("a").bytes(10)
    assert streams.fresh("a").bytes(10) == first
    assert streams.stream("a").bytes(10) != first


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 130)), max_size=20))
def test_streams_restored_by_their_counters_must_go_on_alike(draws: list[tuple[str, int]]) -> None:
    streams = Streams(7, 1)
    for name, count in draws:
        streams.stream(name).bytes(count)
    streams.realign()
    again = Streams(7, 1)
    again.restore(streams.counters())
    for name in "abcd":
        assert streams.stream(name).bytes(200) == again.stream(name).bytes(200)


def test_what_was_drawn_before_a_snapshot_must_not_be_drawn_again() -> None:
    streams = Streams(8)
    drawn = streams.stream("challenge").bytes(10)
    streams.realign()
    assert drawn not in streams.stream("challenge").bytes(1_000)
