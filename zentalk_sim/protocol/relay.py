"""The relay: inputs with their time go in, effects come out, one deadline is asked for.

Shaped after sans-IO protocol cores: this class does no I/O, reads no clock and draws from the streams it was
given. Inputs and timers at one instant keep the order of R-13.1: every timer due strictly before ``now`` runs
first, each at its own instant, then the input; timers due at ``now`` run when the face calls ``handle_timeout``.

Nothing a peer sends raises out of an input. Misuse by the caller (time going backwards, a connection used
twice) raises ValueError; a broken invariant raises AssertionError, and the face then calls ``crashed`` (R-12.2).
"""

from __future__ import annotations

from typing import Any

import msgspec

from zentalk_sim.protocol import authentication, control, heartbeat, mailbox, pipeline, rest, token_refresh
from zentalk_sim.protocol import presence as presence_rules
from zentalk_sim.protocol import typing_indicators as typing_rules
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.control import Command
from zentalk_sim.protocol.crypto import Crypto, Ed25519, Modelled
from zentalk_sim.protocol.effects import BusEvent, Close, ConnId, Effect, Forward, Kick, NewCopy, RequestId
from zentalk_sim.protocol.errors import CloseCode, ProtocolError
from zentalk_sim.protocol.frames import Frame
from zentalk_sim.protocol.node import Facts, Node
from zentalk_sim.protocol.relay_image import ConnectionImage
from zentalk_sim.protocol.relay_image import RelayImage as RelayImage
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.timers import NEVER
from zentalk_sim.protocol.tokens import JwtAuthority, ModelledAuthority, TokenAuthority
from zentalk_sim.protocol.upgrade import UpgradeRequest


def _authority(seed: bytes, crypto: Crypto) -> TokenAuthority:
    return ModelledAuthority(seed, crypto) if isinstance(crypto, Modelled) else JwtAuthority(seed)


