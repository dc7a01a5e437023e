"""What several tests of the relay ask for: a relay without limits, the ledger of copies, REST on any node, keys."""

from __future__ import annotations

from typing import Any

from relay_world import Line, Person, RelayWorld, b64

from zentalk_sim.protocol.config import Limits, RelayConfig
from zentalk_sim.protocol.effects import Respond
from zentalk_sim.protocol.rest_types import Request

DAY_S = 86_400
NO_LIMITS = Limits(
    send_message="off",
    typing="off",
    presence="off",
    read_receipt="off",
    subscribe="off",
    connections_per_user="off",
    connections_per_ip="off",
    connection_rate="off",
    auth_attempts="off",
    token_refresh="off",
)


def loose(**sections: Any) -> RelayConfig:
    """The specification's settings without its limits."""
    return RelayConfig(**{"limits": NO_LIMITS, **sections})


def pending(world: RelayWorld) -> int:
    """Copies in all mailboxes."""
    return sum(len(box) for box in world.store.mailboxes.values())


def assert_ledger(world: RelayWorld) -> None:
    """copies.stored = copies.confirmed + copies.dropped.* + copies.pending (the contract's ledger)."""
    dropped = sum(note.count for note in world.notes if note.name.startswith("copies.dropped."))
    assert world.count("copies.stored") == world.count("copies.confirmed") + dropped + pending(world)


def outlive(world: RelayWorld, span_s: float) -> None:
    """Let a long time pass in which nobody is connected."""
    assert not any(relay.connections for relay in world.relays), "connected devices would have to be kept alive"
    world.advance(span_s)


def leave(*lines: Line) -> None:
    """Lose connections."""
    for line in lines:
        line.lose()


def rest_on(relay: int, person: Person, method: str, path: str, body: Any = None, *, device: int = 0) -> Respond:
    """Ask the REST interface of one node; the body travels by reference."""
    world = person.world
    path, _, query = path.partition("?")
    fields = dict(pair.split("=") for pair in query.split("&")) if query else {}
    request = Request(method, path, fields, person.token(device), body, "203.0.113.1")
    number = world.next_id()
    world.apply(world.relays[relay].handle_request(number, request, world.now))
    return world.answers.pop(number)


def key_of(number: int) -> bytes:
    """A pre-key's 32 bytes."""
    return bytes([number % 256]) * 32


def bundle(person: Person, ids: tuple[int, ...] = (1, 2), **changes: Any) -> dict[str, Any]:
    """The body of POST /api/keys."""
    signed = key_of(200)
    return {
        "identityKey": b64(person.key),
        "signedPreKey": {"id": 7, "key": b64(signed)},
        "signature": b64(person.world.crypto.sign(person.secret, signed)),
        "oneTimePreKeys": [{"id": number, "key": b64(key_of(number))} for number in ids],
        **changes,
    }


def header(person: Person, key_id: int | None = None) -> dict[str, Any]:
    """An x3dh_header of a session-initiating message."""
    found: dict[str, Any] = {"identity_key": b64(person.key), "ephemeral_key": b64(key_of(9))}
    if key_id is not None:
        found["one_time_key_id"] = key_id
    return found
