"""What a relay answers: every frame that wants an answer gets one, and errors say all they must (R-1.7, R-10.1)."""

from __future__ import annotations

import re
from typing import Any, Final

from zentalk_sim.checks.registry import Check, check
from zentalk_sim.protocol.errors import HTTP_STATUS
from zentalk_sim.trace import events as ev

_is_request_id: Final = re.compile(r"req_[0-9a-f]{12}\Z").match
_LIMIT_FIELDS: Final = ("limit", "window_seconds", "current_count", "retry_after", "reset_at", "reason")
_CONNECTING: Final = ("limit", "current_count", "retry_after")


@check("relay.error_fields", "R-1.7")
class ErrorFields(Check):
    """Every ERROR has a known error_code, a message, a request_id, and names the frame it answers."""

    def out_error(self, event: ev.FrameOut) -> None:
        payload, cause = event.payload, self.world.cause
        answers = type(cause) is ev.FrameIn and cause.c == event.c and cause.fault is None and not cause.partial
        if payload.error_code not in HTTP_STATUS:
            self.broken(f"error_code {payload.error_code}", event)
        elif not payload.message:
            self.broken("no message", event)
        elif not _is_request_id(payload.request_id):
            self.broken(f"request_id {payload.request_id!r}", event)
        elif answers and self.world.conn(event.c).state == "ready":
            named = (payload.original_type, str(payload.original_id).lower())
            self.judge(named == (cause.type, cause.id), "does not name the frame it answers", cause, event)
        else:
            self.seen()


@check("relay.limit_details", "R-10.1")
class LimitDetails(Check):
    """RATE_LIMITED tells the limit, the count, when to come again and why."""

    def out_error(self, event: ev.FrameOut) -> None:
        payload = event.payload
        if payload.error_code != "RATE_LIMITED" or type(self.world.cause) is ev.Control:
            # What an operator, or a fault rule, has the relay say is not of a limit.
            return
        details = payload.details
        ready = self.world.conn(event.c).state == "ready"
        missing = [name for name in (_LIMIT_FIELDS if ready else _CONNECTING) if name not in details]
        retry_s = details.get("retry_after")
        if missing:
            self.broken(f"details lack {', '.join(missing)}", event)
        elif type(retry_s) is not int or retry_s < 1:
            self.broken(f"retry_after is {retry_s!r}", event)
        else:
            reset = details.get("reset_at")
            held = not ready or (type(reset) is int and reset * 1000 >= event.t)
            self.judge(held, f"reset_at {reset!r} is not to come", event)


@check("relay.answers_sends", "R-6.2")
class AnswersSends(Check):
    """Every MESSAGE_SEND is answered at once: MESSAGE_ACK, ERROR or the connection's end."""

    in_types = frozenset(("MESSAGE_SEND",))

    def begin(self) -> None:
        self.open: Any = None

    def in_any(self, event: ev.FrameIn) -> None:
        good = event.fault is None and not event.partial
        self.open = event if good and self.world.conn(event.c).state == "ready" else None
        if self.open is not None:
            self.await_group_end()

    def out_message_ack(self, event: ev.FrameOut) -> None:
        if self.open is not None and event.payload.message_id.lower() == self.open.id:
            self._answered()

    def out_error(self, event: ev.FrameOut) -> None:
        if self.open is not None and event.c == self.open.c:
            self._answered()

    def _ended(self, event: Any) -> None:
        if self.open is not None and event.c == self.open.c:
            self._answered()

    on_close = on_abort = _ended

    def _answered(self) -> None:
        self.open = None
        self.seen()

    def on_group_end(self, following: Any) -> None:
        if self.open is not None and type(following) is not ev.Crash and self._recorded():
            self.broken("MESSAGE_SEND without an answer", self.open)
        self.open = None

    def _recorded(self) -> bool:
        begin = self.world.begin
        return begin is not None and begin.whole


@check("relay.answers_requests", "R-6.6")
class AnswersRequests(Check):
    """Every REST request is answered once."""

    def begin(self) -> None:
        self.open: Any = None

    def on_request(self, event: ev.Request) -> None:
        self.open = event
        self.await_group_end()

    def on_response(self, event: ev.Response) -> None:
        if self.open is not None and event.r == self.open.r:
            self.open = None
            self.seen()
        elif event.r not in self.world.requests:
            self.broken("an answer to no request", event)

    def on_group_end(self, following: Any) -> None:
        begin = self.world.begin
        recorded = begin is not None and begin.whole
        if self.open is not None and recorded and type(following) is not ev.Crash:
            self.broken("a request without an answer", self.open)
        self.open = None


@check("relay.answers_subscriptions", "R-7.2")
class AnswersSubscriptions(Check):
    """A presence subscription is answered with the current state at once."""

    def begin(self) -> None:
        self.wanted: dict[str, Any] = {}
        self.refused = False

    def in_subscribe(self, event: ev.FrameIn) -> None:
        if self.world.conn(event.c).state == "ready":
            topics = [topic for topic in event.payload.topics[:1000] if topic.startswith("presence:")]
            self.wanted = {topic.partition(":")[2].lower(): event for topic in topics}
            self.await_group_end()

    def out_presence_update(self, event: ev.FrameOut) -> None:
        asked = self.wanted.get(event.payload.user_id.lower())
        if asked is not None and asked.c == event.c:
            del self.wanted[event.payload.user_id.lower()]
            self.seen()

    def out_error(self, event: ev.FrameOut) -> None:
        self.wanted = {}

    def _ended(self, event: Any) -> None:
        self.wanted = {}

    on_close = on_abort = _ended

    def on_group_end(self, following: Any) -> None:
        begin = self.world.begin
        if begin is not None and begin.whole and type(following) is not ev.Crash:
            for user, asked in self.wanted.items():
                self.broken(f"no PRESENCE_UPDATE of {user}", asked)
        self.wanted = {}
