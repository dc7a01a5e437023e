"""What the parts of a relay node share: its connections, its timers, and the effects of the input under way.

Handlers read and change state through this object and *say* what shall happen by its methods; the relay
returns what they said, in order. A connection of another node is reached through the bus (R-12.5), so that no
handler need know where a device is connected.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from zentalk_sim.protocol.config import FrameConfig, Limit, RelayConfig
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.crypto import Crypto, Modelled
from zentalk_sim.protocol.effects import (
    Abort,
    ClearPush,
    Close,
    Effect,
    Forward,
    Kick,
    Note,
    Publish,
    Push,
    Send,
    SendMany,
)
from zentalk_sim.protocol.errors import RATE_LIMITED, ProtocolError
from zentalk_sim.protocol.frame_sizes import payload_size
from zentalk_sim.protocol.frames import BinaryFrame, Frame, MessageNew, Payload
from zentalk_sim.protocol.ratelimit import Refusal, admit
from zentalk_sim.protocol.records import Notice, Presence, User
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.timers import Timers
from zentalk_sim.protocol.tokens import TokenAuthority

_FRAMES: Final = FrameConfig()
_TEXT_SAFE_CIPHERTEXT_BYTES: Final = 8_192
"""A ciphertext up to this size fits a text frame's 16 384 bytes whatever stands beside it."""

# Compiled code looks a name of a module that is not compiled up at each use, unless it stands in a Final.
_Frame: Final[type[Frame]] = Frame
_Send: Final[type[Send]] = Send


class Facts:
    """Who takes facts as they happen."""

    def tell(self, name: str, count: int, message_id: str | None, device_id: str | None, value_us: int | None) -> None:
        """A relay counted a fact just now; the device is told where there is a message."""
        raise NotImplementedError

    def round_trip(self, rtt_us: int) -> None:
        """A PONG has come so long after its PING: the fact ``rtt``, told apart since it is the most frequent one."""
        self.tell("rtt", 1, None, None, rtt_us)


