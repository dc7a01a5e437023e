"""Requests read and answers written: typed bodies with the place and remedy of what is wrong, and errors as JSON.

Every error of the relay is ``{"error_code", "message", "details"}``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
import msgspec.inspect as mi
from starlette.requests import Request
from starlette.responses import Response

from zentalk_sim.files.names import suggestion
from zentalk_sim.protocol.codec import explain, too_deep
from zentalk_sim.protocol.errors import HTTP_STATUS, INVALID_MESSAGE, MALFORMED, NOT_FOUND, TOO_LARGE, ProtocolError

if TYPE_CHECKING:
    from mockrelay.spaces import Space

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
MAX_BODY_BYTES: Final = 1 << 20
SPACE_KEY: Final = "mockrelay.space"
_MAX_SHOWN: Final = 80


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer; bytes in it become base64. None is an empty body."""
    content = b"" if body is None else msgspec.json.encode(body)
    kind = None if body is None else "application/json"
    return Response(content, status, {"Cache-Control": "no-store", **(headers or {})}, kind)


def error_answer(status: int, error_code: str, message: str, **details: Any) -> Response:
    """An error as all of the relay's are."""
    return answer(status, {"error_code": error_code, "message": message, "details": details})


class ApiError(Exception):
    """What a request is refused with."""

    def __init__(self, status: int, error_code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.details = details

    @classmethod
    def malformed(cls, message: str, field: str | None = None) -> ApiError:
        """400, with the path of the field at fault."""
        where = {} if field is None else {"field": field}
        return cls(400, INVALID_MESSAGE, message, reason=MALFORMED, **where)

    @classmethod
    def not_found(cls, message: str) -> ApiError:
        """404."""
        return cls(404, NOT_FOUND, message)

    @classmethod
    def of(cls, error: ProtocolError) -> ApiError:
        """What the core refused, with its HTTP equivalent."""
        return cls(HTTP_STATUS[error.code], error.code, error.message, **error.details)

    def response(self) -> Response:
        """The answer."""
        return error_answer(self.status, self.error_code, str(self), **self.details)


class TooLarge(ApiError):
    """A body above the bound."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, TOO_LARGE, f"a request's body holds at most {limit} bytes", limit=limit)


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes | None:
    """The body, or None where there is none. Raises TooLarge as soon as it exceeds ``limit`` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(limit)
    return bytes(body) if body else None


async def read_json(request: Request) -> Any:
    """The body as JSON; None where there is none. Raises ApiError."""
    body = await read_body(request)
    if body is None:
        return None
    if too_deep(body):
        raise ApiError.malformed("the body is nested too deeply")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ApiError.malformed(f"the body is not JSON: {error}") from None


async def read(request: Request, kind: type[T]) -> T:
    """The body as a typed record; no body stands for ``{}``. Raises ApiError with the field's path."""
    data = await read_json(request)
    return converted({} if data is None else data, kind)


def converted(data: Any, kind: type[T], place: str = "") -> T:
    """Plain data as a typed record. Raises ApiError: unknown names with the nearest right one."""
    refuse_unknown(data, type_info(cast(Any, kind)), place)
    try:
        return msgspec.convert(data, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        message, field = explain(error, place)
        if field is not None and "Invalid enum value" in message:
            message += _right_values(data, cast(Any, kind), field, place)
        raise ApiError.malformed("the body must be a JSON object" if field is None else message, field) from None


_STEP: Final = re.compile(r"[^.\[\]]+")


def _right_values(data: Any, kind: Any, field: str, place: str) -> str:
    """A clause with the value of an enumeration that was meant, or with all there are."""
    found, at = type_info(kind), data
    for step in _STEP.findall(field.removeprefix(place)):
        inner = _within(found, step)
        if inner is None:
            return ""
        found = inner
        try:
            at = at[int(step)] if isinstance(at, list) else at[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return ""
    kinds = found.types if isinstance(found, mi.UnionType) else (found,)
    values = [str(value) for one in kinds if isinstance(one, mi.LiteralType) for value in one.values]
    return suggestion(str(at)[:_MAX_SHOWN], values)


def _within(kind: mi.Type, step: str) -> mi.Type | None:
    """The type of a struct's field, or of a list's items."""
    for one in kind.types if isinstance(kind, mi.UnionType) else (kind,):
        if isinstance(one, mi.StructType):
            for field in one.fields:
                if field.encode_name == step:
                    return field.type
        elif isinstance(one, mi.ListType | mi.VarTupleType) and step.isdecimal():
            return one.item_type
    return None


@cache
def type_info(kind: Any) -> mi.Type:
    """What msgspec knows of a type."""
    return mi.type_info(kind)


def refuse_unknown(data: Any, kind: mi.Type, place: str) -> None:
    """Raise ApiError at the first name that ``kind`` does not have, with the nearest one that it has."""
    if isinstance(kind, mi.UnionType):
        for one in kind.types:
            if isinstance(one, mi.StructType | mi.ListType | mi.VarTupleType):
                refuse_unknown(data, one, place)
    elif isinstance(kind, mi.ListType | mi.VarTupleType):
        if isinstance(data, list):
            for index, item in enumerate(data):
                refuse_unknown(item, kind.item_type, f"{place}.{index}" if place else str(index))
    elif isinstance(kind, mi.StructType) and isinstance(data, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        for name, value in data.items():
            path = f"{place}.{name}" if place else name
            if name not in fields:
                raise unknown_name(name, fields, path[:_MAX_SHOWN])
            refuse_unknown(value, fields[name], path)


def unknown_name(name: str, known: Iterable[str], field: str) -> ApiError:
    """A mistyped name, with the nearest right one."""
    return ApiError.malformed(f"unknown name `{name[:_MAX_SHOWN]}`{suggestion(name, known)}", field)


def space_of(request: Request) -> Space:
    """The space that a request's path belongs to."""
    space: Space = request.scope[SPACE_KEY]
    return space


def whole(text: str, name: str, low: int = 0) -> int:
    """A whole number of a path or query. Raises ApiError."""
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else -1
    if value < low:
        raise ApiError.malformed(f"{name} must be a whole number of at least {low}", name)
    return value


def answering(handler: Handler) -> Handler:
    """A handler whose ApiError, or refusal by the core, is answered."""

    async def handled(request: Request) -> Response:
        try:
            return await handler(request)
        except ApiError as error:
            return error.response()
        except ProtocolError as error:
            return ApiError.of(error).response()

    return handled
