"""uvicorn's HTTP/1.1, whose answer to what cannot be read is an error as all of the relay's are: JSON.

Such bytes reach no application: a head above h11's bound, a bad Content-Length or chunk, a TLS hello on the plain port.
Status 400, or, as on the WebSocket port, 414 where the request's line is too large (RFC 9110 §15.5.15) and 431 where
its head is (RFC 6585 §5). The connection ends with it, as nothing says where the next request would begin.
"""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Any, Final

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from zentalk_sim.protocol.errors import INVALID_MESSAGE, MALFORMED, TOO_LARGE

MAX_HEAD_BYTES: Final = 16 * 1024
"""The bound of a request's line and headers together; h11's own."""
_TLS_RECORD: Final = b"\x16\x03"
"""How a TLS hello begins (RFC 8446 §5.1)."""
_MAX_SAID: Final = 200
_MAY_ANSWER: Final = (h11.IDLE, h11.SEND_RESPONSE)


class JsonErrorsH11(H11Protocol):
    """One connection, whose unreadable requests are answered in JSON."""

    _began: bytes | None = None
    """The first bytes that came."""

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._began is None:
            self._began = data[: len(_TLS_RECORD)]
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """See uvicorn's, which calls it while it handles h11's error."""
        state: Any = self.conn.our_state
        if state not in _MAY_ANSWER:
            # The answer to this request has begun, or is sent: another one would be taken for a part of it.
            self.transport.close()
            return
        if self.cycle is not None:
            # Whoever still works at this request answers nobody.
            self.cycle.disconnected = True
        error = sys.exc_info()[1]
        status = getattr(error, "error_status_hint", 400)
        if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE and b"\n" not in self.conn.trailing_data[0]:
            status = int(HTTPStatus.REQUEST_URI_TOO_LONG)
        body = msgspec.json.encode(self._told(status, str(error or msg)))
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("connection", "close"),
        ]
        answer = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode())
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _told(self, status: int, said: str) -> dict[str, Any]:
        if status in (HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE):
            limit = self.config.h11_max_incomplete_event_size or MAX_HEAD_BYTES
            message = f"a request's line and headers hold at most {limit} bytes together"
            return {"error_code": TOO_LARGE, "message": message, "details": {"limit": limit}}
        if self._began == _TLS_RECORD and self.scheme == "http":
            message = "this port speaks HTTP without TLS: use http://, or start the relay with --tls"
        else:
            # Behind it h11 shows the bytes themselves, which the client has.
            message = f"not a readable HTTP/1.1 request: {said.partition(': bytearray')[0][:_MAX_SAID]}"
        return {"error_code": INVALID_MESSAGE, "message": message, "details": {"reason": MALFORMED}}
