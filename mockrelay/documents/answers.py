"""What the relay's HTTP paths answer with, and the bodies that their handlers read by hand, as types.

The handlers build their answers from the store; tests hold each of these against what a running relay says.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from zentalk_sim.faults import Match, Rule
from zentalk_sim.protocol.frames import Bytes32, Bytes64, MessageNew
from zentalk_sim.protocol.records import Settings

Count = Annotated[int, Meta(ge=0)]


class Failure(Struct):
    """Every error of the relay."""

    error_code: str
    message: str
    details: dict[str, Any]


class Status(Struct):
    """How the relay is."""

    status: str


class Jwk(Struct):
    """The public key that tokens are signed with (RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    alg: str
    use: str


class JwkSet(Struct):
    """A JWK Set (RFC 7517)."""

    keys: list[Jwk]


# --- the app's own interface -------------------------------------------------------------------------


class StoredMessage(Struct):
    """A message that waits for the device, as MESSAGE_NEW would bring it."""

    type: Literal["MESSAGE_NEW"]
    id: str
    timestamp: int
    payload: MessageNew


class MessagePage(Struct):
    """A page of the mailbox, oldest first."""

    messages: list[StoredMessage]
    total: Count


class Acknowledged(Struct):
    """How many messages this took out of the mailbox."""

    acked: Count


class KeysLeft(Struct):
    """How many one-time pre-keys can still be handed out."""

    oneTimePreKeys: Count


class PreKey(Struct):
    """A pre-key."""

    id: int
    key: Bytes32


class KeyBundle(Struct):
    """A user's keys, with one pre-key that nobody was given before, or null."""

    identityKey: Bytes32
    signedPreKey: PreKey
    signature: Bytes64
    oneTimePreKey: PreKey | None


class RegisteredDevice(Struct):
    """A device; times in ms."""

    device_id: str
    device_name: str
    device_type: str
    push_token: str | None
    registered_at: int
    last_active: int | None


class IssuedToken(Struct):
    """A connection token; ``expires_at`` in ms."""

    token: str
    expires_at: int


class KeptMedia(Struct):
    """What was uploaded."""

    id: str
    url: str
    bytes: Count


# --- control -----------------------------------------------------------------------------------------


class DeviceToken(Struct):
    """A device with its connection token."""

    device_id: str
    token: str


class MadeUser(Struct):
    """A user made by the tools; ``device_id`` and ``token`` are those of the first device."""

    name: str
    address: str
    identity_key: Bytes32
    devices: list[DeviceToken]
    identity_secret: Bytes32 | UnsetType = UNSET
    device_id: str | UnsetType = UNSET
    token: str | UnsetType = UNSET


class ShownDevice(Struct):
    """A registered device."""

    device_id: str
    device_name: str
    device_type: str
    push_token: str | None


class ShownUser(Struct):
    """What the store holds of a user."""

    name: str | None
    address: str
    identity_key: Bytes32
    suspended: bool
    settings: Settings
    contacts: list[str]
    devices: list[ShownDevice]
    identity_secret: Bytes32 | UnsetType = UNSET


class NewKey(Struct):
    """A fresh identity key."""

    identity_key: Bytes32
    identity_secret: Bytes32


class Contacts(Struct):
    """The user's contacts."""

    contacts: list[str]


class ShownConnection(Struct):
    """An open connection."""

    id: int
    user: str
    name: str | None
    device: str
    state: str
    rtt_ms: float | None
    queued: Count
    queued_bytes: Count
    ip: str
    session_id: str | None


class EndedConnection(Struct):
    """A connection that is ended."""

    id: int
    how: str


class SentTo(Struct):
    """The connection that something was sent to."""

    id: int


class ShownClock(Struct):
    """The space's time in ms, and how it runs."""

    now_ms: int
    mode: Literal["real", "frozen", "scaled"]
    scale: float


class ShownRule(Rule, frozen=True, kw_only=True):
    """A rule in force; how often it matched and fired."""

    matched: Count
    fired: Count


class Removed(Struct):
    """How many rules were taken out."""

    removed: Count


class JournalEntry(Struct):
    """One thing that happened. Which fields there are depends on ``event``; others may come."""

    n: int
    t_ms: int
    event: str
    direction: str | UnsetType = UNSET
    connection: int | UnsetType = UNSET
    user: str | UnsetType = UNSET
    device: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    frame: dict[str, Any] | UnsetType = UNSET
    binary: bool | UnsetType = UNSET
    close_code: int | UnsetType = UNSET
    rule: dict[str, Any] | UnsetType = UNSET


class Difference(Struct):
    """A field in which an entry is not what was wanted."""

    path: str
    wanted: Any
    got: Any


class NearestMiss(Struct):
    """An entry that nearly matches."""

    entry: JournalEntry
    differences: list[Difference]


class Held(Struct):
    """What was waited for, or verified, has happened."""

    held: Literal[True]
    found: Count
    entries: list[JournalEntry]
    journal_truncated: bool | UnsetType = UNSET


class NotHeld(Struct):
    """It has not; the nearest misses say why."""

    held: Literal[False]
    found: Count
    nearest: list[NearestMiss]
    error_code: str
    message: str
    journal_truncated: bool | UnsetType = UNSET


class WaitFor(Struct):
    """At least ``count`` entries that match, above the number ``after``, within ``timeout_ms`` of real time.

    A setting of the relay bounds ``timeout_ms``.
    """

    match: Match = Match()
    count: Annotated[int, Meta(ge=1)] = 1
    timeout_ms: Count = 5_000
    after: Count = 0


class Verify(Struct):
    """Exactly ``count`` entries that match; or entries that match ``order`` one after the other."""

    match: Match | UnsetType = UNSET
    count: Count | UnsetType = UNSET
    order: Annotated[list[Match], Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    after: Count = 0


class ShownRecording(Struct):
    """A recording."""

    id: str
    state: Literal["recording", "done"]
    bytes: Count


class Stats(Struct):
    """Counters, and how much of everything there is."""

    connections: Count
    connections_by_state: dict[str, int]
    users: Count
    messages: Count
    copies_pending: Count
    journal_entries: Count
    journal_bytes: Count
    journal_dropped: Count
    rules: Count
    media: Count
    media_bytes: Count
    crashes: Count
    boot: int
    counters: dict[str, int]


class Push(Struct):
    """A push that a push service would have been given, or its withdrawal."""

    t_ms: int
    event: Literal["push", "clear"]
    user: str
    device: str
    push_token: str | UnsetType | None = UNSET
    pending: Count | UnsetType = UNSET


class Restarted(Struct):
    """Which start of the relay this is."""

    boot: int


class AfterReset(Struct):
    """The users that are there again."""

    users: list[MadeUser]


class ShownBot(Struct):
    """A bot. Bots never decrypt."""

    id: str
    kind: str
    user: str
    address: str
    device_id: str
    state: str
    counters: dict[str, int]
    decrypts: Literal[False]
    url: str | UnsetType = UNSET


class ShownSpace(Struct):
    """An isolated relay."""

    id: str
    ws_url: str
    http_url: str
    seed: int | str
    clock: str
    ttl_s: float
    idle_s: float
    users: list[MadeUser]


class About(Struct):
    """Which relay, or space, this is."""

    space: str | None
    ws_url: str
    http_url: str
    version: str
