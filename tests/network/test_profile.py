"""Profiles: defaults, what is refused, and what the named ones promise."""

from __future__ import annotations

from pathlib import Path as File
from statistics import median

import msgspec
import pytest

from zentalk_sim.network.latency import Constant, Uniform
from zentalk_sim.network.link import link_of
from zentalk_sim.network.loss import Bernoulli
from zentalk_sim.network.path import Path
from zentalk_sim.network.profile import NOT_MODELLED, PROFILES, LinkProfile, OneWay
from zentalk_sim.network.tcp import TcpConnection
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.timers import NEVER


def test_the_named_profiles_are_all_there_and_tell_their_source() -> None:
    assert {"ideal", "lan", "fibre", "wifi", "lte", "3g", "edge", "satellite", "train"} <= set(PROFILES)
    assert all(profile.source for profile in PROFILES.values())


def test_ideal_costs_nothing() -> None:
    alice = TcpConnection(PROFILES["ideal"], Path(), Streams(1).fresh("x"), 7)
    assert alice.handshake(7) == 7
    assert alice.tls(7) == 7
    assert alice.carry_up(0, 7) == alice.carry_down(0, 7) == 7


@pytest.mark.parametrize(
    ("name", "round_trip_ms", "tolerance"),
    [
        ("lan", 0.5, 0.0),
        ("fibre", 11, 0.2),
        ("lte", 70, 0.1),
        ("3g", 300, 0.1),
        ("edge", 840, 0.1),
        ("satellite", 600, 0.1),
    ],
)
def test_round_trips_are_those_of_the_sources(name: str, round_trip_ms: float, tolerance: float) -> None:
    profile = PROFILES[name]
    measured = []
    for i in range(300):
        alice = TcpConnection(profile, Path(), Streams(2).fresh(f"{name}/{i}"), 0)
        at_us = alice.handshake(0)
        if at_us != NEVER:
            measured.append(at_us / 1000)
    assert median(measured) == pytest.approx(round_trip_ms, rel=tolerance)


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_survive_the_way_through_json(name: str) -> None:
    profile = PROFILES[name]
    assert msgspec.json.decode(msgspec.json.encode(profile), type=LinkProfile) == profile


def test_a_size_is_needed_where_loss_or_bandwidth_counts() -> None:
    assert not LinkProfile(latency=Uniform(1, 2)).needs_size
    assert LinkProfile(rate_bit_per_s=1000).needs_size
    assert LinkProfile(down=OneWay(loss=Bernoulli(0.1))).needs_size
    assert LinkProfile(up=OneWay(rate_bit_per_s=1000)).needs_size


def test_a_direction_takes_what_it_does_not_say_from_the_profile() -> None:
    profile = LinkProfile(latency=Constant(10), rate_bit_per_s=1000, down=OneWay(latency=Constant(30)))
    assert profile.way(up=True).latency == Constant(10)
    assert profile.way(up=False).latency == Constant(30)
    assert profile.way(up=False).rate_bit_per_s == 1000
    assert link_of(profile).srtt_us == 40_000


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"rate_bit_per_s": 1000, "queue_bytes": 1499}, "1499 cannot hold one full segment .1500 bytes."),
        ({"queue_bytes": 9999}, "says nothing without rate_bit_per_s"),
        ({"rto_min_ms": 5000, "rto_max_ms": 4000}, "rto_max_ms 4000 is below rto_min_ms 5000"),
        ({"rate_bit_per_s": 0}, ">= 1"),
        ({"congestion_control": "cubic"}, "unknown field `congestion_control`"),
        ({"latency": {"dist": "uniform", "min_ms": 5, "max_ms": 1}}, r"\$\.latency"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_place_and_reason(settings: object, complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(settings, LinkProfile)


def test_what_is_not_modelled_is_no_setting_and_stands_in_the_docs() -> None:
    text = (File(__file__).parents[2] / "docs" / "network.md").read_text()
    assert not set(NOT_MODELLED) & set(LinkProfile.__struct_fields__)
    for name in NOT_MODELLED:
        assert f"`{name}`" in text, name


def test_every_setting_and_profile_stands_in_the_docs() -> None:
    text = (File(__file__).parents[2] / "docs" / "network.md").read_text()
    for name in (*LinkProfile.__struct_fields__, *PROFILES):
        assert f"`{name}`" in text, name
