"""Presence, typing and subscriptions: signals that are never queued one by one (R-7.2 to R-7.4, R-11.4).

Presence keeps the latest status wanted. Typing is sent only while connected, at most every 3 s a conversation, and
shown at most 5 s without an update. Subscriptions are a set wanted and a set the relay's session has; what differs
is sent, so that they stand again after a reconnection that did not resume.
"""

from __future__ import annotations

from typing import Final

from zentalk_sim.protocol.client_effects import Count, Effects, Failed, Rejected, Update
from zentalk_sim.protocol.client_host import TOPICS, TRANSIENT, TYPING, TYPING_THROTTLE_US, Host
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.errors import RATE_LIMITED
from zentalk_sim.protocol.frames import Frame, PresenceSet, SettableStatus, Topics, TypingSignal
from zentalk_sim.protocol.timers import NEVER

WANTED: Final = 1
HELD: Final = 2
MAX_RECENT: Final = 32
MAX_TYPING: Final = 256


class Signals:
    """The signals of one client."""

    __slots__ = (
        "_chosen",
        "_errors",
        "_host",
        "_paused",
        "_recent",
        "_sent_status",
        "_shown_typing",
        "_typed",
        "presence",
        "topics",
    )

    def __init__(self, host: Host) -> None:
        self._host = host
        self.presence: SettableStatus | None = None
        """The status that is still to be sent."""
        self._sent_status: SettableStatus | None = None
        self._chosen: SettableStatus = "online"
        self.topics: dict[str, int] = {}
        """Topic → WANTED, HELD or both."""
        self._recent: dict[str, tuple[str, tuple[str, ...], int]] = {}
        self._paused: dict[str, int] = {}
        self._errors = 0
        self._typed: dict[str, int] = {}
        self._shown_typing: dict[tuple[str, str], tuple[int, Frame]] = {}

    # --- presence ---------------------------------------------------------------------------------

    def set_presence(self, status: SettableStatus, now: int, out: Effects) -> None:
        """PRESENCE_SET now, or once it can be sent."""
        self._chosen = status
        self.presence = status
        self._send_presence(now, out)

    def foreground(self, is_foreground: bool, now: int, out: Effects) -> None:
        """In the background a device is away; in the foreground what was chosen stands again. Invisible stays."""
        if self._chosen == "invisible":
            return
        self.presence = self._chosen if is_foreground else "away"
        self._send_presence(now, out)

    def _send_presence(self, now: int, out: Effects) -> None:
        if self.presence is not None and self._may_send("PRESENCE_SET", now):
            status, self.presence = self.presence, None
            self._sent_status = status
            self._host.emit("PRESENCE_SET", PresenceSet(status), now, out)

    # --- subscriptions ----------------------------------------------------------------------------

    def subscribe(self, topics: tuple[str, ...], now: int, out: Effects) -> None:
        """Want these topics."""
        new = {topic: None for topic in topics if topic not in self.topics}
        if len(self.topics) + len(new) > TOPICS.max_per_session:
            out.append(Rejected("", "too_many_topics"))
            return
        for topic in topics:
            self.topics[topic] = self.topics.get(topic, 0) | WANTED
        self._send_topics(now, out)

    def unsubscribe(self, topics: tuple[str, ...], now: int, out: Effects) -> None:
        """Want these topics no longer."""
        for topic in topics:
            if topic in self.topics:
                self._mark(topic, self.topics[topic] & ~WANTED)
        self._send_topics(now, out)

    def _mark(self, topic: str, flags: int) -> None:
        if flags:
            self.topics[topic] = flags
        else:
            self.topics.pop(topic, None)

    def _send_topics(self, now: int, out: Effects) -> None:
        for kind, flags, after in (("UNSUBSCRIBE", HELD, 0), ("SUBSCRIBE", WANTED, WANTED | HELD)):
            if not self._may_send("SUBSCRIBE", now):
                return
            wanting = [topic for topic, found in self.topics.items() if found == flags]
            for start in range(0, len(wanting), TOPICS.max_per_frame):
                chunk = tuple(wanting[start : start + TOPICS.max_per_frame])
                for topic in chunk:
                    self._mark(topic, after)
                frame_id = self._host.emit(kind, Topics(chunk), now, out)
                if len(self._recent) >= MAX_RECENT:
                    del self._recent[next(iter(self._recent))]
                self._recent[frame_id] = (kind, chunk, now)

    # --- errors -----------------------------------------------------------------------------------

    def refused(self, kind: str, frame_id: str, code: str, pause_us: int, now: int, out: Effects) -> bool:
        """An ERROR for one of these frames (R-11.5); False if it is none of ours.

        What a limit or a passing fault refused is sent again after the pause, the rest is reported.
        """
        again = code == RATE_LIMITED
        if code in TRANSIENT and self._errors < self._host.config.queue.max_retries:
            again = True
            pause_us = self._host.backoff_us(self._errors)
            self._errors += 1
        if kind == "PRESENCE_SET":
            if again:
                self._paused[kind] = now + pause_us
                self.presence = self.presence or self._sent_status
            else:
                out.append(Failed(frame_id, code, 0))
            return True
        found = self._recent.pop(frame_id, None)
        if found is None:
            return False
        kind, topics, _ = found
        if again:
            self._paused["SUBSCRIBE"] = now + pause_us
        else:
            out.append(Failed(frame_id, code, 0))
        for topic in topics:
            flags = self.topics.get(topic, 0)
            if kind == "UNSUBSCRIBE":
                self._mark(topic, flags | HELD if again else flags)
            else:
                # A frame is taken whole or not at all: refused for good, none of its topics is asked for again.
                self._mark(topic, flags & ~HELD if again else 0)
        return True

    # --- typing -----------------------------------------------------------------------------------

    def start_typing(self, conversation_id: str, now: int, out: Effects) -> None:
        """TYPING_START, unless not connected or sent less than 3 s ago."""
        last = self._typed.get(conversation_id)
        if last is not None and now - last < TYPING_THROTTLE_US:
            return
        if self._host.state is not ClientState.CONNECTED:
            out.append(Count("typing.dropped"))
            return
        if len(self._typed) >= MAX_TYPING:
            self._typed = {key: at for key, at in self._typed.items() if now - at < TYPING_THROTTLE_US}
        self._typed[conversation_id] = now
        self._host.emit("TYPING_START", TypingSignal(conversation_id), now, out)

    def stop_typing(self, conversation_id: str, now: int, out: Effects) -> None:
        """TYPING_STOP, unless not connected."""
        if self._host.state is not ClientState.CONNECTED:
            out.append(Count("typing.dropped"))
            return
        self._host.emit("TYPING_STOP", TypingSignal(conversation_id), now, out)

    def peer_typing(self, frame: Frame, now: int, out: Effects) -> None:
        """A peer's TYPING_START or TYPING_STOP, shown until STOP or 5 s without an update."""
        key = (frame.payload.conversation_id, frame.payload.user_id)
        self._shown_typing.pop(key, None)
        if frame.type == "TYPING_START":
            if len(self._shown_typing) >= MAX_TYPING:
                self._end_typing(next(iter(self._shown_typing)), now, out)
            self._shown_typing[key] = (now + TYPING.timeout_ms * 1000, frame)
        out.append(Update(frame))

    def _end_typing(self, key: tuple[str, str], now: int, out: Effects) -> None:
        _, frame = self._shown_typing.pop(key)
        out.append(Update(Frame("TYPING_STOP", frame.id, now // 1000, frame.payload)))

    # --- connection and time ----------------------------------------------------------------------

    def connected(self, resumed: bool, now: int, out: Effects) -> None:
        """After AUTH_SUCCESS: the latest presence, and the subscriptions that the session does not have."""
        self._errors = 0
        if not resumed:
            self.topics = {topic: WANTED for topic, flags in self.topics.items() if flags & WANTED}
        self._send_presence(now, out)
        self._send_topics(now, out)

    def lost(self) -> None:
        """The connection is gone; frames just sent may be lost with it, so their topics are sent again."""
        self.topics = self.surely_held()
        self._recent.clear()

    def surely_held(self) -> dict[str, int]:
        """The topics, HELD only where the frame that changed them is old enough to have arrived."""
        found = dict(self.topics)
        for kind, topics, _ in self._recent.values():
            for topic in topics:
                flags = found.pop(topic, 0)
                flags = flags & ~HELD if kind == "SUBSCRIBE" else flags | HELD
                if flags:
                    found[topic] = flags
        return found

    def forget(self, now: int) -> None:
        """Forget frames sent so long ago that no error comes for them any more."""
        horizon = now - self._host.config.queue.ack_timeout_ms * 1000
        self._recent = {key: entry for key, entry in self._recent.items() if entry[2] > horizon}

    def _may_send(self, kind: str, now: int) -> bool:
        return self._host.state is ClientState.CONNECTED and now >= self._paused.get(kind, 0)

    def next_us(self) -> int:
        """The end of a pause that something waits for, or of a typing indicator; NEVER where there is none."""
        due = NEVER
        if self._shown_typing:
            # Every update moves its entry to the end, and all last equally long: the first ends first.
            due = next(iter(self._shown_typing.values()))[0]
        if self._paused and self._host.state is ClientState.CONNECTED:
            for at in self._paused.values():
                due = min(due, at)
        return due

    def fire(self, now: int, out: Effects) -> None:
        """Run what is due."""
        while self._shown_typing:
            key, (due, _) = next(iter(self._shown_typing.items()))
            if due > now:
                break
            self._end_typing(key, now, out)
        if self._host.state is ClientState.CONNECTED:
            self._paused = {kind: at for kind, at in self._paused.items() if at > now}
            self._send_presence(now, out)
            self._send_topics(now, out)
