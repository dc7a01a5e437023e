"""R-3.5 as a newcomer meets it: in profile ``dev`` every usual client connects without a flag.

Whoever is refused is told the setting that would admit it, and that setting does.
"""

from __future__ import annotations

import asyncio
import json
import re

import httpx
import pytest
from click import Context

from mockrelay.flag_checks import check_origins
from mockrelay.serve_cli import _config, serve
from mockrelay.server import MockRelay, Options
from tests.mockrelay.live_support import PATIENCE_S, raw, run, target_of, upgrade_bytes


def serving(profile: str, *, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()) -> MockRelay:
    """As ``mockrelay serve`` with these flags."""
    config = _config(profile, hosts, check_origins(Context(serve), serve.params[0], origins))
    return MockRelay(Options(config=config, port=0, http_port=0, users=("alice",), seed=7))


async def upgraded(relay: MockRelay, **headers: str | None) -> tuple[int, dict[str, str]]:
    """The status of an upgrade, and the body of a refusal."""
    async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice"), **headers)) as peer:
        status, fields = await peer.head()
        body = {} if status == 101 else json.loads(await peer.reader.readexactly(int(fields["content-length"])))
    return status, body


CLIENTS = {
    "the iOS simulator": ("localhost:8765", None),
    "the Android emulator": ("10.0.2.2:8765", None),
    "Genymotion": ("10.0.3.2:8765", None),
    "a phone on the LAN": ("192.168.1.20:8765", None),
    "a phone on the LAN, by IPv6": ("[fd12:3456::7]:8765", None),
    "a container, by Docker's name of the host": ("host.docker.internal:8765", None),
    "a container, by Podman's name of the host": ("host.containers.internal:8765", None),
    "a container, by the bridge": ("172.17.0.1:8765", None),
    "a container beside one named mockrelay": ("mockrelay:8765", None),
    "a web app on a development port": ("localhost:8765", "http://localhost:5173"),
    "a web app on 127.0.0.1": ("127.0.0.1:8765", "http://127.0.0.1:3000"),
    "a web app with a name of its own": ("api.app.localhost:8765", "https://app.localhost:8443"),
    "an app in a Capacitor shell": ("10.0.2.2:8765", "capacitor://localhost"),
    "an app in a Capacitor shell on Android": ("10.0.2.2:8765", "https://localhost"),
    "the web app as released": ("relay.zentalk.network", "https://app.zentalk.network"),
}


@pytest.mark.requirement("R-3.5")
def test_in_dev_every_usual_client_must_connect_without_a_flag() -> None:
    async def body() -> None:
        async with serving("dev") as relay, httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
            admin = {"Authorization": f"Bearer {relay.admin_token}"}
            for who, (host, origin) in CLIENTS.items():
                assert await upgraded(relay, host=host, origin=origin) == (101, {}), who
                headers = {"Host": host, **({} if origin is None else {"Origin": origin})}
                asked = {"Authorization": f"Bearer {relay.users[0].token}", **headers}
                answer = await client.get(f"{relay.http_url}/api/settings", headers=asked)
                assert answer.status_code == 200, who
                assert answer.headers.get("access-control-allow-origin") == origin, who
                answer = await client.get(f"{relay.http_url}/admin/stats", headers={**admin, "Host": host})
                assert answer.status_code == 200, who

    run(body())


REFUSED = [
    ("dev", "relay.example.com:8765", None, 421, "--allow-host relay.example.com"),
    ("dev", "backend:8765", None, 421, "--allow-host backend"),
    ("dev", "localhost.example.com", None, 421, "--allow-host localhost.example.com"),
    ("dev", "localhost", "https://dev.example.org", 403, "--allow-origin https://dev.example.org"),
    ("dev", "localhost", "http://192.168.1.20:5173", 403, "--allow-origin http://192.168.1.20:5173"),
    ("dev", "localhost", "null", 403, "--allow-origin null"),
    ("spec", "localhost:8765", None, 421, "--allow-host localhost"),
    ("spec", "10.0.2.2:8765", None, 421, "--allow-host 10.0.2.2"),
    ("spec", "host.docker.internal:8765", None, 421, "--allow-host host.docker.internal"),
    ("spec", "[::1]:8765", None, 421, "--allow-host ::1"),
    ("spec", "relay.zentalk.network", "http://localhost:5173", 403, "--allow-origin http://localhost:5173"),
]


@pytest.mark.requirement("R-3.5")
@pytest.mark.parametrize(("profile", "host", "origin", "status", "remedy"), REFUSED)
def test_a_refusal_must_name_the_setting_and_the_setting_must_admit(
    profile: str, host: str, origin: str | None, status: int, remedy: str
) -> None:
    async def body() -> None:
        async with serving(profile) as relay:
            refused, answer = await upgraded(relay, host=host, origin=origin)
            assert refused == status
            assert f"{remedy} would admit it" in answer["message"]
        found = re.search(r"--allow-(host|origin) (\S+) would admit it", answer["message"])
        assert found is not None
        named = {"hosts" if found[1] == "host" else "origins": (found[2],)}
        async with serving(profile, **named) as relay:
            assert await upgraded(relay, host=host, origin=origin) == (101, {})

    run(body())


@pytest.mark.requirement("R-3.5")
def test_the_control_api_and_cors_must_name_the_setting_too() -> None:
    async def body() -> None:
        async with serving("dev") as relay, httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
            headers = {"Host": "backend:8766", "Authorization": f"Bearer {relay.admin_token}"}
            answer = await client.get(f"{relay.http_url}/admin/stats", headers=headers)
            assert (answer.status_code, answer.json()["error_code"]) == (421, "MISDIRECTED")
            assert "--allow-host backend would admit it" in answer.json()["message"]
            headers = {"Origin": "https://dev.example.org", "Access-Control-Request-Method": "POST"}
            answer = await client.options(f"{relay.http_url}/api/token", headers=headers)
            assert (answer.status_code, answer.json()["error_code"]) == (403, "FORBIDDEN")
            assert "--allow-origin https://dev.example.org would admit it" in answer.json()["message"]

    run(body())


@pytest.mark.requirement("R-3.5")
def test_in_dev_one_address_must_hold_any_number_of_connections_and_in_spec_ten() -> None:
    async def body(profile: str, refused: int) -> None:
        async with serving(profile, hosts=("127.0.0.1",)) as relay:
            most = relay.options.config.limits.connections_per_ip
            assert not isinstance(most, str)
            users = [relay.add_user(f"user-{number}") for number in range(most.limit + 2)]
            streams = []
            for user in users:
                target = f"/ws/v1?token={user.token}&device_id={user.device_id}"
                port = int(relay.ws_url.split("/")[2].rpartition(":")[2])
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(upgrade_bytes(relay, target))
                await reader.readuntil(b"\r\n\r\n")
                streams.append((reader, writer))
            frames = [await reader.read(4096) for reader, _ in streams]
            assert sum(b"RATE_LIMITED" in frame for frame in frames) == refused
            for _, writer in streams:
                writer.close()

    run(body("dev", 0))
    run(body("spec", 2))
