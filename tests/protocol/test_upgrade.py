"""Who may connect: the order of R-3.1, the profiles of R-3.5, the request's target."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_world import HEADERS

from zentalk_sim.protocol.config import UpgradeConfig
from zentalk_sim.protocol.upgrade import (
    UpgradeRequest,
    check_upgrade,
    host_admitted,
    host_name,
    limits_apply_to,
    origin_admitted,
    parse_target,
    peer_ip,
)

SPEC, DEV = UpgradeConfig(), UpgradeConfig(profile="dev")
UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
GOOD_QUERY = {"token": "t", "device_id": UUID, "protocol_version": "1"}

BREACHES: list[tuple[str, dict[str, Any], int, str]] = [
    ("path", {"path": "/ws/v2"}, 404, "NOT_FOUND"),
    ("version", {"headers": {"sec-websocket-version": "8"}}, 400, "INVALID_MESSAGE"),
    ("key", {"headers": {"sec-websocket-key": "c2hvcnQ="}}, 400, "INVALID_MESSAGE"),
    ("host", {"headers": {"host": "evil.example"}}, 421, "MISDIRECTED"),
    ("origin", {"headers": {"origin": "https://evil.example"}}, 403, "FORBIDDEN"),
    ("protocol", {"headers": {"sec-websocket-protocol": "chat"}}, 400, "INVALID_MESSAGE"),
    ("token", {"query": {"token": None}}, 401, "UNAUTHORIZED"),
    ("device", {"query": {"device_id": "phone"}}, 400, "INVALID_MESSAGE"),
    ("protocol_version", {"query": {"protocol_version": "2"}}, 400, "INVALID_MESSAGE"),
    ("connections", {"connections": 10_000}, 503, "SERVICE_UNAVAILABLE"),
]
"""In the order of R-3.1: name, what breaks the rule, status, error code."""

CULPRIT = {
    "path": "/ws/v2",
    "version": "Sec-WebSocket-Version",
    "key": "Sec-WebSocket-Key",
    "host": "--allow-host evil.example",
    "origin": "--allow-origin https://evil.example",
    "protocol": "zentalk.v1",
    "token": "POST /api/token",
    "device": "device_id",
    "protocol_version": "protocol_version",
    "connections": "upgrade.max_connections",
}
"""What the answer must name: the setting that would admit the request, or what to send."""


def check(*changes: dict[str, Any], config: UpgradeConfig = SPEC) -> Any:
    headers, query = dict(HEADERS), dict(GOOD_QUERY)
    path, connections = "/ws/v1", 0
    for change in changes:
        headers.update(change.get("headers", {}))
        query.update(change.get("query", {}))
        path = change.get("path", path)
        connections = change.get("connections", connections)
    present = {name: value for name, value in query.items() if value is not None}
    return check_upgrade(UpgradeRequest(path, present, headers, "203.0.113.1"), config, connections)


@pytest.mark.requirement("R-3.1")
@pytest.mark.parametrize(("name", "breach", "status", "code"), BREACHES, ids=[b[0] for b in BREACHES])
def test_a_breach_must_be_refused_with_its_status_and_a_remedy(
    name: str, breach: dict[str, Any], status: int, code: str
) -> None:
    refusal = check(breach)
    assert (refusal.status, refusal.error_code) == (status, code)
    assert CULPRIT[name] in refusal.message
    assert (refusal.retry_after_s is not None) == (status == 503)


@pytest.mark.requirement("R-3.1")
@pytest.mark.parametrize(
    ("first", "second"),
    list(itertools.combinations(BREACHES, 2)),
    ids=[f"{a[0]}-{b[0]}" for a, b in itertools.combinations(BREACHES, 2)],
)
def test_of_two_breaches_the_earlier_must_answer(first: Any, second: Any) -> None:
    """Key and version share a place in the order, and so do device_id and protocol_version."""
    refusal = check(second[1], first[1])
    assert (refusal.status, refusal.error_code) == first[2:]
    assert CULPRIT[first[0]] in refusal.message


@pytest.mark.requirement("R-3.1")
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"query": {"protocol_version": None}},
        {"query": {"device_id": UUID.upper()}},
        {"headers": {"sec-websocket-protocol": "chat , zentalk.v1"}},
        {"headers": {"origin": "https://app.zentalk.network"}},
        {"headers": {"origin": "https://zentalk.network"}},
        {"headers": {"origin": "capacitor://localhost"}},
        {"headers": {"host": "Relay.Zentalk.Network:443"}},
        {"connections": 9_999},
    ],
)
def test_what_the_specification_admits_must_be_admitted(change: dict[str, Any]) -> None:
    assert check(change) is None


@pytest.mark.requirement("R-3.1")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"path": ""}, 404),
        ({"path": "/ws/v1/"}, 404),
        ({"path": "/WS/v1"}, 404),
        ({"headers": {"sec-websocket-version": ""}}, 400),
        ({"headers": {"sec-websocket-key": ""}}, 400),
        ({"headers": {"sec-websocket-key": "é" * 24}}, 400),
        ({"headers": {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ="}}, 400),
        ({"headers": {"host": ""}}, 421),
        ({"headers": {"host": "relay.zentalk.network.evil.example"}}, 421),
        ({"headers": {"host": "localhost:8765"}}, 421),
        ({"headers": {"origin": "null"}}, 403),
        ({"headers": {"origin": ""}}, 403),
        ({"headers": {"origin": "http://app.zentalk.network"}}, 403),
        ({"headers": {"origin": "http://localhost:3000"}}, 403),
        ({"headers": {"sec-websocket-protocol": "zentalk.v10"}}, 400),
        ({"headers": {"sec-websocket-protocol": "Zentalk.v1"}}, 400),
        ({"query": {"token": ""}}, 401),
        ({"query": {"device_id": None}}, 400),
        ({"query": {"device_id": ""}}, 400),
        ({"query": {"device_id": UUID.replace("-", "")}}, 400),
        ({"query": {"device_id": UUID + "\n"}}, 400),
        ({"query": {"protocol_version": ""}}, 400),
        ({"query": {"protocol_version": "01"}}, 400),
    ],
)
def test_what_comes_close_must_be_refused(change: dict[str, Any], status: int) -> None:
    assert check(change).status == status


# --- profiles ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R-3.5")
@pytest.mark.parametrize(
    ("host", "dev"),
    [
        ("relay.zentalk.network", True),
        ("localhost", True),
        ("LOCALHOST:8765", True),
        ("a.b.localhost:1", True),
        ("127.0.0.1:8765", True),
        ("192.168.1.7", True),
        ("[::1]:8765", True),
        ("[2001:db8::1]", True),
        ("[fe80::1%25eth0]:8765", True),
        ("127.0.0.1:", True),
        ("127.0.0.1:065535", True),
        ("::1", False),
        ("[::1", False),
        ("::1]", False),
        ("[127.0.0.1]", False),
        ("[localhost]", False),
        ("127.0.0.1:x", False),
        ("127.0.0.1:65536", False),
        ("127.0.0.1:" + "9" * 5000, False),
        ("127.0.0.1:-1", False),
        ("[::1]8765", False),
        ("[::1]:x", False),
        ("localhost/", False),
        ("user@localhost", False),
        ("notlocalhost", False),
        ("localhost.evil.example", False),
        ("1.2.3", False),
        ("", False),
        ("a:b:c", False),
    ],
)
def test_hosts_of_profile_dev(host: str, dev: bool) -> None:
    assert host_admitted(host, DEV) is dev
    assert host_admitted(host, SPEC) is (host == "relay.zentalk.network")


@pytest.mark.requirement("R-3.5")
def test_an_allowed_host_must_be_admitted_in_either_profile() -> None:
    for profile in ("spec", "dev"):
        config = UpgradeConfig(profile=profile, hosts=("Staging.example:9000", "[fe80::1]"))
        assert host_admitted("staging.example", config)
        assert host_admitted("[FE80::1]:80", config)
        assert not host_admitted("relay.zentalk.network", config)


@pytest.mark.requirement("R-3.1")
@pytest.mark.parametrize("host", ["[::1", "::1", "127.0.0.1:x", "127.0.0.1:99999", "staging.example:x"])
def test_a_host_that_is_none_must_be_refused_as_such_even_where_its_name_is_allowed(host: str) -> None:
    config = UpgradeConfig(profile="dev", hosts=("staging.example", "::1"))
    refusal = check({"headers": {"host": host}}, config=config)
    assert (refusal.status, refusal.error_code) == (421, "MISDIRECTED")
    assert "--allow-host" not in refusal.message, "no setting would admit it"
    assert f"'{host}' is not a name or address" in refusal.message


def test_the_name_of_a_host_must_leave_out_port_and_brackets() -> None:
    assert [host_name(h) for h in (" A.b:80 ", "[::1]:80", "[::1", "x")] == ["a.b", "::1", "::1", "x"]


@pytest.mark.requirement("R-3.5")
@pytest.mark.parametrize(
    ("origin", "dev"),
    [
        ("http://localhost", True),
        ("https://localhost:65535", True),
        ("HTTP://LocalHost:3000", True),
        ("http://app.dev.localhost:5173", True),
        ("http://127.0.0.1:3000", True),
        ("https://[::1]:3000", True),
        ("https://app.zentalk.network", True),
        ("capacitor://localhost", True),
        ("ftp://localhost", False),
        ("http://localhost/", False),
        ("http://localhost?", False),
        ("http://localhost#", False),
        ("http://localhost:", False),
        ("http://localhost:99999999", False),
        ("http://user@localhost", False),
        ("http://:pw@localhost", False),
        ("http://evil.example#.localhost", False),
        ("http://localhost.evil.example", False),
        ("http://evillocalhost", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://127.0.0.2", False),
        ("http://192.168.1.7", False),
        ("http://localhost\n", False),
        ("null", False),
        ("", False),
    ],
)
def test_origins_of_profile_dev(origin: str, dev: bool) -> None:
    assert origin_admitted(origin, DEV) is dev
    assert origin_admitted(origin, SPEC) is (origin in SPEC.origins)


@pytest.mark.requirement("R-3.5")
@pytest.mark.parametrize(
    ("ip", "dev"),
    [
        *((ip, False) for ip in ("127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1")),
        *((ip, False) for ip in ("::1", "fd00::1", "fe80::1%eth0", "::ffff:127.0.0.1", "::ffff:10.0.0.1")),
        *((ip, True) for ip in ("203.0.113.1", "8.8.8.8", "172.32.0.1", "0.0.0.0", "2001:db8::1", "::ffff:8.8.8.8")),
        *((ip, True) for ip in ("nat-7", "")),
    ],
)
def test_per_ip_limits_must_be_off_in_dev_for_loopback_and_private_addresses(ip: str, dev: bool) -> None:
    assert limits_apply_to(ip, DEV) is dev
    assert limits_apply_to(ip, SPEC)


def test_the_forwarded_address_must_count_only_where_trusted() -> None:
    trusting = UpgradeConfig(trust_forwarded_for=True)

    def ip(forwarded: str | None, config: UpgradeConfig) -> str:
        headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
        return peer_ip(UpgradeRequest("/", {}, headers, "10.0.0.1"), config)

    assert ip(" 198.51.100.7 , 10.0.0.2", trusting) == "198.51.100.7"
    assert ip("2001:db8::1", trusting) == "2001:db8::1"
    assert ip("198.51.100.7", SPEC) == "10.0.0.1"
    assert ip("unknown", trusting) == ip("", trusting) == ip(None, trusting) == "10.0.0.1"


# --- the target --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/ws/v1", "/ws/v1", {}),
        ("/ws/v1?token=a.b&device_id=x", "/ws/v1", {"token": "a.b", "device_id": "x"}),
        ("/ws/v1?token=&token=second&x", "/ws/v1", {"token": "", "x": ""}),
        ("/ws/v1?a=%41+%zz&%62=c", "/ws/v1", {"a": "A %zz", "b": "c"}),
        ("//host/ws/v1", "//host/ws/v1", {}),
        ("http://host/ws/v1?a=b", "/ws/v1", {"a": "b"}),
        ("*", "*", {}),
        ("", "", {}),
        ("http://[/ws/v1?a=b", "http://[/ws/v1", {}),
        ("/ws/v1?" + "a=1&" * 200, "/ws/v1", {}),
    ],
)
def test_a_request_target_must_be_split_as_rfc_9112_has_it(target: str, path: str, query: dict[str, str]) -> None:
    assert parse_target(target) == (path, query)


@given(st.text(max_size=80))
def test_any_target_must_be_split(target: str) -> None:
    path, query = parse_target(target)
    assert isinstance(path, str)
    assert all(isinstance(value, str) for value in query.values())
