"""The example page in a real browser: the browser's own WebSocket and Web Crypto against a relay."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from mockrelay.testing import RelayServer

JS = Path(__file__).parents[2] / "examples" / "js"

pytestmark = pytest.mark.needs("chromium")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def page_url() -> Iterator[str]:
    """The folder of the example on a development port, as a web app's own server would have it."""
    with ThreadingHTTPServer(("localhost", 0), partial(_Quiet, directory=str(JS))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/browser.html"
        server.shutdown()
        thread.join()


@pytest.fixture
def page() -> Iterator[Page]:
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=quiet)
        yield browser.new_page()
        browser.close()


def test_a_page_on_a_development_port_must_connect_send_and_receive(page: Page, page_url: str) -> None:
    with RelayServer() as server:
        relay = server.space(users=["alice"])
        alice = relay.user("alice")
        bot = relay.bots.add("echo")
        user = {
            "name": "alice",
            "address": alice.address,
            "device_id": alice.device_id,
            "token": alice.token,
            **{name: _base64(getattr(alice, name)) for name in ("identity_key", "identity_secret")},
        }
        page.goto(page_url)
        page.fill("#start", json.dumps({"ws_url": relay.ws_url, "users": [user]}))
        page.get_by_role("button", name="Connect").click()
        expect(page.locator("#log")).to_contain_text("connected as alice")
        page.fill("#to", bot.address)
        page.fill("#text", "hello from a page")
        page.get_by_role("button", name="Send").click()
        expect(page.locator("#log")).to_contain_text(f"{bot.address}: hello from a page")
        relay.verify(event="frame_in", type="MESSAGE_SEND", user="alice", count=1)
        relay.close()


def _base64(data: bytes | str) -> str:
    from base64 import b64encode

    return data if isinstance(data, str) else b64encode(data).decode()
