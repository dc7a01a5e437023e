"""What a device and its user's record keep, and what they let go of: a world may hold a million of each."""

from __future__ import annotations

from tests.model.support import run_for, world
from zentalk_sim.protocol.client_effects import Fetch
from zentalk_sim.protocol.control import ChangeSettings


def test_users_share_the_settings_they_begin_with_and_a_change_must_be_ones_own() -> None:
    made = world(population={"devices": 3})
    alice, bob, carol = made.store.users.values()
    assert alice.settings is bob.settings is carol.settings
    relay = made.nodes[0].relay
    assert relay is not None
    relay.control(ChangeSettings(alice.address, {"share_presence": False}), made.kernel.now)
    assert not alice.settings.share_presence
    assert bob.settings.share_presence
    assert carol.settings.share_presence


def test_a_device_lets_go_of_a_connection_for_requests_once_it_is_closed() -> None:
    made = world(population={"devices": 1, "contacts": 0})
    run_for(made, 5)
    device = made.devices[0]
    device.apply([Fetch(1, "GET", "/api/messages?limit=1&offset=0")])
    run_for(made, 5)
    first = device.rest
    assert first is not None
    run_for(made, 15)
    assert device.rest is None, "idle for 15 s, it was closed"
    device.apply([Fetch(2, "GET", "/api/messages?limit=1&offset=0")])
    assert device.rest not in (None, first), "the next request opens another"


def test_a_client_forgets_its_challenge_once_the_session_key_is_made() -> None:
    made = world(population={"devices": 1})
    run_for(made, 5)
    session = made.devices[0].client.session
    assert session.ready
    assert session.challenge is None
