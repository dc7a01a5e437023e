"""What fault rules answer over HTTP, at an upgrade or at a REST call."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.faults import Firing
from zentalk_sim.faults import verdicts as do
from zentalk_sim.protocol.errors import HTTP_STATUS, INTERNAL_ERROR, INVALID_MESSAGE

_CODE_OF: Final = {status: code for code, status in reversed(HTTP_STATUS.items())}


class Refusal(Struct, frozen=True):
    """An HTTP answer with an error as its body."""

    status: int
    error_code: str
    message: str
    headers: dict[str, str]
    details: dict[str, Any]


def refusal_of(firing: Firing) -> Refusal | None:
    """The answer that a firing rule gives; None where its verdict is something else."""
    verdict = firing.verdict
    message = firing.rule.comment or f"answered by {firing.rule.id}"
    if isinstance(verdict, do.Refuse):
        status = verdict.status
        code = _CODE_OF.get(status, INVALID_MESSAGE if status < HTTPStatus.INTERNAL_SERVER_ERROR else INTERNAL_ERROR)
        return Refusal(status, code, message, {}, {})
    if isinstance(verdict, do.ErrorAnswer):
        headers: dict[str, str] = {}
        details: dict[str, Any] = {}
        if verdict.retry_after is not None:
            headers["Retry-After"] = str(verdict.retry_after)
            details["retry_after"] = verdict.retry_after
        return Refusal(HTTP_STATUS[verdict.error_code], verdict.error_code, message, headers, details)
    return None
