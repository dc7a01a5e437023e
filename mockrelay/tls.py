"""TLS as the specification has it: version 1.3 alone and its three cipher suites, in its order (R-12.3).

Without certificate files the server's certificate comes from the development authority (``authority``): for every name
the relay is bound to or admits, chosen at each handshake, so that it is renewed before it runs out and follows the
addresses of the machine. Its private key never stays on disk.
"""

from __future__ import annotations

import datetime
import logging
import os
import ssl
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mockrelay.authority import Authority

CIPHER_SUITES: Final = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
RENEWED_BEFORE: Final = datetime.timedelta(days=30)
_LOOKED_AGAIN_AFTER: Final = datetime.timedelta(seconds=30)
MAX_ASKED_NAMES: Final = 100
"""So many names that a client asks for, beyond those known at the start, get into the certificate."""

_log = logging.getLogger("mockrelay")

Now = Callable[[], datetime.datetime]


def utc_now() -> datetime.datetime:
    """The system's time."""
    return datetime.datetime.now(datetime.UTC)


class TlsError(Exception):
    """Certificate files that cannot be made or used; the message names the file and the remedy."""


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The server's order counts, not the client's. Suites of TLS 1.3 cannot be set by Python before 3.15: they are
    # OpenSSL's own, whose default is the specification's list; a configuration of OpenSSL that says otherwise shows.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    set_suites = getattr(context, "set_ciphersuites", None)
    if set_suites is not None:
        set_suites(":".join(CIPHER_SUITES))
    offered = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"]
    if offered != list(CIPHER_SUITES):
        raise TlsError(
            f"this OpenSSL offers {', '.join(offered)} for TLS 1.3, not the specification's {', '.join(CIPHER_SUITES)}"
            "; see `Ciphersuites` in its openssl.cnf, or use another Python"
        )
    return context


def server_context(cert_file: str, key_file: str) -> ssl.SSLContext:
    """A context for TLS 1.3 with the specification's suites. Raises TlsError."""
    context = _bare_context()
    for path in (cert_file, key_file):
        if not os.path.isfile(path):
            raise TlsError(f"{path}: no such file")
    try:
        context.load_cert_chain(cert_file, key_file)
    except ssl.SSLError as error:
        raise TlsError(f"{cert_file}, {key_file}: not a certificate and its key in PEM ({error.reason})") from None
    except OSError as error:
        raise TlsError(f"{error.filename or cert_file}: {error.strerror}") from None
    return context


def context_of(chain: bytes, key: bytes) -> ssl.SSLContext:
    """As ``server_context``, from memory: Python's ssl reads files alone, so one exists for a moment."""
    context = _bare_context()
    try:
        descriptor, name = tempfile.mkstemp(prefix="mockrelay-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(key + chain)
            context.load_cert_chain(name)
        finally:
            os.unlink(name)
    except OSError as error:
        place = error.filename or tempfile.gettempdir()
        raise TlsError(f"{place}: {error.strerror}; TMPDIR names another folder for short-lived files") from None
    return context


class DevelopmentTls:
    """Server certificates by the development authority, as they are needed."""

    def __init__(
        self,
        names: Callable[[], Iterable[str]],
        folder: str | None = None,
        *,
        is_admitted: Callable[[str], bool] = lambda name: False,
        now: Now = utc_now,
    ) -> None:
        """``names``: what the relay is reached by, asked again now and then. ``is_admitted``: whether another name
        that a client asks for (SNI) gets into the certificate too. ``folder`` of the authority; None: one that is gone
        with ``close``. Raises TlsError.
        """
        # Its cryptography takes a while to load, and not every relay serves TLS.
        from mockrelay.authority import authority_in, is_covered

        self._names = names
        self._is_covered = is_covered
        self._is_admitted = is_admitted
        self._now = now
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._asked: dict[str, None] = {}
        try:
            if folder is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="mockrelay-ca-")
                folder = self._temporary.name
            self.authority: Authority = authority_in(Path(folder), now)
            self._renew(self._wanted())
        except BaseException:
            self.close()
            raise
        self.context = self._current
        """For the servers; at a handshake it gives way to the one then right."""
        self.context.sni_callback = self._choose

    @property
    def cert_file(self) -> str:
        """The authority's certificate, for clients to trust."""
        return self.authority.cert_file

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate."""
        return self.authority.fingerprint

    def uncovered(self) -> list[str]:
        """The names for which the authority may not vouch; they need ``--tls-cert``."""
        return [name for name in dict.fromkeys(self._names()) if not self._is_covered(name)]

    def close(self) -> None:
        """Remove the authority, where it was to last no longer than this."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def _wanted(self) -> tuple[str, ...]:
        self._looked = self._now()
        return tuple(name for name in dict.fromkeys((*self._names(), *self._asked)) if self._is_covered(name))

    def _renew(self, names: tuple[str, ...]) -> None:
        chain, key, ends = self.authority.issue(names, self._now())
        self._current = context_of(chain, key)
        self._holds, self._ends = names, ends

    def _choose(self, connection: Any, name: str | None, _context: ssl.SSLContext) -> None:
        """At a ClientHello: the certificate that is right now, or, where none can be made, the one before."""
        try:
            self._look(name)
        except TlsError as error:
            _log.warning("the development certificate was not renewed: %s", error)
        if connection.context is not self._current:
            connection.context = self._current

    def _look(self, name: str | None) -> None:
        if name is not None and len(self._asked) < MAX_ASKED_NAMES:
            name = name.lower()
            if name not in self._holds and self._is_covered(name) and self._is_admitted(name):
                self._asked[name] = None
                self._renew(self._wanted())
        now = self._now()
        if not self._looked <= now < self._looked + _LOOKED_AGAIN_AFTER:
            wanted = self._wanted()
            if wanted != self._holds or self._ends - now < RENEWED_BEFORE:
                self._renew(wanted)
