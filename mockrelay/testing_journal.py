"""A space's journal as a test holds it: reads it, waits for what a client does, and says what of it was not done.

The law: a failure names the entries that came nearest, and where they differ from what was asked for.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import urlencode

from mockrelay.control_client import ControlClient
from mockrelay.testing_text import failure_text, order_text

Json = dict[str, Any]
WAIT_S: Final = 5.0
"""How long ``wait_for`` waits unless told, in real time."""


class VerificationFailed(AssertionError):
    """The journal does not hold what was asked for; the text names the nearest misses, field by field."""

    def __init__(self, text: str, found: int, nearest: list[Json]) -> None:
        super().__init__(text)
        self.found = found
        self.nearest = nearest
        """``[{entry, differences: [{path, wanted, got}]}]``, nearest first."""


class Journal:
    """Everything that happened on a space's wires.

    A match is a dict as in rules, or its fields by name: ``wait_for(type="MESSAGE_SEND", user="alice")``.
    """

    def __init__(self, control: ControlClient) -> None:
        self._control = control

    def entries(self, **query: Any) -> list[Json]:
        """The entries, oldest first; ``after``, ``type``, ``connection`` narrow them."""
        path = "/admin/journal" + (f"?{urlencode(query)}" if query else "")
        found: list[Json] = self._control.call("GET", path)
        return found

    def verify_order(self, *order: Json) -> None:
        """Whether entries match these one after the other, others between them passed over.

        Raises VerificationFailed.
        """
        found = self._control.call("POST", "/admin/journal/verify", {"order": list(order)}, accept=(409,))
        if not found["held"]:
            raise VerificationFailed(order_text(list(order), found), *_facts(found))

    def wait_for(
        self,
        match: Json | None = None,
        count: int = 1,
        timeout_s: float = WAIT_S,
        *,
        timeout_ms: float | None = None,
        **fields: Any,
    ) -> list[Json]:
        """Wait until at least ``count`` entries match, those already there included; returns the first of them.

        It blocks its thread for at most ``timeout_s`` (or, where given, ``timeout_ms``) of real time, 60 s at most: in
        an asyncio test use ``wait_for_async``. Raises VerificationFailed where time runs out.
        """
        wanted = {**(match or {}), **fields}
        if timeout_ms is not None:
            timeout_s = timeout_ms / 1000
        body = {"match": wanted, "count": count, "timeout_ms": round(1000 * timeout_s)}
        found = self._control.call("POST", "/admin/journal/wait", body, accept=(408,))
        if not found["held"]:
            waited = f"within {timeout_s:g} s"
            raise VerificationFailed(failure_text("at least", wanted, count, found, waited), *_facts(found))
        entries: list[Json] = found.get("entries", [])
        return entries

    async def wait_for_async(
        self,
        match: Json | None = None,
        count: int = 1,
        timeout_s: float = WAIT_S,
        *,
        timeout_ms: float | None = None,
        **fields: Any,
    ) -> list[Json]:
        """``wait_for`` that lets the test's own event loop run meanwhile."""
        return await asyncio.to_thread(self.wait_for, match, count, timeout_s, timeout_ms=timeout_ms, **fields)

    def verify(self, match: Json | None = None, count: int = 1, **fields: Any) -> None:
        """Whether exactly ``count`` entries match by now. Raises VerificationFailed.

        It does not wait: what an app is only about to send is not there yet. ``wait_for`` first, then verify.
        """
        wanted = {**(match or {}), **fields}
        found = self._control.call("POST", "/admin/journal/verify", {"match": wanted, "count": count}, accept=(409,))
        if not found["held"]:
            raise VerificationFailed(failure_text("exactly", wanted, count, found), *_facts(found))


def _facts(found: Json) -> tuple[int, list[Json]]:
    return found.get("found", 0), found.get("nearest", [])
