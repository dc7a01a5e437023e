"""Holds a relay core: one way for inputs to go in, one for effects to come out, with recording and counting between.

The law of this file: inputs go to the core one after the other; the outputs of each are recorded with it before any
of them takes effect, and take effect in their order, when ``GroupCommit`` says so.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from mockrelay.clock import Clock
from mockrelay.group_commit import GroupCommit
from mockrelay.outlet import Cork
from mockrelay.recorder import Recorder, shortened
from mockrelay.sink import Sink
from mockrelay.store.errors import StoreError
from mockrelay.turns import Turns
from zentalk_sim.protocol.codec import encode_binary, encode_text
from zentalk_sim.protocol.effects import Abort, Accept, Close, Effect, Note, Refuse, Send
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.frames import Frame
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.trace import recording as rec
from zentalk_sim.trace.recording import Input, Output, Sent

_log = logging.getLogger("mockrelay")
# Compiled code looks a name of a module that is not compiled up at each use, unless it stands in a Final.
_Send: Final[type[Send]] = Send
_Frame: Final[type[Frame]] = Frame
_encode_text: Final = encode_text

Observer = Callable[[int, Output], None]
"""Called with (instant, output) as each is applied."""


class CoreHost:
    """One relay core with its connections' ways out; what happens to it is the subclass's."""

    def __init__(self, relay: Relay, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.relay = relay
        self.clock = clock
        self.loop = loop
        self.cork = Cork(loop)
        """Holds back what this relay's connections write within a turn of the loop."""
        self.recorder: Recorder | None = None
        self.counters: dict[str, int] = {}
        """Counted facts of the core (``Note``) and of this face, by dotted name."""
        self.crashes = 0
        self.observers: list[Observer] = []
        """Told of every output, frames included."""
        self.away: StoreError | None = None
        """Why the store cannot be used now; nothing is accepted until it can."""
        self._stopped = False
        self._sinks: dict[int, Sink] = {}
        self._listeners: list[tuple[Observer, Callable[[str], bool]]] = []
        self._listeners_to: dict[str, tuple[Observer, ...]] = {}
        """By a note's name: who listens to it."""
        self._unheard: dict[str, None] = {}
        """Names of notes to which nobody listens, once they have come: they are counted, and nothing else."""
        self.turns = Turns(clock, loop, relay.now_us, lambda: self.relay.now_us, self._due_us, self._run_timers)
        self.instant_us = self.turns.instant_us
        """As ``now_us``, and a call less: for whoever asks at every frame."""
        self.queue = GroupCommit(relay.store, loop, self._apply, self._store_failed, self.cork.open)

    @abstractmethod
    def _store_failed(self, error: StoreError) -> None:
        """A commit failed."""

    def sink_of(self, conn: int) -> Sink | None:
        """The way out of a connection, or None where it is gone."""
        return self._sinks.get(conn)

    # --- facts ---------------------------------------------------------------------------------------

    def count(self, name: str, count: int = 1) -> None:
        """Count a fact of the face."""
        self.counters[name] = self.counters.get(name, 0) + count

    def listen(self, observer: Observer, wants: Callable[[str], bool]) -> None:
        """Tell ``observer`` of every output but frames, and of notes only where it ``wants`` one of that name.

        Nearly all notes are only counted, so that each name is asked about once.
        """
        self._listeners.append((observer, wants))
        self._listeners_to.clear()
        self._unheard.clear()

    def count_facts(self) -> None:
        """Have the core only count what is not recorded and nobody listens to, or end that; at each other core, too.

        With a durable store facts wait for their commit like all else.
        """
        is_plain = self.recorder is None and not self.relay.store.is_durable
        self.relay.count_facts(self._unheard if is_plain else {}, self.counters)

    def _note(self, now: int, note: Note) -> None:
        name = note.name
        self.counters[name] = self.counters.get(name, 0) + note.count
        listeners = self._listeners_to.get(name)
        if listeners is None:
            listeners = tuple(observer for observer, wants in self._listeners if wants(name))
            self._listeners_to[name] = listeners
            if not listeners and not self.observers:
                self._unheard[name] = None
        for observer in listeners:
            observer(now, note)

    # --- time ----------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """The instant of this turn of the loop."""
        return self.turns.instant_us()

    def _due_us(self) -> int | None:
        # A core whose store is away runs no timers until it is there again.
        return self.relay.next_timeout() if self._is_running() else None

    def _run_timers(self) -> None:
        self._feed(rec.Timer(self.now_us()))

    # --- the one way in and out ----------------------------------------------------------------------

    def _is_running(self) -> bool:
        return not self._stopped and self.away is None

    def _feed(self, event: Input, *, raise_refusals: bool = False) -> list[Output]:
        if not self._is_running():
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
        self._fed(event.t, rec.connection_of(event), outputs)
        if refusal is not None and raise_refusals:
            raise refusal
        return outputs

    def _fed(self, now: int, conn: int | None, outputs: list[Output]) -> None:
        """An input of that connection led to these outputs."""
        if self.queue.store.is_durable:
            self._note_progress(conn, outputs)
        self.queue.add(now, outputs)
        self.turns.arm()

    def _say(self, now: int, conn: int | None, effects: list[Effect]) -> None:
        """As ``_fed``, of effects that nobody records: nearly all are frames, and go out without being kept first."""
        queue = self.queue
        if self.observers or not queue.is_free:
            self._fed(now, conn, rec.unfold(effects))
            return
        self.turns.is_stale = True
        sinks = self._sinks
        queue.is_applying = True
        try:
            for effect in effects:
                if type(effect) is _Send:
                    sink = sinks.get(effect.conn)
                    if sink is not None:
                        frame = effect.frame
                        if type(frame) is _Frame:
                            sink.send(_encode_text(frame), False)
                        else:
                            sink.send(encode_binary(frame), True)
                elif type(effect) is Note:
                    self._note(now, effect)
                else:
                    for output in rec.unfold([effect]):
                        self._apply(now, output)
        finally:
            queue.is_applying = False
        if queue.waiting:
            queue.go_on()

    def _note_progress(self, conn_id: int | None, outputs: list[Output]) -> None:
        """The counters of every session that heard or said something are part of the commit."""
        touched = {conn_id: None}
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
            self._note(now, output)
        else:
            if isinstance(output, Accept | Close | Abort | Refuse):
                self._apply_ending(output)
            for observer, _ in self._listeners:
                observer(now, output)
        if self.observers:
            for observer in self.observers:
                observer(now, output)

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
