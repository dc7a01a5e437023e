"""How a relay ends connections: with which code, for which cause, and nothing after it (R-1.5 to R-4, R-10, R-12)."""

from __future__ import annotations

from typing import Any, Final

from zentalk_sim.checks.registry import Check, Recent, check
from zentalk_sim.protocol import control
from zentalk_sim.protocol.errors import MALFORMED_REASONS
from zentalk_sim.trace import events as ev

_FATAL: Final = {"bad_utf8": 1007, "bad_length": 1002, "bad_code": 1003}
_NO_FRAMES: Final = frozenset((*MALFORMED_REASONS, *_FATAL))


@check("relay.silent_after_close", "R-12.1")
class SilentAfterClose(Check):
    """Nothing is sent on a connection after its close."""

    def begin(self) -> None:
        self.gone: Recent[int, Any] = Recent(10_000)

    def out_any(self, event: ev.FrameOut) -> None:
        ending = self.world.conn(event.c).ending or self.gone.get(event.c)
        if ending is not None:
            self.broken(f"{event.type} after the connection's end", ending, event)

    def _ended(self, event: Any) -> None:
        conn = self.world.conn(event.c)
        if conn.ending is not None and type(event) is not ev.Lost:
            self.broken("ended a second time", conn.ending, event)
        elif conn.ending is None:
            self.seen()
        self.gone[event.c] = event

    on_close = on_abort = on_lost = _ended


class Owing(Check):
    """Base: a close that is due by the end of the group."""

    def begin(self) -> None:
        self.owed: dict[int, tuple[int, Any]] = {}

    def owe(self, c: int, code: int, event: Any) -> None:
        """The connection must now be closed with this code."""
        if self.world.conn(c).state in ("open", "challenged", "ready"):
            self.owed.setdefault(c, (code, event))
            self.await_group_end()

    def on_close(self, event: ev.Close) -> None:
        found = self.owed.pop(event.c, None)
        if found is not None and self.world.conn(event.c).state != "ended":
            self.judge(event.code == found[0], f"closed with {event.code}, not {found[0]}", found[1], event)

    def on_abort(self, event: ev.Abort) -> None:
        self.owed.pop(event.c, None)

    def on_publish(self, event: ev.Publish) -> None:
        # Another node is asked to.
        self.owed.pop(event.c, None)

    def on_lost(self, event: ev.Lost) -> None:
        self.owed.pop(event.c, None)

    def on_group_end(self, following: Any) -> None:
        if self.owed and type(following) is not ev.Crash:
            for code, event in self.owed.values():
                self.broken(f"not closed with {code}", event)
        self.owed.clear()


@check("relay.close_bytes", "R-1.5")
class CloseBytes(Owing):
    """Bytes that are no frame close the connection: 1007 for bad UTF-8, 1002, 1003, 1009 (R-1.6, R-2.3)."""

    def in_any(self, event: ev.FrameIn) -> None:
        if event.size > self.world.config.frames.max_bytes and not self.world.redacted:
            self.owe(event.c, 1009, event)
        elif event.fault in _FATAL:
            self.owe(event.c, _FATAL[event.fault], event)

    def on_oversized(self, event: ev.Oversized) -> None:
        self.owe(event.c, 1009, event)


@check("relay.close_failed_auth", "R-4.2")
class CloseFailedAuth(Owing):
    """AUTH_FAILED is followed by a close with 4000, and no other connection is closed with it."""

    def begin(self) -> None:
        super().begin()
        self.failed: dict[int, Any] = {}

    def out_auth_failed(self, event: ev.FrameOut) -> None:
        self.owe(event.c, 4000, event)
        self.failed[event.c] = event

    def on_close(self, event: ev.Close) -> None:
        super().on_close(event)
        failed = self.failed.pop(event.c, None)
        if event.code == 4000 and failed is None and not _by_operator(self.world.cause, event.c):
            self.broken("closed with 4000 without AUTH_FAILED", event)


@check("relay.close_limited", "R-10.2")
class CloseLimited(Check):
    """A close with 4002 follows the ERROR RATE_LIMITED that says how long to wait."""

    def begin(self) -> None:
        self.last: dict[int, Any] = {}

    def out_any(self, event: ev.FrameOut) -> None:
        self.last[event.c] = event

    def on_close(self, event: ev.Close) -> None:
        last = self.last.pop(event.c, None)
        if event.code != 4002 or _by_operator(self.world.cause, event.c):
            return
        code = getattr(last.payload, "error_code", None) if last is not None else None
        known = self.world.conn(event.c).known
        self.judge(code == "RATE_LIMITED" or not known, "closed with 4002 without RATE_LIMITED before", event)

    def on_lost(self, event: ev.Lost) -> None:
        self.last.pop(event.c, None)


