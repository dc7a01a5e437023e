"""Who a terminal session is, and how names become addresses and back.

With the relay's admin token, names are the relay's: a user that its tools made is taken over with its key and first
device, an unknown name is registered. Without it, a name's key is derived from the name alone, so that everybody who
runs ``mockrelay connect`` knows everybody else's address; ``POST /api/token`` registers such a user in profile ``dev``
(R-3.5). Such a key is no secret, which suits a relay where nothing is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from mockrelay.control_client import ControlClient, ControlError
from mockrelay.people import MAX_NAME_CHARACTERS
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.identity import address_of, token_signed_data
from zentalk_sim.protocol.upgrade import PATH

_ADDRESS_CHARACTERS: Final = 42


class ConnectError(Exception):
    """What a person has to put right; one line."""


@dataclass(frozen=True)
class Who:
    """An identity on one device, and where its relay is."""

    name: str
    address: str
    device_id: str
    token: str = field(repr=False)
    identity_secret: bytes = field(repr=False)
    ws_url: str
    http_url: str
    tls: ssl.SSLContext | None = None


def is_address(text: str) -> bool:
    """Whether a text is an address (R-6.1) rather than a name."""
    digits = text[2:]
    return len(text) == _ADDRESS_CHARACTERS and text[:2] == "0x" and all(c in "0123456789abcdefABCDEF" for c in digits)


def secret_of_name(name: str) -> bytes:
    """The key that a name has where the relay's tools know of none."""
    return hashlib.sha256(b"mockrelay connect " + name.encode()).digest()


class Directory:
    """Names and addresses."""

    def __init__(self, control: ControlClient | None) -> None:
        """``control`` has the admin token; None: names are derived."""
        self._control = control
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._nameless: dict[str, None] = {}
        """Addresses that the relay has and its tools gave no name."""
        self._strangers: set[str] = set()

    def add(self, name: str, address: str) -> None:
        """Know a name."""
        self._addresses[name] = address
        self._names[address] = name

    def refresh(self) -> None:
        """Ask the relay anew. Raises ControlError."""
        if self._control is not None:
            for user in self._control.call("GET", "/admin/users"):
                if user["name"] is not None:
                    self.add(user["name"], user["address"])
                else:
                    self._nameless[user["address"]] = None

    async def address(self, name: str) -> str:
        """The address of a name. Raises ConnectError."""
        if is_address(name):
            return name.lower()
        if name not in self._addresses:
            derived = address_of(Ed25519().public_key(secret_of_name(name)))
            self._ask()
            if name not in self._addresses and (self._control is None or derived in self._nameless):
                self.add(name, derived)
        if name not in self._addresses:
            raise ConnectError(f"the relay knows no user named {name[:64]!r}")
        return self._addresses[name]

    def name(self, address: str) -> str:
        """The name of an address, or its beginning."""
        if address not in self._names and address not in self._strangers:
            self._strangers.add(address)
            self._ask()
        return self._names.get(address, f"{address[:10]}…")

    def _ask(self) -> None:
        # A name is nice to have: where the relay does not answer, the address serves.
        try:
            self.refresh()
        except ControlError:
            return


def introduce(
    ws_url: str,
    name: str,
    *,
    http_url: str | None = None,
    admin_token: str | None = None,
    identity_secret: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> tuple[Who, Directory]:
    """Become a user: key, device, token. Raises ConnectError."""
    if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable() or " " in name:
        raise ConnectError(f"--user: a name has 1 to {MAX_NAME_CHARACTERS} printable characters, none a space")
    ws_url, guessed = _urls(ws_url)
    http_url = (http_url or guessed).rstrip("/")
    if urlsplit(http_url).scheme not in ("http", "https"):
        raise ConnectError(f"--http-url: {http_url} is no http:// or https:// URL")
    control = ControlClient(http_url, admin_token, tls=tls) if admin_token else None
    directory = Directory(control)
    try:
        given = None if identity_secret is None else _secret(identity_secret)
        if control is None:
            secret, device_id = given or secret_of_name(name), None
        else:
            secret, device_id = _known(control, directory, name, given)
        address = address_of(Ed25519().public_key(secret))
        device_id = device_id or str(uuid.UUID(bytes=hashlib.sha256(b"device" + secret).digest()[:16], version=4))
        token = _token(ControlClient(http_url, tls=tls), secret, device_id)
    except ControlError as error:
        raise ConnectError(_remedy(error, http_url, name)) from None
    directory.add(name, address)
    return Who(name, address, device_id, token, secret, ws_url, http_url, tls), directory


def _urls(ws_url: str) -> tuple[str, str]:
    """The WebSocket URL without its query, and the HTTP URL that usually goes with it. Raises ConnectError."""
    parts = urlsplit(ws_url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("ws", "wss") or not parts.hostname or not parts.path.endswith(PATH) or port == 0:
        raise ConnectError(f"{ws_url[:200]} is no WebSocket URL of a relay, such as ws://127.0.0.1:8765{PATH}")
    scheme = "https" if parts.scheme == "wss" else "http"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    beside = host if port is None else f"{host}:{port + 1}"
    return f"{parts.scheme}://{parts.netloc}{parts.path}", f"{scheme}://{beside}{parts.path.removesuffix(PATH)}"


def _secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != 32:
        raise ConnectError("--identity-secret: must be 32 bytes in base64, as `mockrelay serve --json` prints them")
    return secret


def _known(control: ControlClient, directory: Directory, name: str, given: bytes | None) -> tuple[bytes, str | None]:
    """Key and first device of a user that the relay's tools know, or of one registered now. Raises ControlError."""
    directory.refresh()
    user: dict[str, Any] | None = None
    for entry in control.call("GET", "/admin/users"):
        if entry["name"] == name:
            user = control.call("GET", f"/admin/users/{entry['address']}")
    if user is None:
        secret = given or secret_of_name(name)
        key = base64.b64encode(Ed25519().public_key(secret)).decode()
        made = control.call("POST", "/admin/users", {"name": name, "identity_key": key})
        return secret, made["devices"][0]["device_id"]
    held = user.get("identity_secret")
    secret = given or (base64.b64decode(held) if held else secret_of_name(name))
    if base64.b64encode(Ed25519().public_key(secret)).decode() != user["identity_key"]:
        remedy = "give its key by --identity-secret, or choose another name"
        raise ConnectError(f"--user: {name} is registered with a key that is not here; {remedy}")
    devices = user.get("devices") or []
    return secret, devices[0]["device_id"] if devices else None


def _token(control: ControlClient, secret: bytes, device_id: str) -> str:
    """R-3.3. Raises ControlError."""
    crypto, timestamp = Ed25519(), time.time_ns() // 1_000_000
    body = {
        "identity_key": base64.b64encode(crypto.public_key(secret)).decode(),
        "device_id": device_id,
        "timestamp": timestamp,
        "signature": base64.b64encode(crypto.sign(secret, token_signed_data(device_id, timestamp))).decode(),
    }
    token: str = control.call("POST", "/api/token", body)["token"]
    return token


def _remedy(error: ControlError, http_url: str, name: str) -> str:
    if error.status == 0:
        return f"{error}; is it running, and is --http-url right?"
    if error.status == 401 and "/admin" in str(error):
        return f"the admin token is not that of the relay at {http_url}"
    if error.status == 401:
        return f"the relay admits no unknown user {name}; give the admin token, or --identity-secret of a known user"
    return str(error)
