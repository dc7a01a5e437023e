"""One trial: a plan is run in this process, its relays' tape read by the checks as it is written.

Three stages. Trouble: the experiment with its faults, rules and acts. Peace: faults have ended, nobody sends any more,
and applications that gave up ask again; within a bound everything must converge. Then the books are closed. The first
breach of any kind ends the trial.

A connection on which a rule has struck is reset as peace begins: what was lost there singly, as TCP never loses it, is
made good for by the next connection, and that is what must converge.
"""

from __future__ import annotations

import traceback
from collections import deque
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.checks.engine import Engine
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.fuzz.acts import Acts
from zentalk_sim.fuzz.convergence import Convergence
from zentalk_sim.fuzz.plan import Plan
from zentalk_sim.fuzz.rogue_wire import ROGUE
from zentalk_sim.fuzz.situations import Situations
from zentalk_sim.model.recorder import Recorder
from zentalk_sim.model.tracer import Tracer
from zentalk_sim.model.world import World
from zentalk_sim.report.results import check_ledgers
from zentalk_sim.trace import events as ev
from zentalk_sim.trace.event_reader import read_header, read_line

STEP_US: Final = 5_000_000
"""How often a trial is looked at for a breach, and in peace for convergence."""
ALSO_FATAL: Final = frozenset({"client.backoff_jitter"})
"""Checks of severity ``should`` that a trial must keep all the same: in a simulation nothing excuses a breach."""
_MOST_LINES: Final = 200_000
_MOST_STRIKES: Final = 300
"""Firings of rules that a timeline tells."""


class Failure(Struct, frozen=True):
    """What was broken first: a check's id, ``ledgers``, ``liveness.…`` or ``crash.…``."""

    id: str
    title: str
    citation: str
    message: str
    t_us: int
    evidence: tuple[str, ...] = ()
    """Lines of the trace that show it, where a check names them."""
    traceback: str = ""


class Outcome(Struct, frozen=True):
    """A trial that is over. ``situations``: how often each interesting situation came about."""

    failure: Failure | None
    situations: dict[str, int]
    frames: int
    simulated_us: int
    converged_us: int | None
    """How long peace took to come, in simulated time."""
    timeline: tuple[tuple[int, str], ...]
    """Faults, firings of rules and acts with their instants, from the trial's start."""


class _Rows:
    """A table nobody reads."""

    def append(self, row: tuple[Any, ...]) -> None:
        """Nothing."""


