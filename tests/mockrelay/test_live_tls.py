"""R-12.3: TLS 1.3 alone, the specification's suites in its order, on both ports, by the development authority."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mockrelay.authority import authority_in, utc_now
from mockrelay.server import MockRelay
from mockrelay.tls import CIPHER_SUITES, TlsError, server_context
from tests.mockrelay.live_support import connected, run, serving, trusting
from zentalk_sim.live.http import HttpError, request
from zentalk_sim.trace.har import to_har

_CLIENT = """
import socket, ssl, sys
host, port, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
with socket.create_connection((host, int(port)), timeout=10) as plain:
    with context.wrap_socket(plain, server_hostname=host) as secured:
        print(secured.version(), secured.cipher()[0], ",".join(name for name, _, _ in secured.shared_ciphers() or ()))
"""


async def another_python(code: str, *arguments: str, suites: str, folder: Path) -> tuple[str, str]:
    """What another Python prints whose OpenSSL offers these suites of TLS 1.3, in this order."""
    (folder / "openssl.cnf").write_text(
        f"openssl_conf = conf\n[conf]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\nCiphersuites = {suites}\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *arguments,
        env={"OPENSSL_CONF": str(folder / "openssl.cnf")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return out.decode(), err.decode()


@pytest.mark.requirement("R-12.3")
def test_a_client_that_trusts_the_authority_must_connect_by_tls_1_3() -> None:
    async def body() -> None:
        async with serving("alice", "bob", tls=True) as relay:
            assert relay.ws_url.startswith("wss://")
            context = trusting(relay)
            async with connected(relay, "alice", ssl=context) as alice, connected(relay, "bob", ssl=context) as bob:
                found = alice.ws.transport.get_extra_info("ssl_object")
                assert found.version() == "TLSv1.3"
                assert found.cipher()[0] == CIPHER_SUITES[0]
                await alice.message(bob.user, b"over TLS")
                assert (await bob.until("MESSAGE_NEW"))["payload"]["from"] == alice.user.address
            status, _ = await request(f"{relay.http_url}/health", "GET", tls=context)
            assert status == 200
        assert relay.development_tls is not None
        assert not Path(relay.development_tls.cert_file).exists()

    run(body())


def test_a_recording_must_say_that_its_clients_came_by_tls(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"

    async def body() -> MockRelay:
        async with serving("alice", tls=True, record=str(path)) as relay:
            async with connected(relay, "alice", ssl=trusting(relay)):
                pass
            await request(f"{relay.http_url}/api/messages", "GET", tls=trusting(relay))
        return relay

    relay = run(body())
    socket, call = (urlsplit(entry["request"]["url"]) for entry in to_har(path)["log"]["entries"])
    assert socket._replace(query="").geturl() == relay.ws_url
    assert call.geturl() == f"{relay.http_url}/api/messages"
    assert (socket.scheme, call.scheme) == ("wss", "https")


@pytest.mark.requirement("R-12.3")
def test_a_kept_authority_must_serve_relay_after_relay_under_every_local_name(tmp_path: Path) -> None:
    async def body() -> None:
        context = ssl.create_default_context(cafile=authority_in(tmp_path).cert_file)
        for _ in range(2):
            async with serving("alice", tls=True, ca_dir=str(tmp_path)) as relay:
                assert relay.start_message()["ca_file"] == str(tmp_path / "ca.pem")
                port = relay.http_url.rpartition(":")[2]
                for name in ("localhost", "relay.zentalk.network", "app.localhost", "10.0.2.2"):
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", int(port), ssl=context, server_hostname=name
                    )
                    writer.write(f"GET /health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                    answer = await reader.read()
                    assert answer.startswith(b"HTTP/1.1 200 ")
                    assert (b"strict-transport-security" in answer) == (name == "relay.zentalk.network")
                    writer.close()
        assert (tmp_path / "ca.pem").exists(), "it stays for the next relay"

    run(body())


@pytest.mark.requirement("R-12.3")
def test_tls_1_2_must_be_refused() -> None:
    async def body() -> None:
        async with serving("alice", tls=True) as relay:
            old = trusting(relay)
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            for url in (relay.http_url, relay.ws_url.replace("wss", "https")):
                with pytest.raises(HttpError, match=r"health: ."):
                    await request(f"{url}/health", "GET", tls=old)

    run(body())


@pytest.mark.requirement("R-12.3")
def test_a_connection_over_tls_must_flush_its_close() -> None:
    async def body() -> None:
        async with serving("alice", tls=True) as relay, connected(relay, "alice", ssl=trusting(relay)) as alice:
            await relay.stop()
            await alice.ws.wait_closed()
            assert alice.ws.close_code == 1001

    run(body())


@pytest.mark.requirement("R-12.3")
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((2, 1, 0), 0),
        ((2, 1), 1),
        ((2,), 2),
    ],
)
def test_the_suite_must_be_the_first_of_the_specification_that_the_client_has(
    tmp_path: Path, offered: tuple[int, ...], chosen: int
) -> None:
    async def body() -> None:
        async with serving("alice", tls=True) as relay:
            assert relay.development_tls is not None
            for url in (relay.ws_url, relay.http_url):
                host, port = url.split("/")[2].split(":")
                suites = ":".join(CIPHER_SUITES[index] for index in offered)
                out, err = await another_python(
                    _CLIENT, host, port, relay.development_tls.cert_file, suites=suites, folder=tmp_path
                )
                assert out.split()[:2] == ["TLSv1.3", CIPHER_SUITES[chosen]], err

    run(body())


@pytest.mark.requirement("R-12.3")
def test_an_openssl_with_other_suites_must_not_be_served_with(tmp_path: Path) -> None:
    code = "import mockrelay.tls as t\nhasattr(t.ssl.SSLContext, 'set_ciphersuites') or t._bare_context()"
    code += "\nprint([c['name'] for c in t._bare_context().get_ciphers()][:3])"
    for suites in (CIPHER_SUITES[2:], tuple(reversed(CIPHER_SUITES))):
        out, err = asyncio.run(another_python(code, suites=":".join(suites), folder=tmp_path))
        if hasattr(ssl.SSLContext, "set_ciphersuites"):
            assert json.loads(out.replace("'", '"')) == list(CIPHER_SUITES)
        else:
            assert f"this OpenSSL offers {', '.join(suites)} for TLS 1.3" in err
            assert "openssl.cnf" in err


@pytest.mark.requirement("R-12.3")
def test_the_context_must_offer_the_three_suites_and_no_older_version(tmp_path: Path) -> None:
    authority = authority_in(tmp_path / "ca")
    for name in ("cert", "other"):
        chain, key, _ = authority.issue(["localhost", "127.0.0.1"], utc_now())
        (tmp_path / f"{name}.pem").write_bytes(chain)
        (tmp_path / f"{name}-key.pem").write_bytes(key)
    (tmp_path / "text.pem").write_text("no PEM")
    context = server_context(str(tmp_path / "cert.pem"), str(tmp_path / "cert-key.pem"))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    names = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"]
    assert names == list(CIPHER_SUITES)
    for cert_file, key_file in (
        ("cert.pem", "other-key.pem"),
        ("text.pem", "cert-key.pem"),
        ("cert.pem", "none.pem"),
    ):
        with pytest.raises(TlsError, match=r"\.pem"):
            server_context(str(tmp_path / cert_file), str(tmp_path / key_file))
