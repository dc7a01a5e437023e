"""Incoming messages: shown once, every copy confirmed; the backlog fetched before anything live is shown.

R-11.6: a message is known by (``from``, ``id``). R-6.6: on SYNC_REQUIRED the client asks for the oldest page at
offset 0, confirms it, and repeats until the mailbox is empty; live MESSAGE_NEW wait meanwhile. What waits is still
in the mailbox, unconfirmed, so that nothing is lost if the connection goes, or if too many wait.

A page confirmed by REST is gone from the mailbox when the answer is there, and only then is the next one asked for, so
that nothing comes twice. MESSAGE_RECEIVED frames have no answer and may be overtaken by the next request: then the
mailbox is known to be empty when a page brings nothing new.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from zentalk_sim.protocol.backoff import exponential_us
from zentalk_sim.protocol.client_effects import Count, Deliver, Effects, NeedToken
from zentalk_sim.protocol.client_host import Host
from zentalk_sim.protocol.client_records import read_page
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.frames import MessageNew
from zentalk_sim.protocol.timers import NEVER

MAX_HELD: Final = 1_000

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_DELIVER: Final = Deliver


class Inbox:
    """What one client has been sent."""

    __slots__ = ("_held", "_host", "_oldest", "_retry_us", "_shown", "_shown_most", "_stuck", "_tries", "syncing")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._shown: dict[tuple[str, str], None] = {}
        """A set that keeps its order."""
        self._shown_most = host.config.shown_memory
        self.syncing = False
        self._held: list[tuple[str, MessageNew]] = []
        self._tries = 0
        self._oldest = ""
        """The first message of the last page confirmed by REST."""
        self._stuck = False
        """It is the first of this page too, although the relay said that it had taken it out."""
        self._retry_us = NEVER

    # --- showing ----------------------------------------------------------------------------------

    def pushed(self, message_id: str, payload: MessageNew, now: int, out: Effects) -> None:
        """A live MESSAGE_NEW: shown, or held back while the backlog is fetched."""
        if not self.syncing:
            self._show(message_id, payload, "push", out)
            self._host.confirm(message_id, now, out)
        elif len(self._held) < MAX_HELD:
            self._held.append((message_id, payload))
        else:
            out.append(Count("messages.held_dropped"))

    def _show(self, message_id: str, payload: MessageNew, via: Any, out: Effects) -> bool:
        sender = payload.sender
        lower = sender.lower()
        if lower != sender:
            # Else the copy need not be kept with what is remembered.
            sender = lower
        if not self.remember(sender, message_id):
            out.append(Count("messages.duplicate"))
            return False
        out.append(_DELIVER(message_id, sender, payload.conversation_id, payload, via))
        return True

    def remember(self, sender: str, message_id: str) -> bool:
        """Note a message as shown; False if it was. The oldest is forgotten where too many are remembered."""
        key = (sender, message_id)
        if key in self._shown:
            return False
        self._shown[key] = None
        if len(self._shown) > self._shown_most:
            del self._shown[next(iter(self._shown))]
        return True

    def remembered(self) -> list[tuple[str, str]]:
        """(sender, id) of the messages shown, oldest first, for a snapshot."""
        return list(self._shown)

    # --- the backlog ------------------------------------------------------------------------------

    def sync(self, now: int, out: Effects) -> None:
        """SYNC_REQUIRED; one during a synchronisation adds nothing, since that goes on until all is fetched."""
        if not self.syncing:
            self.syncing = True
            self._tries = 0
            self._oldest = ""
            self._ask(now, out)

    def _ask(self, now: int, out: Effects) -> None:
        self._retry_us = NEVER
        path = f"/api/messages?limit={self._host.config.fetch_page}&offset=0"
        self._host.fetch("messages", "", "GET", path, None, now, out)

    def answered(self, status: int, body: Any, now: int, out: Effects) -> None:
        """A page has come, or not (status 0)."""
        if not self.syncing:
            return
        page = read_page(body) if status == 200 else None
        if page is None:
            self._failed(status, now, out)
        elif page:
            self._take_page(page, now, out)
        else:
            self._finish(now, out)

    def _take_page(self, page: list[tuple[str, MessageNew]], now: int, out: Effects) -> None:
        fresh = False
        by_rest = self._host.config.ack_by == "rest"
        for message_id, payload in page:
            fresh |= self._show(message_id, payload, "fetch", out)
            if not by_rest:
                self._host.confirm(message_id, now, out)
        if fresh:
            self._tries = 0
        if by_rest:
            self._stuck = page[0][0] == self._oldest
            self._oldest = page[0][0]
            body = msgspec.json.encode({"message_ids": [message_id for message_id, _ in page]})
            self._host.fetch("ack", "", "POST", "/api/messages/ack", body, now, out)
        elif fresh:
            self._ask(now, out)
        elif len(page) < self._host.config.fetch_page:
            # All known, and no more behind them: these confirmations are still on their way. To wait until the
            # mailbox is seen empty would hold live messages back for ever where one comes every second.
            self._finish(now, out)
        else:
            # A full page, all known: more may lie behind it. Ask again, but not in a tight loop.
            self._retry(now, out)

    def acknowledged(self, status: int, now: int, out: Effects) -> None:
        """POST /api/messages/ack was answered: the next page, or after a failure the same one again."""
        if not self.syncing:
            return
        if status != 200:
            self._oldest = ""
            self._failed(status, now, out)
        elif self._stuck:
            # Ask again, but not in a tight loop.
            self._retry(now, out)
        else:
            self._ask(now, out)

    def _failed(self, status: int, now: int, out: Effects) -> None:
        out.append(Count("sync.request_failed"))
        if status == 401:
            out.append(NeedToken())
        self._retry(now, out)

    def _retry(self, now: int, out: Effects) -> None:
        backoff = self._host.config.backoff
        if self._tries >= backoff.max_attempts:
            # The relay offers the backlog again at the next connect; live messages wait no longer.
            out.append(Count("sync.abandoned"))
            self._finish(now, out)
            return
        self._retry_us = now + exponential_us(backoff, self._tries)
        self._tries += 1

    def _finish(self, now: int, out: Effects) -> None:
        self.syncing = False
        self._retry_us = NEVER
        held, self._held = self._held, []
        for message_id, payload in sorted(held, key=lambda entry: entry[1].timestamp):
            self._show(message_id, payload, "push", out)
            self._host.confirm(message_id, now, out)

    def lost(self) -> None:
        """The connection is gone; all that is unconfirmed will be offered again."""
        self.syncing = False
        self._retry_us = NEVER
        self._held = []

    def next_us(self) -> int:
        """When to ask again, or NEVER."""
        return self._retry_us

    def fire(self, now: int, out: Effects) -> None:
        """Ask again, if that is due."""
        if self._retry_us <= now and self._host.state is ClientState.CONNECTED:
            self._ask(now, out)
