"""Owns a relay core: feeds it what happens, commits, applies its effects in order, arms one timer.

The law of this file: inputs go through ``_feed`` one after the other; effects of one input are recorded, and wait in
the queue of ``GroupCommit`` until the store holds what they tell of. All inputs of one turn of the event loop have one
instant, read when the turn's first input comes; asyncio runs a turn's sockets before its timers, so that inputs
come before timers at one instant (R-13.1).

A commit that fails is fail-stop: every connection is aborted, what waits is dropped, and the relay begins anew from
what the store holds, as soon as it can be opened again. Until then nothing is accepted or acknowledged (R-12.2).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any, Final

from mockrelay.clock import Clock
from mockrelay.group_commit import GroupCommit
from mockrelay.recorder import Recorder, shortened
from mockrelay.sink import Sink
from mockrelay.store.errors import StoreError
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.control import Command, NodeLost, Stop
from zentalk_sim.protocol.effects import Abort, Accept, Close, Note, Refuse, Respond
from zentalk_sim.protocol.errors import INTERNAL_ERROR, SERVICE_UNAVAILABLE, ProtocolError
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import STORE_AWAY
from zentalk_sim.protocol.upgrade import UpgradeRequest
from zentalk_sim.trace import recording as rec
from zentalk_sim.trace.recording import Direction, Input, Output, Sent

RETRY_STORE_S: Final = 1.0
"""How long until a store that could not be opened again is tried anew."""
_log = logging.getLogger("mockrelay")
_MAX_WAIT_S: Final = 3600.0
"""No timer is armed for longer: a clock that is set forward meanwhile is then noticed."""


class Driver:
    """One relay core on an event loop."""

    def __init__(self, relay: Relay, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.relay = relay
        self.clock = clock
        self.loop = loop
        self.recorder: Recorder | None = None
        self.counters: dict[str, int] = {}
        """Counted facts of the core (``Note``) and of this face, by dotted name."""
        self.crashes = 0
        self.on_output: Callable[[int, Output], None] | None = None
        """Called with (instant, output) as each is applied; for journals and observers."""
        self.observers: list[Callable[[int, Output], None]] = []
        """As ``on_output``, for any number of them."""
        self._sinks: dict[int, Sink] = {}
        self._conn_ids = itertools.count(1)
        self._request_ids = itertools.count(1)
        self._instant_us: int | None = None
        self._floor_us = relay.now_us
        """Time never goes back, not even with another core."""
        self._turn_us = relay.now_us
        """The instant of the turn before; bytes read in this turn may have come any time since."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_us = 0
        self._stopped = False
        self.away: StoreError | None = None
        """Why the store cannot be used now; nothing is accepted until it can."""
        self._loading: asyncio.TimerHandle | None = None
        self._failed_s = -RETRY_STORE_S
        self.queue = GroupCommit(relay.store, loop, self._apply, self._store_failed)
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
            self._instant(),
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
        now = self._arrived(conn)
        try:
            event: Input = rec.Text(now, conn, data.decode(), self.clock.real_us())
        except UnicodeDecodeError:
            event = rec.BadText(now, conn, data, self.clock.real_us())
        self._feed(event)

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
            self._feed(rec.Lost(self._instant(), conn, cause))

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
            self._instant(),
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
        now = self._instant()
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
        self._feed(rec.Configured(self._instant(), config))

    def sink_of(self, conn: int) -> Sink | None:
        """The way out of a connection, or None where it is gone."""
        return self._sinks.get(conn)

    def count(self, name: str, count: int = 1) -> None:
        """Count a fact of the face."""
        self.counters[name] = self.counters.get(name, 0) + count

    # --- another core ----------------------------------------------------------------------------------

    def restart(self) -> None:
        """Stop in order (1001 to all) and begin again with what the store holds; clock and recording go on."""
        if self.away is None:
            self.control(Stop())
        self._load_anew()

    def replace(self, relay: Relay) -> None:
        """Go on with another core, to which no connection belongs yet; those of the old one are let go."""
        self._floor_us = max(self._floor_us, self.relay.now_us)
        self._sinks.clear()
        self.queue.drop()
        self.away = None
        self.relay = relay
        self.queue.store = relay.store
        if self.recorder is not None:
            self.recorder.commit(rec.Restarted(self._instant(), relay.config, relay.snapshot()), ())
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
        store.drop_future(self._instant())
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

    def record(self, path: str, seed: int | str) -> Recorder:
        """Begin to record, between two inputs. Raises OSError where the file cannot be written."""
        self.stop_recording()
        self.recorder = Recorder(path, self.relay, seed, self.clock.now_us())
        return self.recorder

    def stop_recording(self) -> None:
        """End the recording, if there is one."""
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None

    def note_wire(
        self, conn: int, direction: Direction, rule: str, did: str, core: bytes | None, wire: bytes | None, binary: bool
    ) -> None:
        """A fault rule made the wire differ from what the core said or heard; see ``Recorder.note_wire``."""
        if self.recorder is not None:
            self.recorder.note_wire(self._instant(), conn, direction, rule, did, core, wire, binary)

    def stop(self) -> None:
        """What waits is committed, the store closed, the recording ended; no input and no timer runs any more."""
        if self._stopped:
            return
        self.queue.flush()
        self._stopped = True
        self.relay.store.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loading is not None:
            self._loading.cancel()
        self.stop_recording()

    # --- time ----------------------------------------------------------------------------------------

    def _instant(self) -> int:
        """The instant of this turn of the loop."""
        now = self._instant_us
        if now is None:
            # The core may have been told of a later instant than a clock that was set anew shows.
            now = self._instant_us = max(self.clock.now_us(), self.relay.now_us, self._floor_us)
            self.loop.call_soon(self._new_turn)
        return now

    def _new_turn(self) -> None:
        if self._instant_us is not None:
            self._turn_us = self._instant_us
            self._instant_us = None

    def _arrived(self, conn: int) -> int:
        """The instant of an input read from a connection.

        Where the loop was busy past a deadline, the bytes may have come before it, and what counts is when they
        reached the relay (R-4.3): the core is told of the turn before, the earliest at which they can have come.
        """
        now = self._instant()
        due = self.relay.next_timeout()
        if due is not None and due < now:
            self._feed(rec.Arrival(now, conn, self._turn_us))
        return now

    def _arm(self) -> None:
        if self._stopped or self.away is not None:
            return
        due = self.relay.next_timeout()
        if due is None or (self._timer is not None and self._timer_at_us <= due):
            # A timer that comes up too early looks again, which costs less than moving it at each input.
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay_s = self.clock.delay_s(due)
        if delay_s is not None:
            self._timer_at_us = due
            self._timer = self.loop.call_later(min(delay_s, _MAX_WAIT_S), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        due = None if self.away is not None else self.relay.next_timeout()
        if due is not None and due <= self._instant():
            self._feed(rec.Timer(self._instant()))
        else:
            self._arm()

    def clock_changed(self) -> None:
        """The clock was moved, frozen or resumed: run what is due and arm anew."""
        self._instant_us = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_timer()
        self.queue.flush()

    # --- the one way in and out ----------------------------------------------------------------------

    def _feed(self, event: Input, *, raise_refusals: bool = False) -> list[Output]:
        if self._stopped or self.away is not None:
            return []
        refusal: ProtocolError | None = None
        try:
            outputs = rec.unfold(rec.feed(self.relay, event))
        except ProtocolError as error:
            refusal, outputs = error, []
        except Exception:
            outputs = self._crashed(event)
            event = rec.Crashed(event.t, rec.connection_of(event))
        if self.recorder is not None:
            self.recorder.commit(event, outputs)
        if self.relay.store.is_durable:
            self._note_progress(event, outputs)
        self.queue.add(event.t, outputs)
        self._arm()
        if refusal is not None and raise_refusals:
            raise refusal
        return outputs

    def _note_progress(self, event: Input, outputs: list[Output]) -> None:
        """The counters of every session that heard or said something are part of the commit."""
        touched = {rec.connection_of(event): None}
        for output in outputs:
            if type(output) is Sent:
                touched[output.conn] = None
        connections = self.relay.connections
        for number in touched:
            conn = connections.get(number) if number is not None else None
            if conn is not None and conn.session is not None:
                self.relay.store.note_progress((conn.user, conn.device_id))

    def _crashed(self, event: Input) -> list[Output]:
        """R-12.2: log the input, close its connection with 1011, go on."""
        conn = rec.connection_of(event)
        self.crashes += 1
        self.count("relay.crashes")
        _log.exception("the core raised on an input of connection %s: %s", conn, shortened(event))
        if self.recorder is not None:
            self.recorder.commit(event, ())
        return rec.unfold(self.relay.crashed(conn, event.t))

    def _apply(self, now: int, output: Output) -> None:
        if type(output) is Sent:
            sink = self._sinks.get(output.conn)
            if sink is not None:
                sink.send(output.payload, output.binary)
        elif type(output) is Note:
            self.count(output.name, output.count)
        elif isinstance(output, Accept | Close | Abort | Refuse):
            self._apply_ending(output)
        if self.on_output is not None:
            self.on_output(now, output)
        for observe in self.observers:
            observe(now, output)

    def _apply_ending(self, output: Accept | Close | Abort | Refuse) -> None:
        sink = self._sinks.get(output.conn)
        if sink is None:
            return
        if isinstance(output, Accept):
            sink.accept()
        elif isinstance(output, Close):
            sink.close(output.code, output.reason)
        elif isinstance(output, Abort):
            sink.abort(output.cause)
        else:
            # A refused upgrade never was a connection: the core is told nothing of its end.
            del self._sinks[output.conn]
            sink.refuse(output)


def _unavailable(number: int) -> Respond:
    body = {"error_code": SERVICE_UNAVAILABLE, "message": STORE_AWAY, "details": {}}
    return Respond(number, 503, body, (("Retry-After", "1"),))
