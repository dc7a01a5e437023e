"""Drives a relay core: what sockets, REST, tools and the clock bring becomes inputs of the core.

The law of this file: an input is handed to ``CoreHost`` at the instant that ``Turns`` says, and nowhere else.

A commit that fails is fail-stop: every connection is aborted, what waits is dropped, and the relay begins anew from
what the store holds, as soon as it can be opened again. Until then nothing is accepted or acknowledged (R-12.2).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any, Final

from mockrelay.clock import Clock
from mockrelay.core_host import CoreHost
from mockrelay.recorder import Recorder
from mockrelay.sink import Sink
from mockrelay.store.errors import StoreError
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.control import Command, NodeLost, Stop
from zentalk_sim.protocol.effects import Refuse, Respond
from zentalk_sim.protocol.errors import INTERNAL_ERROR, SERVICE_UNAVAILABLE, ProtocolError
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import STORE_AWAY
from zentalk_sim.protocol.upgrade import UpgradeRequest
from zentalk_sim.trace import recording as rec
from zentalk_sim.trace.recording import Direction, Input

RETRY_STORE_S: Final = 1.0
"""How long until a store that could not be opened again is tried anew."""
_log = logging.getLogger("mockrelay")


class Driver(CoreHost):
    """One relay core on an event loop."""

    def __init__(self, relay: Relay, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(relay, clock, loop)
        self._conn_ids = itertools.count(1)
        self._request_ids = itertools.count(1)
        self._loading: asyncio.TimerHandle | None = None
        self._failed_s = -RETRY_STORE_S
        self.count_facts()
        if relay.store.is_durable:
            # What a process left that had no time to say goodbye.
            self.control(NodeLost(relay.name))

    # --- inputs --------------------------------------------------------------------------------------

    def new_connection_id(self) -> int:
        """An id for a connection that was not handed over yet."""
        return next(self._conn_ids)

    def connect(self, sink: Sink, request: UpgradeRequest, conn: int | None = None) -> int:
        """An upgrade request, answered by ``sink.accept`` or ``sink.refuse``. Returns its id, ``conn`` where given."""
        if conn is None:
            conn = self.new_connection_id()
        if self.away is not None:
            sink.refuse(Refuse(conn, 503, SERVICE_UNAVAILABLE, "the relay's store is away", 1))
            return conn
        self._sinks[conn] = sink
        event = rec.Upgrade(
            self.now_us(),
            c=conn,
            path=request.path,
            query=request.query,
            headers=request.headers,
            ip=request.ip,
            real=self.clock.real_us(),
        )
        self._feed(event)
        self.queue.flush()
        return conn

    def receive_text(self, conn: int, data: bytes) -> None:
        """A text message as its bytes, UTF-8 not yet checked."""
        if conn not in self._sinks:
            return
        relay = self.relay
        now = self.turns.at_us
        if now != relay.now_us:
            # After an input at this very instant nothing that was due before it is left.
            now = self._arrived(conn)
        real_us = self.clock.real_us()
        if self.recorder is not None or self._stopped or self.away is not None:
            self._feed(_text(now, conn, data, real_us))
            return
        # What ``_feed`` does, without an event that nobody would see: this is nearly every input there is.
        try:
            effects = relay.receive_text(conn, data, now, real_us)
        except Exception:
            self._fed(now, conn, self._crashed(_text(now, conn, data, real_us)))
        else:
            self._say(now, conn, effects)

    def receive_binary(self, conn: int, data: bytes) -> None:
        """A binary message."""
        if conn in self._sinks:
            self._feed(rec.Binary(self._arrived(conn), conn, data, self.clock.real_us()))

    def receive_oversized(self, conn: int) -> None:
        """A message above ``frames.max_bytes`` begins."""
        if conn in self._sinks:
            self._feed(rec.Oversized(self._arrived(conn), conn))

    def disconnect(self, conn: int, cause: str) -> None:
        """The transport of an accepted connection is gone; calls after the first are passed over."""
        if self._sinks.pop(conn, None) is not None:
            self._feed(rec.Lost(self.now_us(), conn, cause))

    def request(self, request: Request) -> Respond:
        """A REST request and its answer."""
        number = next(self._request_ids)
        body: str | None = None
        body64: bytes | None = None
        if request.body is not None:
            try:
                body = request.body.decode()
            except UnicodeDecodeError:
                body64 = request.body
        event = rec.Asked(
            self.now_us(),
            r=number,
            method=request.method,
            path=request.path,
            query=request.query,
            bearer=request.bearer,
            ip=request.ip,
            body=body,
            body64=body64,
            real=self.clock.real_us(),
        )
        if self.away is not None:
            return _unavailable(number)
        outputs = self._feed(event)
        self.queue.flush()
        if self.away is not None:
            return _unavailable(number)
        for output in outputs:
            if type(output) is Respond and output.request == number:
                return output
        body_of_error = {"error_code": INTERNAL_ERROR, "message": "the relay failed on this request", "details": {}}
        return Respond(number, 500, body_of_error)

    def control(self, command: Command) -> Any:
        """A command and its result. Raises ProtocolError where it names what there is not, or the store is away."""
        self._require_store()
        now = self.now_us()
        due = self.relay.next_timeout()
        if due is not None and due < now:
            # Timers that are due have effects of their own, which a refused command must not take with it.
            self._feed(rec.Timer(now))
        try:
            self._feed(rec.Commanded(now, command), raise_refusals=True)
            result = self.relay.result
        finally:
            self.queue.flush()
        self._require_store()
        return result

    def _require_store(self) -> None:
        if self.away is not None:
            raise ProtocolError(SERVICE_UNAVAILABLE, f"the relay's store is away: {self.away}")

    def configure(self, config: RelayConfig) -> None:
        """New settings; they hold from the next input."""
        self._feed(rec.Configured(self.now_us(), config))

    # --- another core ----------------------------------------------------------------------------------

    def restart(self) -> None:
        """Stop in order (1001 to all) and begin again with what the store holds; clock and recording go on."""
        if self.away is None:
            self.control(Stop())
        self._load_anew()

    def replace(self, relay: Relay) -> None:
        """Go on with another core, to which no connection belongs yet; those of the old one are let go."""
        self.turns.floor_us = max(self.turns.floor_us, self.relay.now_us)
        self._sinks.clear()
        self.queue.drop()
        self.away = None
        self.relay = relay
        self.queue.store = relay.store
        self.count_facts()
        if self.recorder is not None:
            self.recorder.commit(rec.Restarted(self.now_us(), relay.config, relay.snapshot()), ())
        self.control(NodeLost(relay.name))
        self.clock_changed()

    def _load_anew(self) -> None:
        """Begin again with what the store holds, or try again later."""
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None
        if self._stopped:
            return
        relay = self.relay
        try:
            store = relay.store.restarted(relay.config.dedup)
        except StoreError as error:
            _log.error("the store cannot be opened again, nothing is accepted until it can: %s", error)
            self._leave(error, RETRY_STORE_S)
            return
        store.drop_future(self.now_us())
        self.replace(relay.restarted(store))

    def _store_failed(self, error: StoreError) -> None:
        """Fail-stop: memory is ahead of the store, so nobody may hear of it."""
        _log.error("a commit failed; every connection is dropped and the store is loaded anew: %s", error)
        self.count("store.failures")
        sinks = list(self._sinks.values())
        is_repeated = self.loop.time() - self._failed_s < RETRY_STORE_S
        self._failed_s = self.loop.time()
        self._leave(error, RETRY_STORE_S if is_repeated else 0.0)
        for sink in sinks:
            sink.abort("store_failed")

    def _leave(self, error: StoreError, delay_s: float) -> None:
        self.away = error
        self._sinks.clear()
        self.queue.drop()
        self._loading = self.loop.call_later(delay_s, self._load_anew)

    # --- recording -----------------------------------------------------------------------------------

    def record(self, path: str, seed: int | str, ws_url: str = "", http_url: str = "") -> Recorder:
        """Begin to record, between two inputs; the URLs are where clients reach this relay.

        Raises OSError where the file cannot be written.
        """
        self.stop_recording()
        self.recorder = Recorder(path, self.relay, seed, self.clock.now_us(), ws_url, http_url)
        self.count_facts()
        return self.recorder

    def stop_recording(self) -> None:
        """End the recording, if there is one."""
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None
            self.count_facts()

    def note_wire(
        self, conn: int, direction: Direction, rule: str, did: str, core: bytes | None, wire: bytes | None, binary: bool
    ) -> None:
        """A fault rule made the wire differ from what the core said or heard; see ``Recorder.note_wire``."""
        if self.recorder is not None:
            self.recorder.note_wire(self.now_us(), conn, direction, rule, did, core, wire, binary)

    def stop(self) -> None:
        """What waits is committed, the store closed, the recording ended; no input and no timer runs any more."""
        if self._stopped:
            return
        self.queue.flush()
        self._stopped = True
        self.relay.store.close()
        self.turns.stop()
        if self._loading is not None:
            self._loading.cancel()
        self.stop_recording()

    # --- time ----------------------------------------------------------------------------------------

    def _arrived(self, conn: int) -> int:
        """The instant of an input read from a connection.

        Where the loop was busy past a deadline, the bytes may have come before it, and what counts is when they
        reached the relay (R-4.3): the core is told of the turn before, the earliest at which they can have come.
        """
        now = self.turns.instant_us()
        due = self.relay.next_timeout()
        if due is not None and due < now:
            self._feed(rec.Arrival(now, conn, self.turns.before_us))
        return now

    def clock_moved(self) -> None:
        """The clock was moved; inputs from now on are at its new instant, and ``clock_changed`` is called next."""
        self.turns.clock_moved()

    def clock_changed(self) -> None:
        """The clock was moved, frozen or resumed: run what is due and arm anew."""
        self.turns.clock_moved()
        self.turns.look()
        self.queue.flush()


def _text(now: int, conn: int, data: bytes, real_us: int | None) -> Input:
    """A text message as a recording keeps it."""
    try:
        return rec.Text(now, conn, data.decode(), real_us)
    except UnicodeDecodeError:
        return rec.BadText(now, conn, data, real_us)


def _unavailable(number: int) -> Respond:
    body = {"error_code": SERVICE_UNAVAILABLE, "message": STORE_AWAY, "details": {}}
    return Respond(number, 503, body, (("Retry-After", "1"),))
