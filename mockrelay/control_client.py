"""The relay's control API as plain calls: one request, its answer decoded, or ``ControlError``.

Synchronous and safe in any thread, with nothing but the standard library: what a test, or a person's terminal, uses.
"""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

_TIMEOUT_S: Final = 90.0
"""More than the longest wait the relay grants (60 s)."""


class ControlError(Exception):
    """The relay refused, or cannot be reached (``status`` 0)."""

    def __init__(self, status: int, error_code: str, message: str, body: Any = None) -> None:
        super().__init__(f"{status} {error_code}: {message}" if status else message)
        self.status = status
        self.error_code = error_code
        self.body = body
        """The answer, decoded as far as it is JSON."""


class ControlClient:
    """Calls under one ``http_url``: a relay's, or a space's."""

    def __init__(self, http_url: str, bearer: str | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        """``bearer`` is the admin token; ``tls`` the context for ``https`` (None: the system's trust)."""
        self.http_url = http_url.rstrip("/")
        self._bearer = bearer
        self._tls = tls

    def call(self, method: str, path: str, body: Any = None, *, accept: tuple[int, ...] = ()) -> Any:
        """The decoded answer of a request, such as ``call("POST", "/admin/restart")``.

        Raises ControlError for a status of 400 or more that is not among ``accept``, and where there is no relay.
        """
        status, answer = self._exchange(method, path, None if body is None else json.dumps(body).encode())
        decoded = _decoded(answer)
        if status >= 400 and status not in accept:
            said = decoded if isinstance(decoded, dict) else {}
            message = said.get("message") or answer[:200].decode(errors="replace")
            raise ControlError(status, said.get("error_code", "HTTP"), f"{message} ({method} {path})", decoded)
        return decoded

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        parts = urlsplit(self.http_url)
        host, port = parts.hostname or "", parts.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=self._tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        headers = {"Accept": "application/json"}
        if self._bearer is not None:
            headers["Authorization"] = f"Bearer {self._bearer}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, parts.path + path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ControlError(0, "UNREACHABLE", f"no relay answers at {self.http_url}: {reason}") from error
        finally:
            connection.close()


def _decoded(answer: bytes) -> Any:
    try:
        return json.loads(answer) if answer else None
    except ValueError:
        return None
