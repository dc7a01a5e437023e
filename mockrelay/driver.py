"""Owns a relay core: feeds it what happens, commits, applies its effects in order, arms one timer.

The law of this file: inputs go through ``_feed`` one after the other; effects of one input are recorded before
they are applied, and applied before the next input is fed. All inputs of one turn of the event loop have one
instant, read when the turn's first input comes; asyncio runs a turn's sockets before its timers, so that inputs
come before timers at one instant (R-13.1).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from mockrelay.clock import Clock
from mockrelay.recorder import Recorder
from zentalk_sim.protocol.control import Command
from zentalk_sim.protocol.effects import Abort, Accept, Close, Note, Refuse, Respond
from zentalk_sim.protocol.errors import INTERNAL_ERROR, ProtocolError
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.upgrade import UpgradeRequest
from zentalk_sim.trace import recording as rec
from zentalk_sim.trace.recording import Input, Output, Sent

_log = logging.getLogger("mockrelay")
_MAX_WAIT_S: Final = 3600.0
"""No timer is armed for longer: a clock that is set forward meanwhile is then noticed."""


class Sink(Protocol):
    """A connection's way out: what the driver asks of a transport."""

    def accept(self) -> None:
        """Answer the upgrade with 101."""
        ...

    def refuse(self, refusal: Refuse) -> None:
        """Answer the upgrade with an error and end."""
        ...

    def send(self, payload: bytes, binary: bool) -> None:
        """Queue one message."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Flush and run the closing handshake."""
        ...

    def abort(self, cause: str) -> None:
        """Drop the transport."""
        ...


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
        self._sinks: dict[int, Sink] = {}
        self._conn_ids = itertools.count(1)
        self._request_ids = itertools.count(1)
        self._answers: dict[int, Respond] = {}
        self._instant_us: int | None = None
        self._turn_us = relay.now_us
        """The instant of the turn before; bytes read in this turn may have come any time since."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_us = 0
        self._stopped = False

    # --- inputs --------------------------------------------------------------------------------------

    def connect(self, sink: Sink, request: UpgradeRequest) -> int:
        """An upgrade request; ``sink.accept`` or ``sink.refuse`` is called before this returns. Returns its id."""
        conn = next(self._conn_ids)
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
        return conn

    def receive_text(self, conn: int, data: bytes) -> None:
        """A text message as its bytes, UTF-8 not yet checked."""
        now = self._arrived(conn)
        try:
            event: Input = rec.Text(now, conn, data.decode(), self.clock.real_us())
        except UnicodeDecodeError:
            event = rec.BadText(now, conn, data, self.clock.real_us())
        self._feed(event)

    def receive_binary(self, conn: int, data: bytes) -> None:
        """A binary message."""
        self._feed(rec.Binary(self._arrived(conn), conn, data, self.clock.real_us()))

    def receive_oversized(self, conn: int) -> None:
        """A message above ``frames.max_bytes`` begins."""
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
        self._feed(event)
        answer = self._answers.pop(number, None)
        if answer is not None:
            return answer
        body_of_error = {"error_code": INTERNAL_ERROR, "message": "the relay failed on this request", "details": {}}
        return Respond(number, 500, body_of_error)

    def control(self, command: Command) -> Any:
        """A command and its result. Raises ProtocolError where it names what there is not."""
        now = self._instant()
        due = self.relay.next_timeout()
        if due is not None and due < now:
            # Timers that are due have effects of their own, which a refused command must not take with it.
            self._feed(rec.Timer(now))
        self._feed(rec.Commanded(now, command), raise_refusals=True)
        return self.relay.result

    def count(self, name: str, count: int = 1) -> None:
        """Count a fact of the face."""
        self.counters[name] = self.counters.get(name, 0) + count

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

    def stop(self) -> None:
        """No timer runs any more, and the recording is ended."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.stop_recording()

    # --- time ----------------------------------------------------------------------------------------

    def _instant(self) -> int:
        """The instant of this turn of the loop."""
        now = self._instant_us
        if now is None:
            # The core may have been told of a later instant than a clock that was set anew shows.
            now = self._instant_us = max(self.clock.now_us(), self.relay.now_us)
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
        if self._stopped:
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
        due = self.relay.next_timeout()
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

    # --- the one way in and out ----------------------------------------------------------------------

    def _feed(self, event: Input, *, raise_refusals: bool = False) -> None:
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
        for output in outputs:
            self._apply(event.t, output)
        self._arm()
        if refusal is not None and raise_refusals:
            raise refusal

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
        elif isinstance(output, Respond):
            self._answers[output.request] = output
        if self.on_output is not None:
            self.on_output(now, output)

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


def shortened(event: Input) -> str:
    """An input for a log line: its kind and size, and nothing that could be a secret."""
    data = getattr(event, "data", None)
    size = f", {len(data)} {'characters' if isinstance(data, str) else 'bytes'}" if data is not None else ""
    if isinstance(event, rec.Asked):
        return f"{event.method} {event.path[:80]}"
    return f"{type(event).__name__}{size}"
