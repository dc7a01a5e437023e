"""What fault rules answer over HTTP, at an upgrade or at a REST call."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.faults import verdicts as do
from zentalk_sim.faults.passing import error_details, said
from zentalk_sim.faults.ruleset import Firing
from zentalk_sim.protocol.errors import HTTP_STATUS, INTERNAL_ERROR, INVALID_MESSAGE

_CODE_OF: Final = {status: code for code, status in reversed(HTTP_STATUS.items())}


class Refusal(Struct, frozen=True):
    """An HTTP answer with an error as its body."""

    status: int
    error_code: str
    message: str
    headers: dict[str, str]
    details: dict[str, Any]

    @property
    def body(self) -> dict[str, Any]:
        """As all of the relay's errors have it."""
        return {"error_code": self.error_code, "message": self.message, "details": self.details}


def refusal_of(firing: Firing) -> Refusal | None:
    """The answer that a firing rule gives; None where its verdict is something else."""
    verdict = firing.verdict
    if isinstance(verdict, do.Refuse):
        status = verdict.status
        code = _CODE_OF.get(status, INVALID_MESSAGE if status < HTTPStatus.INTERNAL_SERVER_ERROR else INTERNAL_ERROR)
        return Refusal(status, code, said(firing), {}, {})
    if isinstance(verdict, do.ErrorAnswer):
        headers = {} if verdict.retry_after is None else {"Retry-After": str(verdict.retry_after)}
        status = HTTP_STATUS[verdict.error_code]
        return Refusal(status, verdict.error_code, said(firing), headers, error_details(verdict))
    return None
