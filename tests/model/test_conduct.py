"""What users do: bursts, the day's course, typing, presence, the foreground, contacts and devices."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from tests.model.support import mapping, run, run_for, world
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.model.contacts import HeavyTail
from zentalk_sim.model.population import build_population
from zentalk_sim.model.workload import geometric
from zentalk_sim.model.world import START_US
from zentalk_sim.protocol.crypto import Modelled
from zentalk_sim.protocol.streams import Streams

S = 1_000_000
QUIET = {"messages": {"rate_per_device": 0}}


def sent(outcome: Any) -> list[dict[str, Any]]:
    """One row per message, in the order of sending."""
    return list({row["message_id"]: row for row in outcome.messages}.values())


# --- sending -------------------------------------------------------------------------------------------------


def test_the_geometric_distribution_has_its_mean() -> None:
    values = [geometric(5.0, (i + 0.5) / 10_000) for i in range(10_000)]
    assert min(values) == 1
    assert sum(values) / len(values) == pytest.approx(5.0, rel=0.01)


def test_bursts_go_to_one_contact_and_keep_the_mean_rate() -> None:
    population = {"devices": 30, "contacts": 20}
    work = {"messages": {"rate_per_device": "6/min"}, "pattern": "bursty"}
    off = {"limits": {"send_message": "off"}}
    bursty = run(duration="10m", population=population, relay=off, workload={**work, "burst": {"gap": "1s"}})
    steady = run(duration="10m", population=population, relay=off, workload={**work, "pattern": "steady"})
    assert bursty.counts["messages.sent"] == pytest.approx(30 * 60, rel=0.12)
    assert steady.counts["messages.sent"] == pytest.approx(30 * 60, rel=0.12)
    by_sender: dict[str, list[dict[str, Any]]] = {}
    for row in sent(bursty):
        by_sender.setdefault(row["sender"], []).append(row)
    close = same = 0
    for rows in by_sender.values():
        for before, after in pairwise(rows):
            if after["sent_us"] - before["sent_us"] == S:
                close += 1
                same += before["recipient"] == after["recipient"]
    assert close > 0.5 * bursty.counts["messages.sent"], "four of five messages follow another of their burst"
    assert same == close


def test_the_day_has_its_peak_and_its_trough() -> None:
    work = {
        "messages": {"rate_per_device": "10/min"},
        "pattern": "diurnal",
        "diurnal": {"period": "8m", "peak_at": "4m", "depth": 1.0},
    }
    outcome = run(duration="8m", population={"devices": 20}, workload=work, relay={"limits": {"send_message": "off"}})
    minutes = Counter((row["sent_us"] - START_US) // (60 * S) for row in sent(outcome))
    # 1 + cos over the minutes beside the peak, and beside the trough at the day's ends.
    assert minutes[3] + minutes[4] == pytest.approx(20 * 20 * 1.90, rel=0.12)
    assert minutes[0] + minutes[7] < 0.15 * (minutes[3] + minutes[4])
    assert outcome.counts["messages.sent"] == pytest.approx(20 * 80, rel=0.12)


# --- typing, presence, the foreground ------------------------------------------------------------------------


@pytest.mark.requirement("R-7.4")
def test_typing_comes_before_the_message_again_every_three_seconds_and_ends_with_it() -> None:
    work = {"messages": {"interval": "60s"}, "typing": {"probability": 1.0, "duration": "7s"}}
    outcome = run(duration="100s", population={"devices": 2}, workload=work)
    assert outcome.counts["messages.sent"] == 2
    # START at 0, 3 and 6 s, STOP at 7 s, each to the other's one device.
    assert outcome.counts["signals.typing"] == 2 * 4
    first = min(row["auth_us"] for row in outcome.connections)
    assert min(row["sent_us"] for row in sent(outcome)) - first == 67 * S
    none = run(duration="100s", population={"devices": 2}, workload={"messages": {"interval": "60s"}})
    assert none.counts["signals.typing"] == 0


@pytest.mark.requirement("R-7.2", "R-7.3")
def test_who_watches_presence_is_told_of_each_change_once() -> None:
    work = {**QUIET, "presence": {"subscribe": "contacts", "set_every": "61s"}, "start": {"ramp": "0s"}}
    outcome = run(duration="3m", population={"devices": 4}, workload=work)
    # At the subscription the present state of three contacts each, then two changes of each to three watchers.
    assert outcome.counts["signals.presence"] >= 4 * 3 + 2 * 4 * 3
    assert outcome.counts["signals.presence"] <= 4 * 3 + 2 * 4 * 3 + 4 * 3
    assert outcome.counts["errors.FORBIDDEN"] == 0


def test_off_screen_nothing_is_written_and_what_came_is_read_when_back() -> None:
    cycle = {"on": "20s", "off": "40s"}
    work = {
        "start": {"ramp": "0s"},
        "messages": {"rate_per_device": "20/min"},
        "foreground": cycle,
        "reads": {"probability": 1.0, "delay": "5s"},
    }
    outcome = run(duration="130s", population={"devices": 4}, workload=work)
    begins = min(row["auth_us"] for row in outcome.connections)
    for row in sent(outcome):
        assert (row["sent_us"] - begins) % (60 * S) < 20.2 * S, "written on screen only"
    late = [row for row in outcome.messages if row["read_us"] and (row["shown_us"] - begins) % (60 * S) > 15.2 * S]
    assert late
    for row in late:
        assert (row["read_us"] - begins) % (60 * S) < 1 * S, "read at the return"


def test_off_screen_a_device_is_away() -> None:
    made = world(workload={**QUIET, "foreground": {"on": "20s", "off": "40s"}, "start": {"ramp": "0s"}})
    run_for(made, 10)
    assert {user.status_set for user in made.store.users.values()} <= {"online", None}
    run_for(made, 25)
    assert {user.status_set for user in made.store.users.values()} == {"away"}


# --- who there is --------------------------------------------------------------------------------------------


def members(**population: Any) -> list[Any]:
    return build_population(from_mapping(mapping(population=population)), Streams(1), Modelled())


def test_users_have_as_many_devices_as_their_weights_say() -> None:
    made = members(devices=2_000, devices_per_user=[5, 3, 0, 2])
    numbers = Counter(
        len(member.person.device_ids) for member in made if member.device_id == member.person.device_ids[0]
    )
    users = sum(numbers.values())
    assert len(made) == 2_000
    assert set(numbers) <= {1, 2, 3, 4}
    assert numbers[3] <= 1, "only the last user may have what remains"
    for count, share in ((1, 0.5), (2, 0.3), (4, 0.2)):
        assert numbers[count] / users == pytest.approx(share, abs=0.06)
    assert [member.index for member in made] == list(range(2_000))


def test_a_heavy_tail_has_its_mean_its_stars_and_nobody_twice() -> None:
    made = members(devices=1_000, contacts=10, contact_graph="heavy_tailed", tail_exponent=1.5)
    people = [member.person for member in made]
    degrees = sorted(len(person.contacts) for person in people)
    assert sum(degrees) / 1_000 == pytest.approx(10, rel=0.35)
    assert degrees[0] >= 1
    assert degrees[-1] > 8 * degrees[500], "a few write to very many"
    heard = Counter(contact for person in people for contact in person.contacts)
    assert max(heard.values()) > 10 * sorted(heard.values())[len(heard) // 2], "and are written to by very many"
    for person in people:
        assert len(set(person.contacts)) == len(person.contacts)
        assert person.index not in person.contacts


@pytest.mark.parametrize("users", [1, 2, 3, 7])
def test_a_heavy_tail_in_a_small_world_ends_with_everybody(users: int) -> None:
    graph = HeavyTail(Streams(1), users, 500, 1.1)
    for own in range(users):
        assert sorted(graph.pick(Streams(1).fresh("picks"), own)) == [user for user in range(users) if user != own]
    assert HeavyTail(Streams(1), users, 0, 2.0).pick(Streams(1).fresh("picks"), 0) == ()


def test_a_workload_without_habits_makes_none() -> None:
    made = world()
    run_for(made, 30)
    assert all(device.habits is None for device in made.devices)
    assert {device.clock for device in made.devices} == {None}