class Relay:
    """One relay node. Nodes of a cluster are given the same store and tell each other through the bus."""

    def __init__(
        self,
        config: RelayConfig,
        *,
        streams: Streams,
        store: MemoryStore,
        crypto: Crypto | None = None,
        tokens: TokenAuthority | None = None,
        node: str = "relay",
    ) -> None:
        crypto = crypto or Ed25519()
        if not store.signing_seed:
            store.signing_seed = streams.stream("signing_key").bytes(32)
        tokens = tokens or _authority(store.signing_seed, crypto)
        self._node = Node(config, streams, store, crypto, tokens, node)
        self.now_us = 0
        """The instant of the last input; not to be changed."""
        mailbox.arm_expiry(self._node)

    # --- what a face may look at -----------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The node's name."""
        return self._node.name

    @property
    def config(self) -> RelayConfig:
        """The configuration in force."""
        return self._node.config

    @property
    def store(self) -> MemoryStore:
        """The store, shared with the other nodes."""
        return self._node.store

    @property
    def connections(self) -> dict[ConnId, Connection]:
        """The connections by id; not to be changed."""
        return self._node.conns

    def tell_facts(self, facts: Facts) -> None:
        """From now on tell every counted fact to ``facts`` as it happens; no effect is a ``Note`` any more.

        For a face that only counts: it saves a record a fact, and a look at every effect.
        """
        self._node.facts = facts

    def hand_over_frames(self, hands_over: bool) -> None:
        """Whether from now on a frame that is the only effect of an input is handed over.

        The list of effects is empty then; see ``frame_to`` and ``take_frame``. For a face that has many connections in
        one process: it saves a record and a list a frame.
        """
        self._node.hands_over_frames = hands_over

    def frame_to(self) -> Connection | None:
        """Whom the only effect of the last input is for, where it is a frame and the face has asked for such.

        To be asked after each input that has no other effect; where there is such a frame, it is to be taken.
        """
        return self._node.frame_to

    def take_frame(self) -> Any:
        """That frame; once."""
        node = self._node
        frame = node.frame
        node.frame = node.frame_to = None
        return frame

    def count_facts(self, names: dict[str, None], counters: dict[str, int]) -> None:
        """From now on add every fact that ``names`` holds to ``counters`` as it happens, in place of a ``Note``.

        For a face that keeps no record of effects, and to which these facts are numbers and nothing else. Both are
        looked at as they are at each fact; an empty ``names`` makes every fact a ``Note`` again.
        """
        self._node.only_counted = names
        self._node.counters = counters

    def jwks(self) -> dict[str, Any]:
        """The token-signing key as a JWK Set (R-3.3)."""
        return self._node.tokens.jwks()

    def configure(self, config: RelayConfig) -> None:
        """Change the settings; they hold from the next input."""
        self._node.configure(config)
        # The retention may be another now; a timer that stands already does no harm.
        self._node.expiry_armed = False
        mailbox.arm_expiry(self._node)

    # --- inputs --------------------------------------------------------------------------------------

    def connect(self, conn: ConnId, request: UpgradeRequest, now: int, real_us: int | None = None) -> list[Effect]:
        """An upgrade request: ``Accept`` or ``Refuse`` and what follows (R-3.1, R-3.2)."""
        if conn in self._node.conns:
            raise ValueError(f"connection {conn} is in use")
        self._begin(now, real_us)
        authentication.connect(self._node, conn, request, now)
        return self._finish(now)

    def receive_data(self, conn: ConnId, data: str | bytes, now: int, real_us: int | None = None) -> list[Effect]:
        """A whole WebSocket message: ``str`` from text frames, ``bytes`` from binary ones."""
        if isinstance(data, str):
            # A text that UTF-8 cannot hold is handed on as what it would have been on the wire: invalid.
            return self._receive(conn, data.encode("utf-8", "surrogatepass"), False, now, real_us)
        return self._receive(conn, data, True, now, real_us)

    def receive_text(self, conn: ConnId, data: bytes, now: int, real_us: int | None = None) -> list[Effect]:
        """A text message as its bytes, UTF-8 not yet checked."""
        self._begin(now, real_us)
        node = self._node
        found = node.conns.get(conn)
        if found is not None and found.state != "ended":
            pipeline.receive_bytes(node, found, data, False, now)
        return self._finish(now)

    def receive_oversized(self, conn: ConnId, now: int) -> list[Effect]:
        """The face saw a message begin that exceeds ``frames.max_bytes`` (R-1.6)."""
        found = self._begin_on(conn, now, None)
        if found is not None:
            self._node.close(found, CloseCode.TOO_LARGE, "frame too large")
        return self._finish(now)

    def receive_frame(self, conn: ConnId, frame: Frame, now: int, real_us: int | None = None) -> list[Effect]:
        """A frame by reference (fidelity ``frames``)."""
        self._begin(now, real_us)
        found = self._node.conns.get(conn)
        if found is not None:
            self._take_frame(found, frame, now)
        return self._finish(now)

    def receive_frame_on(self, conn: Connection, frame: Frame, now: int) -> list[Effect]:
        """As ``receive_frame``, for a face that has kept the connection and so spares a look for it."""
        self._begin(now, None)
        self._take_frame(conn, frame, now)
        return self._finish(now)

    def _take_frame(self, conn: Connection, frame: Frame, now: int) -> None:
        if conn.state == "ended":
            return
        if self._node.measures_frames:
            pipeline.receive_measured(self._node, conn, frame, now)
        else:
            pipeline.receive(self._node, conn, frame, now)

    def note_arrival(self, conn: ConnId, now: int) -> None:
        """Bytes of a connection have arrived and wait for a CPU: the handshake's time-out no longer runs (R-4.3)."""
        found = self._node.conns.get(conn)
        if found is not None and now <= found.auth_due_us:
            found.auth_due_us = NEVER

    def disconnect(self, conn: ConnId, cause: str, now: int) -> list[Effect]:
        """The transport is gone, whoever ended it; once for each accepted connection."""
        self._begin(now, None)
        found = self._node.conns.pop(conn, None)
        if found is not None:
            self._node.timers.drop(found)
            authentication.lose(self._node, found, now)
            self._node.note(f"connections.lost.{cause}", conn=found)
        return self._finish(now)

    def handle_request(self, req: RequestId, request: Request, now: int, real_us: int | None = None) -> list[Effect]:
        """A REST request, answered by ``Respond`` in the effects."""
        self._begin(now, real_us)
        rest.handle(self._node, req, request, now)
        return self._finish(now)

    def receive_event(self, event: BusEvent, now: int) -> list[Effect]:
        """What another node published; an event for a connection that is gone is passed over."""
        found = self._begin_on(event.conn, now, None)
        if found is not None and found.state == "ready":
            if isinstance(event, Forward):
                self._node.send(found, event.type, event.payload, now)
                # An effect like others: a face that counts them looks there.
                self._node.settle_frame()
            elif isinstance(event, NewCopy):
                message = self._node.store.messages.get(event.message_id)
                if message is not None and message.id in self._node.store.mailbox(found.user, found.device_id):
                    mailbox.push_copy(self._node, found.id, message, now)
            elif isinstance(event, Kick):
                self._node.close(found, event.code, event.reason)
        return self._finish(now)

    def control(self, command: Command, now: int) -> list[Effect]:
        """A command of the relay's tools; what it returns is then in ``result``.

        Raises ProtocolError where the command cannot be carried out, such as one that names a user, device or
        connection that there is not. Nothing has changed then; what timers said before it comes with the next input.
        """
        self._begin(now, None)
        self.result = control.execute(self._node, command, now)
        return self._finish(now)

    def crashed(self, conn: ConnId | None, now: int) -> list[Effect]:
        """An input raised: what it said is dropped, and its connection is closed with 1011 (R-12.2).

        Connections that it had ended are ended all the same, since no other input would.
        """
        code = int(CloseCode.SERVER_ERROR)
        self._node.frame = self._node.frame_to = None
        self._node.out = [Close(ended.id, code, "internal_error") for ended in self._node.ended]
        self.now_us = max(self.now_us, now)
        found = self._node.conns.get(conn) if conn is not None else None
        if found is not None and found.state != "ended":
            self._node.close(found, CloseCode.SERVER_ERROR, "internal_error")
        return self._finish(now)

    result: Any = None
    """What the last command returned."""

    # --- time ----------------------------------------------------------------------------------------

    def next_timeout(self) -> int | None:
        """The instant at which ``handle_timeout`` wants to be called, in µs; None if nothing is due."""
        due_us = self.due_us()
        return None if due_us == NEVER else due_us

    def due_us(self) -> int:
        """As ``next_timeout``, but NEVER if nothing is due."""
        return self._node.timers.first_us

    def handle_timeout(self, now: int) -> list[Effect]:
        """Run every timer due at or before ``now``, each at its own instant and in order."""
        self._begin(now, None)
        self._run_timers(now + 1)
        return self._finish(now)

    def _begin(self, now: int, real_us: int | None) -> None:
        if now < self.now_us:
            raise ValueError(f"time went back from {self.now_us} to {now}")
        node = self._node
        node.real_us = real_us
        if node.timers.first_us < now:
            self._run_timers(now)
        self.now_us = now

    def _begin_on(self, conn: ConnId, now: int, real_us: int | None) -> Connection | None:
        """Begin an input of a connection; None where it is gone or its end was decided."""
        self._begin(now, real_us)
        found = self._node.conns.get(conn)
        return None if found is None or found.state == "ended" else found

    def _receive(self, conn: ConnId, data: bytes, binary: bool, now: int, real_us: int | None) -> list[Effect]:
        found = self._begin_on(conn, now, real_us)
        if found is not None:
            pipeline.receive_bytes(self._node, found, data, binary, now)
        return self._finish(now)

    def _finish(self, now: int) -> list[Effect]:
        node = self._node
        if node.ended:
            while node.ended:
                authentication.lose(node, node.ended.pop(0), now)
        out = node.out
        if out:
            node.settle_frame()
        node.out = []
        return out

    def _run_timers(self, before_us: int) -> None:
        node = self._node
        timers = node.timers
        while timers.first_us < before_us:
            at = timers.first_us
            conn = timers.take_connection()
            if conn is not None:
                self._run_connection(conn, at)
            else:
                _, _, kind, key = timers.take()
                if kind == "typing":
                    typing_rules.timed_out(node, key, at)
                else:
                    mailbox.expire(node, at)
            while node.ended:
                authentication.lose(node, node.ended.pop(0), at)

    def _run_connection(self, conn: Connection, at: int) -> None:
        """What is due on one connection, in a fixed order."""
        node = self._node
        if conn.auth_due_us <= at:
            node.note("connections.auth_timeout", conn=conn)
            node.close(conn, CloseCode.PROTOCOL_ERROR, "auth_timeout")
            return
        if conn.pong_due_us <= at:
            heartbeat.pong_missed(node, conn, at)
            if conn.missed_in_a_row >= node.max_missed:
                node.abort(conn, "heartbeat")
                return
        if conn.ping_due_us <= at:
            if at <= node.skip_pings_until_us:
                heartbeat.skip_pings(node, conn)
            else:
                heartbeat.send_ping(node, conn, at)
        if conn.warn_due_us <= at:
            token_refresh.warn(node, conn, at)
        if conn.away_due_us <= at:
            presence_rules.turned_quiet(node, conn, at)
        if conn.look_due_us <= at:
            mailbox.look_again(node, conn, at)
        node.arm(conn)

    # --- snapshots -----------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All state, store included, as MessagePack; taken between two inputs.

        What is left of begun blocks of random words is dropped here too, so that a restored relay and this one
        go on alike.
        """
        node = self._node
        node.streams.realign()
        node.rebind_streams()
        image = RelayImage(
            name=node.name,
            now_us=self.now_us,
            seed=node.streams.key,
            boot=node.streams.boot,
            stream_counters=node.streams.counters(),
            connections=[ConnectionImage.of(conn) for conn in node.conns.values()],
            timers=[
                (at, kind, key.id if isinstance(key, Connection) else key) for at, kind, key in node.timers.entries()
            ],
            expiry_armed=node.expiry_armed,
            store=node.store.image(),
            skip_pings_until_us=node.skip_pings_until_us,
        )
        return msgspec.msgpack.encode(image)

    def restarted(self, store: MemoryStore) -> Relay:
        """The relay that comes after this one has stopped or died: its settings and seed, a store loaded anew.

        It has no connection and no timer; give it the command ``NodeLost`` with its own name first.
        """
        node = self._node
        streams = Streams(node.streams.key, store.counters.boot)
        return Relay(node.config, streams=streams, store=store, crypto=node.crypto, node=node.name)

    @classmethod
    def restored(
        cls,
        snapshot: bytes,
        config: RelayConfig,
        *,
        crypto: Crypto | None = None,
        tokens: TokenAuthority | None = None,
    ) -> Relay:
        """A relay that goes on where the snapshot was taken. Raises msgspec.DecodeError where it is none."""
        image = msgspec.msgpack.decode(snapshot, type=RelayImage)
        streams = Streams(image.seed, image.boot)
        streams.restore(image.stream_counters)
        store = MemoryStore.of_image(image.store, config.dedup)
        relay = cls(config, streams=streams, store=store, crypto=crypto, tokens=tokens, node=image.name)
        node = relay._node
        relay.now_us = image.now_us
        for conn in (connection.connection() for connection in image.connections):
            if conn.session is not None:
                # One object again, shared by connection and store, unless a newer session has the place.
                held = store.sessions.get((conn.user, conn.device_id))
                if held is not None and held.session_id == conn.session.session_id:
                    conn.session = held
            node.conns[conn.id] = conn
        node.timers.clear()
        for at, kind, key in image.timers:
            if kind == "pong":
                node.timers.await_pong(node.conns[key], at)
            elif kind == "conn":
                node.timers.arm_connection(node.conns[key], at)
            else:
                node.timers.arm(at, kind, tuple(key) if isinstance(key, list) else key)
        node.expiry_armed = image.expiry_armed
        node.skip_pings_until_us = image.skip_pings_until_us
        return relay


__all__ = ["ProtocolError", "Relay", "RelayImage"]
