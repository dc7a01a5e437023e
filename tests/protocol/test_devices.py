"""Registered and connected devices: twenty, five, replacement, removal (R-7.1, R-10.3)."""

from __future__ import annotations

import pytest
from relay_support import loose
from relay_world import RelayWorld

from zentalk_sim.protocol.config import Ceiling, Limits
from zentalk_sim.protocol.control import AddDevice, RemoveDevice
from zentalk_sim.protocol.errors import ProtocolError


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


@pytest.mark.requirement("R-7.1")
def test_the_21st_device_must_be_refused_by_rest_by_authentication_and_by_the_tools(world: RelayWorld) -> None:
    alice = world.person("alice", devices=20)
    new = world.uuid()
    answer = alice.rest("POST", "/api/devices", {"device_id": new, "device_name": "", "device_type": "web"})
    assert (answer.status, answer.body["error_code"], answer.body["details"]) == (403, "FORBIDDEN", {"limit": 20})
    with pytest.raises(ProtocolError, match="at most 20 devices"):
        world.control(AddDevice(alice.address, new))
    alice.devices.append(new)
    line = alice.open(20)
    line.authenticate()
    assert line.close_code == 4004
    assert not line.of("AUTH_SUCCESS")
    assert alice.connect(19).close_code is None, "those registered connect"
    world.control(RemoveDevice(alice.address, alice.devices[0]))
    assert alice.connect(20).close_code is None, "a removed one makes room"


@pytest.mark.requirement("R-7.1")
def test_a_device_first_seen_at_authentication_must_be_registered_as_web(world: RelayWorld) -> None:
    alice = world.person("alice")
    alice.devices.append(world.uuid())
    alice.connect(1)
    device = world.store.users[alice.address].devices[alice.devices[1]]
    assert (device.type, device.name, device.registered_us) == ("web", "", world.now)


@pytest.mark.requirement("R-10.3", "table:Connection Limits/Max connections per user")
def test_a_sixth_connected_device_must_be_closed_with_4004_in_place_of_auth_success() -> None:
    world = RelayWorld(loose(limits=Limits(auth_attempts="off")))
    alice = world.person("alice", devices=6)
    lines = [alice.connect(number) for number in range(5)]
    sixth = alice.open(5)
    sixth.authenticate()
    assert sixth.types() == ["AUTH_CHALLENGE"]
    assert sixth.close_code == 4004
    again = alice.connect(0)
    assert lines[0].end == (1000, "replaced")
    again.lose()
    assert alice.connect(5).close_code is None


@pytest.mark.requirement("R-10.3")
def test_a_device_must_replace_its_older_connection_at_auth_success_and_not_before(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    older = alice.connect()
    newer = alice.open()
    assert older.close_code is None
    newer.authenticate()
    assert older.end == (1000, "replaced")
    bob.connect().message(alice)
    assert len(newer.of("MESSAGE_NEW")) == 1
    older.lose()
    assert list(world.store.connected(alice.address)) == alice.devices, "the older one's loss is not the device's"
    older.clear()
    world.apply(world.relay.receive_data(older.conn, "{}", world.now))
    assert older.frames == []


@pytest.mark.requirement("R-10.3")
def test_a_connection_about_to_be_replaced_must_not_count_for_its_ip() -> None:
    world = RelayWorld(loose(limits=Limits(auth_attempts="off", connections_per_ip=Ceiling(limit=1))))
    alice = world.person("alice", devices=2)
    alice.connect(0)
    assert alice.open(1).close_code == 4002
    assert alice.connect(0).close_code is None


@pytest.mark.requirement("R-7.1")
def test_removing_a_device_must_close_its_connection_and_end_its_subscriptions(world: RelayWorld) -> None:
    alice, bob = world.person("alice", devices=2), world.person("bob")
    first, second, b = alice.connect(0), alice.connect(1), bob.connect()
    b.message(alice)
    first.send("SUBSCRIBE", {"topics": [f"presence:{bob.address}"]})
    alice.rest("DELETE", f"/api/devices/{alice.devices[0]}", device=1)
    assert first.end == (1000, "device_removed")
    assert second.close_code is None
    assert world.store.subscribers == {}
    resumed = alice.open(0, resume=first.session["resume_token"])
    resumed.authenticate()
    assert resumed.session["resumed"] is False, "its session went with it"
    assert not resumed.of("SYNC_REQUIRED"), "and so did its mailbox"


@pytest.mark.requirement("R-7.1")
def test_removing_a_device_while_it_authenticates_must_register_it_anew(world: RelayWorld) -> None:
    alice = world.person("alice")
    line = alice.open()
    world.control(RemoveDevice(alice.address, alice.devices[0]))
    line.authenticate()
    assert world.store.users[alice.address].devices[alice.devices[0]].type == "web"
