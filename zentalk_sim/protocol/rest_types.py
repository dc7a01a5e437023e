"""What REST handlers are given, and how they read a request's body."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from zentalk_sim.protocol.codec import explain
from zentalk_sim.protocol.errors import INVALID_MESSAGE, MALFORMED, ProtocolError
from zentalk_sim.protocol.records import User
from zentalk_sim.protocol.tokens import Claims

T = TypeVar("T")


class Request(Struct, frozen=True):
    """A REST request. ``body`` is raw JSON, or what JSON can hold where it travelled by reference."""

    method: str
    path: str
    query: dict[str, str]
    bearer: str | None
    body: Any
    ip: str


class Caller(NamedTuple):
    """Who asks."""

    user: User
    device_id: str
    claims: Claims


def body_of(request: Request, kind: type[T]) -> T:
    """The body as a typed record. Raises ProtocolError ``malformed`` with the field's path."""
    return body_from(request.body, kind)


def body_from(body: object, kind: type[T]) -> T:
    """Raw JSON, or what JSON can hold, as a typed record. Raises ProtocolError as ``body_of`` does."""
    try:
        if isinstance(body, bytes):
            return msgspec.json.decode(body, type=kind)
        return msgspec.convert(body, kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        message, field = explain(error, "")
        details = {"reason": MALFORMED} if field is None else {"reason": MALFORMED, "field": field}
        raise ProtocolError(INVALID_MESSAGE, message, **details) from None


def number_of(request: Request, name: str, default: int, low: int, high: int | None) -> int:
    """A whole number of the query. Raises ProtocolError where it is none or out of range."""
    text = request.query.get(name)
    if text is None:
        return default
    # Digits alone: int() would take "+1", " 1" and "1_0" too.
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
    if value < low or (high is not None and value > high):
        reach = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise ProtocolError(INVALID_MESSAGE, f"{name} must be a whole number {reach}", reason=MALFORMED, field=name)
    return value
