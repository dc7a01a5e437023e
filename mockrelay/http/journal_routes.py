"""``/admin/journal``: reading it, waiting for entries, verifying what happened and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mockrelay.http.bodies import ApiError, answer, read_json
from mockrelay.journal import JOURNAL_EVENTS, Entry, Found, Journal
from zentalk_sim.faults import Match, RuleFaults, parse_journal_match
from zentalk_sim.faults.vocabulary import FRAME_TYPES, remedy
from zentalk_sim.protocol.errors import INVALID_MESSAGE, MALFORMED

DEFAULT_TIMEOUT_MS: Final = 5_000
MAX_ORDER: Final = 100
_FILTERS: Final = ("after", "type", "connection", "event")
_CHUNK_ENTRIES: Final = 200
_INLINE_ENTRIES: Final = 2_000
"""Up to so many are searched at once; more in a thread, so that others are served meanwhile."""

T = TypeVar("T")


class Journaled(Protocol):
    """What these routes need of a space."""

    @property
    def journal(self) -> Journal:
        """Its journal."""
        ...


SpaceOf = Callable[[Request], Journaled]


def rule_faults(error: RuleFaults) -> ApiError:
    """400 with every fault, each at its place."""
    faults = [{"place": place, "message": message} for place, message in error.faults]
    message = "; ".join(f"{place}: {said}" for place, said in error.faults[:5])
    return ApiError(400, INVALID_MESSAGE, message, reason=MALFORMED, field=error.faults[0][0], faults=faults)


def number(value: Any, name: str, low: int, high: int | None = None) -> int:
    """A whole number of a body or query. Raises ApiError."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 18:
        value = int(value)
    if type(value) is not int or value < low or (high is not None and value > high):
        reach = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ApiError.malformed(f"{name} must be a whole number {reach}", name)
    return value


async def _asked(request: Request, names: tuple[str, ...]) -> dict[str, Any]:
    body = await read_json(request)
    if not isinstance(body, dict):
        raise ApiError.malformed(f"the body must be a JSON object with {', '.join(names)}")
    for name in body:
        if name not in names:
            raise ApiError.malformed(f"unknown name `{name[:80]}`; {remedy(name, names)}", name[:80])
    return body


def _match(raw: Any) -> Match:
    try:
        return parse_journal_match(raw, JOURNAL_EVENTS)
    except RuleFaults as error:
        raise rule_faults(error) from None


def _order(raw: Any) -> list[Match]:
    if not isinstance(raw, list) or not 1 <= len(raw) <= MAX_ORDER:
        raise ApiError.malformed(f"order must be a list of 1 to {MAX_ORDER} matches", "order")
    matches: list[Match] = []
    faults: list[tuple[str, str]] = []
    for index, item in enumerate(raw):
        try:
            matches.append(parse_journal_match(item, JOURNAL_EVENTS))
        except RuleFaults as error:
            faults += [(f"order[{index}]{place.removeprefix('match')}", message) for place, message in error.faults]
    if faults:
        raise rule_faults(RuleFaults(faults))
    return matches


async def _searched(entries: list[Entry], search: Callable[[], T]) -> T:
    return search() if len(entries) <= _INLINE_ENTRIES else await asyncio.to_thread(search)


async def _lines(entries: list[Entry], kind: str | None) -> AsyncIterator[bytes]:
    """The entries as one JSON array; others are served between its pieces."""
    separator = b"["
    for begin in range(0, len(entries), _CHUNK_ENTRIES):
        shown = [
            msgspec.json.encode(entry.as_json())
            for entry in entries[begin : begin + _CHUNK_ENTRIES]
            if kind is None or entry.type() == kind
        ]
        if shown:
            yield separator + b",\n".join(shown)
            separator = b",\n"
        await asyncio.sleep(0)
    yield b"]" if separator != b"[" else b"[]"


