"""R-12.3: TLS 1.3 alone, the specification's suites, a development certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from mockrelay.server import MockRelay
from mockrelay.tls import CIPHER_SUITES, TlsError, development_certificate, server_context
from tests.mockrelay.live_support import connected, run, serving
from zentalk_sim.live.http import HttpError, request


def trusting(relay: MockRelay) -> ssl.SSLContext:
    assert relay.development_tls is not None
    return ssl.create_default_context(cafile=relay.development_tls.cert_file)


@pytest.mark.requirement("R-12.3")
def test_a_client_that_trusts_the_certificate_must_connect_by_tls_1_3() -> None:
    async def body() -> None:
        async with serving("alice", "bob", tls=True) as relay:
            assert relay.ws_url.startswith("wss://")
            context = trusting(relay)
            async with connected(relay, "alice", ssl=context) as alice, connected(relay, "bob", ssl=context) as bob:
                found = alice.ws.transport.get_extra_info("ssl_object")
                assert found.version() == "TLSv1.3"
                assert found.cipher()[0] in CIPHER_SUITES
                await alice.message(bob.user, b"over TLS")
                assert (await bob.until("MESSAGE_NEW"))["payload"]["from"] == alice.user.address
            status, _ = await request(f"{relay.http_url}/health", "GET", tls=context)
            assert status == 200
        assert relay.development_tls is not None
        assert not Path(relay.development_tls.cert_file).exists()

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
def test_the_context_must_offer_the_three_suites_and_no_older_version(tmp_path: Path) -> None:
    cert, key = development_certificate(["localhost", "127.0.0.1"])
    (tmp_path / "cert.pem").write_bytes(cert)
    (tmp_path / "key.pem").write_bytes(key)
    context = server_context(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    names = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"]
    assert names == list(CIPHER_SUITES)
    other_cert, other_key = development_certificate(["localhost"])
    (tmp_path / "other.pem").write_bytes(other_key)
    (tmp_path / "text.pem").write_text("no PEM")
    assert other_cert != cert
    for cert_file, key_file in (("cert.pem", "other.pem"), ("text.pem", "key.pem"), ("cert.pem", "none.pem")):
        with pytest.raises(TlsError, match=r"\.pem"):
            server_context(str(tmp_path / cert_file), str(tmp_path / key_file))