class Trial:
    """One plan, to be ``run`` once. ``keep_lines``: evidence is wanted as lines of the trace."""

    def __init__(self, plan: Plan, *, keep_lines: bool = False, trace: Path | None = None) -> None:
        self.plan = plan
        self.experiment = from_mapping(plan.experiment, source="plan")
        self.engine = Engine()
        self.situations = Situations()
        self._lines: deque[bytes] | None = deque(maxlen=_MOST_LINES) if keep_lines else None
        self._number = 0
        self._config: Any = None
        self._strikes: list[tuple[int, str]] = []
        self.rules: list[dict[str, Any]] = []
        """The rules as they were when peace began, with how often each has fired."""
        self._file = trace.open("wb") if trace is not None else None
        rows: Any = _Rows()
        self.recorder = Recorder(rows, rows, rows, 0)
        tracer = Tracer(self._read, full=True)
        self.world = World(self.experiment, self.recorder, tracer=tracer)
        self.end_us = self.world.start_us + self.experiment.duration_us
        self.acts = Acts(self.world, tracer, plan.acts, self.end_us)
        self.convergence = Convergence(self.world, self.recorder, self.acts)

    def _read(self, data: bytes) -> None:
        for line in data.splitlines(keepends=True):
            self._number += 1
            if self._lines is not None:
                self._lines.append(line)
            if self._file is not None:
                self._file.write(line)
            if self._number == 1:
                event: Any = read_header(line)
                self._config = event.config
            else:
                event = read_line(line, self._number, self._config)
            if type(event) is ev.Other:
                raise AssertionError(f"the trace has a line of a kind that its reader does not know: {event.kind}")
            if type(event) is ev.Faulted and event.did != ROGUE and len(self._strikes) < _MOST_STRIKES:
                text = f"{event.rule}: {event.did} ({event.direction}, connection {event.c})"
                self._strikes.append((self.world.kernel.now, text))
            self.situations.feed(event, self.engine.world)
            self.engine.feed(event)

    # --- stages --------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Trouble, peace, the books; the first breach ends it."""
        self.acts.begin()
        converged_us: int | None = None
        failure: Failure | None = None
        try:
            failure = self._trouble()
            if failure is None:
                converged_us, failure = self._peace()
            if failure is None:
                self.world.finish()
                failure = self._books()
        except Exception as error:
            failure = self._crashed(error)
        finally:
            if self._file is not None:
                self._file.close()
        if failure is None:
            self.engine.report()
            failure = self._breach()
        self.situations.finish(self)
        return Outcome(
            failure,
            dict(self.situations.counts),
            self.engine.frames,
            self.world.kernel.now - self.world.start_us,
            converged_us,
            self._timeline(),
        )

    def _trouble(self) -> Failure | None:
        kernel = self.world.kernel
        while kernel.now < self.end_us:
            kernel.run_until(min(self.end_us, kernel.now + STEP_US))
            failure = self._breach()
            if failure is not None:
                return failure
        return None

    def _peace(self) -> tuple[int | None, Failure | None]:
        kernel = self.world.kernel
        self.world.conduct.is_over = True
        self._take_rules_out()
        until_us = self.end_us + self.plan.peace_s * 1_000_000
        open_points = ["nothing has been looked at"]
        while kernel.now < until_us:
            self.convergence.ask_again()
            kernel.run_until(kernel.now + STEP_US)
            failure = self._breach()
            if failure is not None:
                return None, failure
            open_points = self.convergence.open_points()
            if not open_points:
                return kernel.now - self.end_us, None
        name = open_points[0].partition(":")[0]
        text = "; ".join(point.partition(": ")[2] for point in open_points[:6])
        title = "After the faults have ended everything converges"
        message = f"not within {self.plan.peace_s} s: {text}"
        return None, Failure(f"liveness.{name}", title, "R-6.2, R-11, R-12.5", message, kernel.now)

    def _take_rules_out(self) -> None:
        """No rule fires any more, and connections that a rule has touched are reset, as a box on the way would."""
        rules = self.world.rules
        if rules is None:
            return
        self.rules = rules.rules.listing()
        rules.end()
        for device in self.world.devices:
            socket = device.socket
            conn = None if socket is None else self.engine.world.conns.get(socket.conn)
            if socket is not None and conn is not None and conn.faulted and not socket.over:
                socket.reset_both()

    def _books(self) -> Failure | None:
        counts = self.recorder.counts
        faults = check_ledgers(counts)
        if self.recorder.copies_pending != self.world.pending_copies():
            noted, held = self.recorder.copies_pending, self.world.pending_copies()
            faults.append(f"the notes leave {noted} copies pending, the mailboxes hold {held}")
        if not faults:
            return None
        return Failure(
            "ledgers", "Every message and copy is accounted for", "R-6.5", "; ".join(faults), self.world.kernel.now
        )

    # --- what broke ----------------------------------------------------------------------------------

    def _breach(self) -> Failure | None:
        """The earliest breach that a check has found, if any has."""
        if not self.engine.has_breaches:
            return None
        found = [
            check
            for check in self.engine.checks
            if check.breaches and (check.severity == "must" or check.id in ALSO_FATAL) and check.evidence
        ]
        if not found:
            return None
        first = min(found, key=lambda check: (check.evidence[0].t, check.id))
        evidence = first.evidence[0]
        return Failure(
            first.id, first.title(), first.citation, evidence.message, evidence.t, self._shown(evidence.lines)
        )

    def _shown(self, numbers: tuple[int, ...]) -> tuple[str, ...]:
        if self._lines is None:
            return ()
        first = self._number - len(self._lines) + 1
        return tuple(self._lines[n - first].decode().rstrip() for n in numbers if n >= first)

    def _crashed(self, error: Exception) -> Failure:
        """The core, or the model, raised (R-12.2)."""
        frames = traceback.extract_tb(error.__traceback__)
        at = frames[-1]
        place = f"{Path(at.filename).stem}.{at.name}"
        told = "".join(traceback.format_list(frames[-8:]))
        message = f"{type(error).__name__} in {place}: {error}"
        title = "Nothing raises, whatever comes in"
        return Failure(f"crash.{place}", title, "R-12.2", message, self.world.kernel.now, (), told)

    def _timeline(self) -> tuple[tuple[int, str], ...]:
        start_us = self.world.start_us
        found = [(span.start_us, span.label) for span in self.world.faults.spans]
        found += [*self._strikes, *self.acts.done]
        return tuple(sorted((at_us - start_us, text) for at_us, text in found))


def run(plan: Plan, *, keep_lines: bool = False, trace: Path | None = None) -> Outcome:
    """Run a plan. Raises files.yaml.FileFaults where its experiment is none."""
    return Trial(plan, keep_lines=keep_lines, trace=trace).run()
