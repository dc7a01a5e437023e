"""Who may connect: the checks of the upgrade request in the order of R-3.1, and the profiles of R-3.5.

What fails here is refused with an HTTP status, and the answer says which setting would admit the request.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from zentalk_sim.protocol.config import UpgradeConfig
from zentalk_sim.protocol.errors import (
    FORBIDDEN,
    INVALID_MESSAGE,
    MISDIRECTED,
    NOT_FOUND,
    SERVICE_UNAVAILABLE,
    UNAUTHORIZED,
)
from zentalk_sim.protocol.frames import UUID_PATTERN
from zentalk_sim.protocol.upgrade_records import UpgradeRefusal as UpgradeRefusal
from zentalk_sim.protocol.upgrade_records import UpgradeRequest as UpgradeRequest

PATH: Final = "/ws/v1"
SUBPROTOCOL: Final = "zentalk.v1"
is_uuid: Final = re.compile(UUID_PATTERN).match
_is_key: Final = re.compile(r"[A-Za-z0-9+/]{22}==", re.ASCII).fullmatch
"""16 bytes in base64."""
_MAX_QUERY_FIELDS: Final = 100
_parts_of_host: Final = re.compile(
    r"\s*(?:\[[^\[\]\s:]*:[^\[\]\s]*\]|[^\[\]\s:/?#@]+)(?::([0-9]*))?\s*", re.ASCII
).fullmatch
"""An IPv6 literal in brackets or a name or IPv4 address, and a port, which may be empty (RFC 3986 §3.2.2, §3.2.3)."""
_MAX_PORT: Final = 65_535
_is_local_origin: Final = re.compile(
    r"https?://(?:(?:[a-z0-9_-]+\.)*localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII
).fullmatch
LOCAL_NETWORKS: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)
"""Loopback, private (RFC 1918, RFC 4193) and link-local. Named here, as ``is_private`` changes with the Python."""


def parse_target(target: str) -> tuple[str, dict[str, str]]:
    """Path and query of a request target (RFC 9112 §3.2); the first value of a repeated name counts.

    A query of more fields than any request has is taken as empty.
    """
    path, _, text = target.partition("?")
    try:
        if not path.startswith("/"):
            # The absolute form. The origin form is not given to urlsplit, which reads ``//x/y`` as a host and a path.
            split = urlsplit(target)
            path, text = split.path, split.query
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        return path, {}
    query: dict[str, str] = {}
    for name, value in fields:
        query.setdefault(name, value)
    return path, query


def host_name(host: str) -> str:
    """A Host header without its port, in lower case, an IPv6 literal without its brackets (RFC 9110 §7.2)."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def is_host(host: str) -> bool:
    """Whether a Host header says a host, and a port at most, as RFC 9110 §7.2 has it."""
    parts = _parts_of_host(host)
    if parts is None:
        return False
    port = (parts[1] or "").lstrip("0")
    return len(port) <= len(str(_MAX_PORT)) and int(port or 0) <= _MAX_PORT


@lru_cache(maxsize=1024)
def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def host_admitted(host: str, config: UpgradeConfig) -> bool:
    """R-3.1 and R-3.5: the named hosts, and in profile ``dev`` local names and any IP literal; none that is no host."""
    return _host_admitted(host, config.hosts, config.profile)


@lru_cache(maxsize=1024)
def _host_admitted(host: str, hosts: tuple[str, ...], profile: str) -> bool:
    if not is_host(host):
        return False
    name = host_name(host)
    if name in (host_name(h) for h in hosts):
        return True
    return profile == "dev" and (_is_local_name(name) or _is_ip(name))


def host_refusal(host: str) -> str:
    """Why a Host that is not admitted is not, in ASCII, and what would admit it."""
    if not is_host(host):
        return f"Host '{_quoted(host)}' is not a name or address and a port (RFC 9110 section 7.2)"
    name = _quoted(host_name(host))
    return f"Host '{name}' is not admitted; --allow-host {name} would admit it"


def origin_admitted(origin: str, config: UpgradeConfig) -> bool:
    """R-3.1 and R-3.5: the named origins, and in profile ``dev`` http(s) on loopback names with any port."""
    return origin in config.origins or (config.profile == "dev" and _is_local_origin(origin) is not None)


def limits_apply_to(ip: str, config: UpgradeConfig) -> bool:
    """Whether per-IP limits hold for an address: not for loopback and private ones in profile ``dev`` (R-3.5)."""
    return config.profile != "dev" or not _is_local_address(ip)


@lru_cache(maxsize=1024)
def _is_local_address(ip: str) -> bool:
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any((mapped or address) in network for network in LOCAL_NETWORKS)


def peer_ip(request: UpgradeRequest, config: UpgradeConfig) -> str:
    """The peer's IP, or the first of X-Forwarded-For where ``trust_forwarded_for`` is on."""
    forwarded = request.headers.get("x-forwarded-for") if config.trust_forwarded_for else None
    first = forwarded.partition(",")[0].strip() if forwarded else ""
    return first if _is_ip(first) else request.ip


def _offers_subprotocol(header: str) -> bool:
    return header == SUBPROTOCOL or SUBPROTOCOL in [part.strip() for part in header.split(",")]


def _quoted(text: str, most: int = 200) -> str:
    """What a peer sent, fit to stand in an answer: cut, and in ASCII."""
    return text[:most].encode("ascii", "backslashreplace").decode()


def check_upgrade(request: UpgradeRequest, config: UpgradeConfig, connections: int) -> UpgradeRefusal | None:
    """The first rule of R-3.1 that the request breaks, or None. ``connections``: how many the relay has now."""
    headers, query = request.headers, request.query
    if request.path != PATH:
        return UpgradeRefusal(404, NOT_FOUND, f"no WebSocket at {_quoted(request.path)}; connect to {PATH}")
    if headers.get("sec-websocket-version", "").strip() != "13":
        return UpgradeRefusal(400, INVALID_MESSAGE, "Sec-WebSocket-Version must be 13 (RFC 6455 §4.2.1)")
    if _is_key(headers.get("sec-websocket-key", "").strip()) is None:
        return UpgradeRefusal(400, INVALID_MESSAGE, "Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455 §4.2.1)")
    host = headers.get("host", "")
    if not host_admitted(host, config):
        return UpgradeRefusal(421, MISDIRECTED, host_refusal(host))
    origin = headers.get("origin")
    if origin is not None and not origin_admitted(origin, config):
        name = _quoted(origin)
        return UpgradeRefusal(403, FORBIDDEN, f"Origin '{name}' is not admitted; --allow-origin {name} would admit it")
    if not _offers_subprotocol(headers.get("sec-websocket-protocol", "")):
        return UpgradeRefusal(400, INVALID_MESSAGE, f"Sec-WebSocket-Protocol must offer {SUBPROTOCOL}")
    if not query.get("token"):
        return UpgradeRefusal(401, UNAUTHORIZED, "query parameter token is missing; POST /api/token issues one")
    if not query.get("device_id"):
        return UpgradeRefusal(400, INVALID_MESSAGE, "query parameter device_id is missing")
    if not is_uuid(query["device_id"]):
        return UpgradeRefusal(400, INVALID_MESSAGE, "query parameter device_id must be a UUID")
    if query.get("protocol_version", "1") != "1":
        return UpgradeRefusal(400, INVALID_MESSAGE, "query parameter protocol_version must be 1")
    if connections >= config.max_connections:
        return UpgradeRefusal(
            503,
            SERVICE_UNAVAILABLE,
            f"the relay holds its most connections; upgrade.max_connections ({config.max_connections}) raises it",
            config.retry_after_s,
        )
    return None