def routes(space_of: SpaceOf) -> list[Route]:
    """The routes, for the space that a request is about."""

    async def list_entries(request: Request) -> Response:
        """The entries kept, oldest first: those after a number, of one type, of one connection."""
        for name in request.query_params:
            if name not in _FILTERS:
                raise ApiError.malformed(f"unknown name `{name[:80]}`; {remedy(name, _FILTERS)}", name[:80])
        # One without a value narrows nothing: `?after=&type=`, as a form or a template leaves it.
        query = {name: value for name, value in request.query_params.items() if value}
        after = number(query.get("after", "0"), "after", 0)
        kind, event = query.get("type"), query.get("event")
        if kind is not None and kind not in FRAME_TYPES:
            raise ApiError.malformed(f"`{kind[:80]}` is no frame type; {remedy(kind, FRAME_TYPES)}", "type")
        if event is not None and event not in JOURNAL_EVENTS:
            raise ApiError.malformed(f"`{event[:80]}` is no event; {remedy(event, JOURNAL_EVENTS)}", "event")
        connection = None
        if "connection" in query:
            connection = number(query["connection"], "connection", 0)
        journal = space_of(request).journal
        entries = journal.selected(after, event, connection)
        headers = {"Cache-Control": "no-store", "Journal-Last": str(journal.last_n)}
        if journal.misses_any(after):
            headers["Journal-Truncated"] = str(journal.gone)
        return StreamingResponse(_lines(entries, kind), 200, headers, "application/json")

    async def wait(request: Request) -> Response:
        """200 once at least ``count`` entries match, 408 when ``timeout_ms`` of real time are over, 503 at the end."""
        asked = await _asked(request, ("match", "count", "timeout_ms", "after"))
        match = _match(asked.get("match", {}))
        count = number(asked.get("count", 1), "count", 1)
        journal = space_of(request).journal
        default_ms = min(DEFAULT_TIMEOUT_MS, journal.max_wait_ms)
        try:
            timeout_ms = number(asked.get("timeout_ms", default_ms), "timeout_ms", 0, journal.max_wait_ms)
        except ApiError:
            journal.count("waits.refused")
            raise
        after = number(asked.get("after", 0), "after", 0)
        found = await journal.wait(match, count, timeout_ms / 1000, after)
        came = f"{found.found} of at least {count} entries"
        if journal.is_closed:
            return _answered(found, 503, f"the relay is stopping, or this space has ended: {came} until then")
        return _answered(found, 408, f"{came} within {timeout_ms} ms")

    async def verify(request: Request) -> Response:
        """200 where exactly ``count`` entries match, or where entries match ``order`` one after the other; else 409."""
        asked = await _asked(request, ("match", "count", "order", "after"))
        after = number(asked.get("after", 0), "after", 0)
        journal = space_of(request).journal
        entries, truncated = journal.entries(after), journal.misses_any(after)
        if "order" in asked:
            if "match" in asked or "count" in asked:
                raise ApiError.malformed("say `match` and `count`, or `order`", "order")
            order = _order(asked["order"])
            ordered, at = await _searched(entries, lambda: journal.verify_order(entries, order, truncated))
            said = f"nothing matches order[{at}] behind the entries that match the {at} before it"
            return _answered(ordered, 409, said if at < len(order) else _TRUNCATED)
        match = _match(asked.get("match", {}))
        if "count" not in asked:
            raise ApiError.malformed("count is missing; it says exactly how many entries must match", "count")
        count = number(asked["count"], "count", 0)
        found = await _searched(entries, lambda: journal.verify_in(entries, match, count, truncated))
        said = _TRUNCATED if found.found == count else f"{found.found} entries match, not {count}"
        return _answered(found, 409, said)

    return [
        Route("/admin/journal", list_entries, methods=["GET"]),
        Route("/admin/journal/wait", wait, methods=["POST"]),
        Route("/admin/journal/verify", verify, methods=["POST"]),
    ]


_TRUNCATED: Final = "entries that would be needed have left the journal"


def _answered(found: Found, status: int, message: str) -> Response:
    body = found.as_json()
    if found.held:
        return answer(200, body)
    if found.truncated:
        message = _TRUNCATED
    return answer(
        status, {**body, "error_code": "JOURNAL_TRUNCATED" if found.truncated else "NOT_HELD", "message": message}
    )