class Node:
    """The shared state of one relay node."""

    def __init__(
        self,
        config: RelayConfig,
        streams: Streams,
        store: MemoryStore,
        crypto: Crypto,
        tokens: TokenAuthority,
        name: str,
    ) -> None:
        self.streams = streams
        self.store = store
        self.crypto = crypto
        self.tokens = tokens
        self.name = name
        self.conns: dict[int, Connection] = {}
        self.timers = Timers()
        self.expiry_armed = False
        self.ended: list[Connection] = []
        """Connections ended by the input under way; their places are given up when it is done."""
        self.out: list[Effect] = []
        self.hands_over_frames = False
        """The face takes an input's first effect as it is where it is a frame; see ``Relay.hand_over_frames``."""
        self.frame: Any = None
        """Such a frame of the input under way, or of the last, until the face has taken it."""
        self.frame_to: Connection | None = None
        """The connection it is for."""
        self.is_modelled = isinstance(crypto, Modelled)
        """MACs are no secrets, so that the time it takes to compare them may tell where they differ."""
        self.facts: Facts | None = None
        """Where facts are told at once instead of standing as notes among the effects; see ``Relay.tell_facts``."""
        self.only_counted: dict[str, None] = {}
        """Facts that are nothing but numbers to the face, and are added to ``counters`` as they happen."""
        self.counters: dict[str, int] = {}
        self.real_us: int | None = None
        """Real time of the input under way, where a test clock was moved (R-13.2)."""
        self.skip_pings_until_us = 0
        """No PING is sent up to and at this instant: the clock is being moved to it (R-13.2)."""
        self.configure(config)
        self.rebind_streams()

    def configure(self, config: RelayConfig) -> None:
        """Take the settings over; those that every frame or PING asks for stand in attributes of their own."""
        self.config = config
        heartbeat = config.heartbeat
        self.ping_interval_us = heartbeat.interval_ms * 1000
        background = heartbeat.background_interval
        self.background_interval_us = 0 if background == "off" else background * 1000
        """That of devices that set themselves away; 0 where it is the same (R-8.3)."""
        self.pong_timeout_us = heartbeat.pong_timeout_ms * 1000
        self.max_missed: int = heartbeat.max_missed
        self.look_interval_us = config.mailbox.look_interval_ms * 1000
        self.away_after_us = config.presence.away_after_ms * 1000
        self.time_window_us = config.auth.time_window_ms * 1000
        self.needs_mac = config.integrity == "require"
        frames = config.frames
        self.measures_frames: bool = (
            frames.max_bytes < _FRAMES.max_bytes or frames.max_text_payload_bytes < _FRAMES.max_text_payload_bytes
        )
        """A frame by reference may be larger than it may be: no client heeds a limit below the specification's."""
        is_usual = frames.max_text_payload_bytes >= _FRAMES.max_text_payload_bytes
        self.text_safe_bytes: int = _TEXT_SAFE_CIPHERTEXT_BYTES if is_usual else -1
        self.send_limit = config.limits.send_message
        self.read_limit = config.limits.read_receipt
        self.nonce_window_us = config.dedup.window_s * 1_000_000
        self.max_copies = config.mailbox.max_copies
        self.max_frame_bytes = frames.max_bytes
        self.max_text_payload_bytes = frames.max_text_payload_bytes

    def rebind_streams(self) -> None:
        """Take the streams of the hot path from ``streams`` again, after these were put elsewhere."""
        self._frame_ids = self.streams.stream("frame_id")
        self._request_ids = self.streams.stream("request_id")

    # --- frames --------------------------------------------------------------------------------------

    def send(self, conn: Connection, kind: str, payload: Payload | dict[str, Any], now: int) -> None:
        """Send a frame with a fresh id to a connection of this node."""
        seq = None
        session = conn.session
        if session is not None:
            seq = session.seq_out = session.seq_out + 1
        frame = _Frame(kind, self._frame_ids.uuid4(), now // 1000, payload, None, seq)
        if self.hands_over_frames and not self.out and self.frame_to is None:
            self.frame = frame
            self.frame_to = conn
        else:
            self.out.append(_Send(conn.id, frame))

    def settle_frame(self) -> None:
        """Put the frame that was to be handed over among the effects, as the first of them that it is."""
        conn = self.frame_to
        if conn is not None:
            self.out.insert(0, _Send(conn.id, self.frame))
            self.frame = self.frame_to = None

    def send_message(self, conn: Connection, message_id: str, body: MessageNew, now: int) -> None:
        """Push MESSAGE_NEW under the id of its MESSAGE_SEND, in binary where it is large (R-1.2, R-2.2)."""
        session = conn.session
        assert session is not None
        if len(body.ciphertext) > self.text_safe_bytes and payload_size(body) > self.max_text_payload_bytes:
            self.out.append(_Send(conn.id, BinaryFrame("MESSAGE_NEW", message_id, now // 1000, body)))
            return
        seq = session.seq_out = session.seq_out + 1
        self.out.append(_Send(conn.id, _Frame("MESSAGE_NEW", message_id, now // 1000, body, None, seq)))

    def send_to(self, targets: Iterable[Presence], kind: str, payload: Payload, now: int) -> int:
        """Send one frame to connected devices, wherever they are; how many. One body serves all of this node."""
        here: list[tuple[int, int]] = []
        count = 0
        name = self.name
        for target in targets:
            count += 1
            if target.node != name:
                self.out.append(Publish(target.node, Forward(target.conn, kind, payload)))
                continue
            conn = self.conns.get(target.conn)
            if conn is None or conn.state != "ready":
                continue
            session = conn.session
            if session is not None:
                seq = session.seq_out = session.seq_out + 1
                here.append((conn.id, seq))
        if len(here) == 1:
            conn_id, seq = here[0]
            self.out.append(_Send(conn_id, _Frame(kind, self._frame_ids.uuid4(), now // 1000, payload, None, seq)))
        elif here:
            self.out.append(SendMany(tuple(here), _Frame(kind, self._frame_ids.uuid4(), now // 1000, payload)))
        return count

    def notify(self, user: User, kind: str, payload: Payload, now: int) -> None:
        """Send to all connected devices of a user or, where there is none, keep it for each registered one (R-6.3)."""
        if self.send_to(self.store.connected(user.address).values(), kind, payload, now):
            return
        for device_id in user.devices:
            notice = Notice(kind, payload)
            dropped = self.store.add_notice((user.address, device_id), notice, self.config.mailbox.max_notices)
            if dropped:
                self.note("notices.dropped.overflow", dropped, user=user.address, device_id=device_id)

    def request_id(self) -> str:
        """``req_`` and 12 hex digits (R-1.7)."""
        return "req_" + self._request_ids.hex(12)

    # --- endings -------------------------------------------------------------------------------------

    def close(self, conn: Connection, code: int, reason: str = "") -> None:
        """Close with a handshake; nothing that comes in afterwards counts."""
        self._end(conn)
        self.out.append(Close(conn.id, int(code), reason))

    def abort(self, conn: Connection, cause: str) -> None:
        """Drop without a handshake."""
        self._end(conn)
        self.out.append(Abort(conn.id, cause))

    def _end(self, conn: Connection) -> None:
        conn.state = "ended"
        conn.clear_deadlines()
        self.timers.drop(conn)
        self.ended.append(conn)

    def kick(self, target: Presence, code: int, reason: str) -> None:
        """Close a device's connection on another node (R-10.3, R-7.1)."""
        self.out.append(Publish(target.node, Kick(target.conn, int(code), reason)))

    # --- facts ---------------------------------------------------------------------------------------

    def note(
        self,
        name: str,
        count: int = 1,
        *,
        conn: Connection | None = None,
        user: str | None = None,
        device_id: str | None = None,
        message_id: str | None = None,
        value_us: int | None = None,
    ) -> None:
        """Report a counted fact."""
        facts = self.facts
        if facts is not None:
            if conn is not None and message_id is not None:
                device_id = conn.device_id
            facts.tell(name, count, message_id, device_id, value_us)
        elif name in self.only_counted:
            self.counters[name] = self.counters.get(name, 0) + count
        elif conn is not None:
            self.out.append(Note(name, count, conn.id, conn.user, conn.device_id, message_id, value_us))
        else:
            self.out.append(Note(name, count, None, user, device_id, message_id, value_us))

    def push_wake(self, user: User) -> None:
        """R-6.7: wake the device most recently active that has a push token, if its mailbox holds anything."""
        best = None
        for device in user.devices.values():
            if device.push_token is None or not self.store.mailbox(user.address, device.device_id):
                continue
            if best is None or (device.last_active_us or -1) > (best.last_active_us or -1):
                best = device
        if best is None or best.push_token is None:
            return
        pending = len(self.store.mailbox(user.address, best.device_id))
        user.push_outstanding[best.device_id] = None
        self.store.save_user(user)
        self.out.append(Push(user.address, best.device_id, best.push_token, pending))
        self.note("push.sent", user=user.address, device_id=best.device_id)

    def clear_push(self, user: User, device_id: str) -> None:
        """Take a device's push notifications away, if there are any."""
        if device_id in user.push_outstanding:
            del user.push_outstanding[device_id]
            self.store.save_user(user)
            self.out.append(ClearPush(user.address, device_id))

    # --- limits --------------------------------------------------------------------------------------

    def limited(self, operation: str, scope: str, limit: Limit | str, now: int) -> Refusal | None:
        """Count an operation against its limit, or say why it is refused (R-10.1)."""
        if not isinstance(limit, Limit):
            return None
        return admit(self.store.limit_state(operation, scope, limit, now), limit, now)

    def admit(self, operation: str, limit: Limit | str, conn: Connection, now: int) -> None:
        """Count an operation of a device. Raises ProtocolError ``RATE_LIMITED`` with the details of R-10.1."""
        self.admit_device(operation, limit, conn.user, conn.device_id, now)
        conn.refused_in_a_row = 0

    def admit_device(self, operation: str, limit: Limit | str, user: str, device_id: str, now: int) -> None:
        """As ``admit``, for a device that need not be connected."""
        if type(limit) is not Limit:
            return
        refusal = self.limited(operation, user + device_id, limit, now)
        if refusal is not None:
            self.note(f"rate_limited.{operation}", user=user, device_id=device_id)
            raise ProtocolError(RATE_LIMITED, f"{operation} limit exceeded", **refusal.details())

    # --- time ----------------------------------------------------------------------------------------

    def arm(self, conn: Connection) -> None:
        """Have a timer stand for the connection's earliest deadline."""
        due_us = conn.next_due_us()
        if due_us < conn.armed_us:
            self.timers.arm_connection(conn, due_us)

    def is_near(self, time_ms: int, now: int) -> bool:
        """Whether a peer's time lies within the window of the relay's clock, or of real time (R-1.4, R-13.2)."""
        if _is_within(time_ms, now, self.time_window_us):
            return True
        real_us = self.real_us
        return real_us is not None and _is_within(time_ms, real_us, self.time_window_us)


def _is_within(time_ms: int, at_us: int, window_us: int) -> bool:
    # Divided, not multiplied: a product as long as a time in µs costs compiled code an object.
    return -((window_us - at_us) // 1000) <= time_ms <= (at_us + window_us) // 1000