@check("relay.close_suspended", "R-3.2")
class CloseSuspended(Owing):
    """Suspending a user closes each of its connections with 4003 at once."""

    def on_control(self, event: ev.Control) -> None:
        command = event.command
        if isinstance(command, control.Suspend) and command.suspended:
            for c in self.world.places.get(command.address.lower(), {}).values():
                self.owe(c, 4003, event)


@check("relay.close_stop", "R-12.1")
class CloseStop(Owing):
    """An orderly stop closes every connection with 1001."""

    def on_control(self, event: ev.Control) -> None:
        if isinstance(event.command, control.Stop):
            for conn in list(self.world.conns.values()):
                if conn.known and conn.node == self.world.node:
                    self.owe(conn.c, 1001, event)


@check("relay.close_replaced", "R-10.3")
class CloseReplaced(Owing):
    """A device that connects again has its older connection closed with 1000 at AUTH_SUCCESS."""

    out_types = frozenset(("AUTH_SUCCESS",))

    def out_any(self, event: ev.FrameOut) -> None:
        conn = self.world.conn(event.c)
        if conn.state == "ended" or conn.user is None:
            return
        older = self.world.places.get(conn.user, {}).get(conn.device)
        if older is not None and older != event.c and older not in self.asked:
            # Where the close stands before AUTH_SUCCESS in the same group, the place is empty already.
            self.owe(older, 1000, event)

    def begin(self) -> None:
        super().begin()
        self.asked: dict[int, None] = {}
        """Connections of other nodes that this group asks to close."""

    def on_publish(self, event: ev.Publish) -> None:
        super().on_publish(event)
        self.asked[event.c] = None
        self.await_group_end()

    def on_close(self, event: ev.Close) -> None:
        super().on_close(event)
        if event.reason == "replaced":
            self.judge(event.code == 1000, f"replaced, and closed with {event.code}", event)

    def on_group_end(self, following: Any) -> None:
        super().on_group_end(following)
        self.asked.clear()


@check("relay.close_malformed", "R-1.5")
class CloseMalformed(Owing):
    """The tenth malformed frame in a row gets its ERROR and then a close with 1008, and no earlier one does."""

    out_types = frozenset(("ERROR",))

    def begin(self) -> None:
        super().begin()
        self.runs: dict[int, int] = {}
        self.errors: dict[int, Any] = {}

    def on_begin(self, event: ev.Begin) -> None:
        for conn in event.image.connections if event.image is not None else ():
            if conn.malformed_in_a_row:
                self.runs[conn.id] = conn.malformed_in_a_row

    def in_any(self, event: ev.FrameIn) -> None:
        if event.c in self.runs and event.fault not in _NO_FRAMES and event.type != "PONG":
            self.errors[event.c] = event
            self.await_group_end()

    def out_any(self, event: ev.FrameOut) -> None:
        conn = self.world.conn(event.c)
        cause = self.world.cause
        if event.payload is None or conn.state != "ready":
            return
        if type(cause) is not ev.FrameIn or cause.c != event.c:
            return
        if (
            event.payload.error_code != "INVALID_MESSAGE"
            or event.payload.details.get("reason") not in MALFORMED_REASONS
        ):
            return
        run = self.runs[event.c] = self.runs.get(event.c, 0) + 1
        self.errors.pop(event.c, None)
        if run >= self.world.config.frames.max_malformed_in_a_row:
            self.owe(event.c, 1008, event)

    def on_group_end(self, following: Any) -> None:
        super().on_group_end(following)
        # What drew no such ERROR was well-formed, and ended the run.
        for c in self.errors:
            self.runs.pop(c, None)
        self.errors.clear()

    def on_close(self, event: ev.Close) -> None:
        super().on_close(event)
        run = self.runs.pop(event.c, 0)
        if event.code == 1008 and event.reason.startswith("too many malformed"):
            most = self.world.config.frames.max_malformed_in_a_row
            self.judge(run >= most, f"closed with 1008 after {run} malformed frames", event)

    def on_lost(self, event: ev.Lost) -> None:
        super().on_lost(event)
        self.runs.pop(event.c, None)


@check("relay.close_code", "R-3.2")
class CloseCodeKnown(Check):
    """A close has a code that the specification names, and one that a relay may send."""

    def on_close(self, event: ev.Close) -> None:
        held = event.code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 4000, 4001, 4002, 4003, 4004)
        if not _by_operator(self.world.cause, event.c):
            self.judge(held, f"closed with {event.code}", event)


def _by_operator(cause: Any, c: int) -> bool:
    """Whether the group's input is the operator's own close of this connection."""
    return type(cause) is ev.Control and isinstance(cause.command, control.CloseConn) and cause.command.conn == c
