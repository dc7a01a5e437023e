"""R-11.2 in a simulation, whose devices tell their waits to the microsecond: a backoff without jitter is seen."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from zentalk_sim.checks import run_checks
from zentalk_sim.checks.client_connecting import BackoffJitter, action_after, delay_us
from zentalk_sim.protocol.close_policy import close_action
from zentalk_sim.protocol.config import BackoffConfig, ClientConfig, RelayConfig
from zentalk_sim.trace import events as ev

S = 1_000_000
BEGIN = ev.Begin(0, 0, "simulation", RelayConfig(), ClientConfig(), None, True, False, 1, True)


def _waits(device: str, *waits_us: int, cause: str = "backoff over") -> list[Any]:
    """A device that is connected, and lost, and waits so long before each next attempt, all of which fail."""
    t, found = S, [ev.State(0, S, device, "AUTHENTICATING", "CONNECTED", "authenticated")]
    old = "CONNECTED"
    for wait_us in waits_us:
        found.append(ev.State(0, t, device, old, "FAILED", "1006 lost"))
        t += wait_us
        found.append(ev.State(0, t, device, "FAILED", "CONNECTING", cause))
        old = "CONNECTING"
    return found


def _verdict(events: list[Any], jitter: float = 0.1) -> Any:
    client = ClientConfig(backoff=BackoffConfig(jitter=jitter))
    begin = replace(BEGIN, client=client)
    (result,) = run_checks([begin, *events], [BackoffJitter]).results
    return result


@pytest.mark.requirement("R-11.2")
def test_the_same_wait_of_several_devices_must_be_a_breach() -> None:
    result = _verdict([event for name in "abc" for event in _waits(name, S)])
    assert result.verdict == "broken"
    assert "all 3 waits before attempt 0 have the same 0.000000" in result.evidence[0].message


@pytest.mark.requirement("R-11.2")
def test_a_device_whose_waits_are_all_nominal_must_be_a_breach_among_others_that_draw() -> None:
    drawn = [event for n, name in enumerate("abcd") for event in _waits(name, S + 9_000 + 21_000 * n)]
    assert _verdict(drawn).verdict == "held"
    result = _verdict([*drawn, *_waits("alice's telephone", S, 2 * S, 4 * S)])
    assert result.verdict == "broken"
    assert "all 3 waits of device alice's telephone" in result.evidence[0].message


@pytest.mark.requirement("R-11.2")
@pytest.mark.parametrize("cause", ["application", "network_changed"])
def test_an_attempt_that_something_else_explains_must_not_count(cause: str) -> None:
    events = [event for name in "abcd" for event in _waits(name, S, cause=cause)]
    assert _verdict(events).verdict == "not_exercised"


@pytest.mark.requirement("R-11.2")
def test_without_jitter_in_the_experiment_nothing_may_be_asked_of_the_waits() -> None:
    events = [event for name in "abcd" for event in _waits(name, S, 2 * S, 4 * S)]
    assert _verdict(events, jitter=0).verdict == "not_exercised"


def test_two_waits_say_nothing() -> None:
    assert _verdict([event for name in "ab" for event in _waits(name, S)]).verdict == "not_exercised"


@pytest.mark.requirement("R-11.3")
def test_the_checks_own_table_of_closes_must_agree_with_the_clients() -> None:
    """Two tables, so that a wrong entry in the core's deceives no check."""
    for code in (*range(1000, 1016), 1100, 2999, 3000, 3999, *range(4000, 4010), 4999):
        assert action_after(code) == close_action(code), code


@pytest.mark.requirement("R-11.2")
def test_the_wait_doubles_until_the_cap() -> None:
    settings = BackoffConfig(base_ms=1000, cap_ms=30_000)
    assert [delay_us(settings, k) // S for k in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert delay_us(settings, 10_000) == 30 * S
    assert delay_us(BackoffConfig(base_ms=9000, cap_ms=5000), 0) == 5 * S
