"""A relay in a thread that can be stopped and started anew on its ports, apps that talk to it, and a page of it."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from nacl.signing import SigningKey
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from mockrelay.control_client import ControlClient
from mockrelay.http.inspector_routes import inspector_url
from mockrelay.server import MockRelay, Options
from mockrelay.testing import RelaySpace, RelayUser
from zentalk_sim.protocol.config import RelayConfig

T = TypeVar("T")
Json = dict[str, Any]
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_S = 15
WATCH = """
window.ran = 0;
window.violations = [];
addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.sample}`);
});
"""
"""Before the page's own scripts: ``ran`` is what hostile text would set, ``violations`` what the policy stopped."""


class LiveRelay:
    """A relay in a thread with an event loop of its own."""

    def __init__(self, **options: Any) -> None:
        config = msgspec.convert({"upgrade": {"profile": "dev"}}, RelayConfig)
        self._options: Json = {"config": config, "port": 0, "http_port": 0, **options}
        self.ws_url = self.http_url = self.admin_token = ""

    def start(self) -> None:
        """Serve."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S), "the relay did not start"

    def stop(self) -> None:
        """An orderly stop."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the relay did not stop"

    def start_again(self) -> None:
        """Another relay on the same ports, with the same token."""
        ports = [int(url.split(":")[2].split("/")[0]) for url in (self.ws_url, self.http_url)]
        self._options |= {"port": ports[0], "http_port": ports[1], "admin_token": self.admin_token}
        self.start()

    def within(self, work: Callable[[MockRelay], T]) -> T:
        """Call in the relay's own loop."""

        async def called() -> T:
            return work(self._relay)

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(PATIENCE_S)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with MockRelay(Options(**self._options)) as self._relay:
            relay = self._relay
            self.ws_url, self.http_url, self.admin_token = relay.ws_url, relay.http_url, relay.admin_token
            self._ready.set()
            await self._stop.wait()

    @property
    def url(self) -> str:
        """The inspector's address, as the relay announces it."""
        return inspector_url(self.http_url, self.admin_token)

    def space(self, *users: str, **asked: Any) -> RelaySpace:
        """A relay of its own."""
        control = ControlClient(self.http_url, self.admin_token)
        made = control.call("POST", "/admin/spaces", {"seed": 7, "users": list(users), **asked})
        return RelaySpace(control, self.admin_token, made)


class App:
    """An app: one user's raw connection, written from the specification."""

    def __init__(self, user: RelayUser, ws: ClientConnection) -> None:
        self.user = user
        self.ws = ws

    def until(self, kind: str) -> Json:
        """The next frame of this type."""
        while True:
            data = self.ws.recv(PATIENCE_S)
            frame: Json = json.loads(data) if isinstance(data, str) else {"type": "MESSAGE_NEW"}
            if frame["type"] == kind:
                return frame

    def send(self, kind: str, payload: Json) -> str:
        frame_id, now_ms = str(uuid.uuid4()), self._now_ms
        self.ws.send(json.dumps({"type": kind, "id": frame_id, "timestamp": now_ms, "payload": payload}))
        return frame_id

    def authenticate(self) -> App:
        """R-4.1; the relay's own time serves as the app's."""
        challenge = self.until("AUTH_CHALLENGE")["payload"]
        self._now_ms = challenge["server_time"]
        signed = b64decode(challenge["challenge"]) + struct.pack(">Q", self._now_ms)
        signed += uuid.UUID(self.user.device_id).bytes + struct.pack(">Q", self._now_ms)
        signature = SigningKey(self.user.identity_secret).sign(signed).signature
        self.send(
            "AUTH_RESPONSE",
            {
                "identity_key": b64encode(self.user.identity_key).decode(),
                "device_id": self.user.device_id,
                "signature": b64encode(signature).decode(),
                "client_time": self._now_ms,
            },
        )
        self.until("AUTH_SUCCESS")
        return self

    def message(self, to: RelayUser, text: bytes = b"hello") -> str:
        nonce = b64encode(uuid.uuid4().bytes[:12]).decode()
        payload = {"to": to.address, "ciphertext": b64encode(text).decode(), "nonce": nonce, "message_type": "text"}
        return self.send("MESSAGE_SEND", payload)

    def closed(self) -> tuple[int, str]:
        """How the relay ends it."""
        with suppress(ConnectionClosed):
            while True:
                self.ws.recv(PATIENCE_S)
        code = self.ws.close_code
        return (1006 if code is None else code), self.ws.close_reason or ""


@contextmanager
def app(user: RelayUser, url: str | None = None) -> Iterator[App]:
    """An authenticated app."""
    subprotocols: Any = ["zentalk.v1"]
    with connect(url or user.url, subprotocols=subprotocols, proxy=None, ping_interval=None, close_timeout=1) as ws:
        yield App(user, ws).authenticate()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser; where it is missing the tests fail and say what to install."""
    if not CHROMIUM.exists():
        raise AssertionError(f"{CHROMIUM} is missing; the inspector's tests need Debian's package `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page at whose end no script has failed, no hostile text has run, and the policy had nothing to stop."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    context.set_default_timeout(1000 * PATIENCE_S)
    page = context.new_page()
    page.add_init_script(WATCH)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("dialog", lambda dialog: failures.append(f"a dialog: {dialog.message}"))
    try:
        yield page
        assert page.evaluate("window.violations") == []
        assert page.evaluate("window.ran") == 0
        assert failures == []
    finally:
        context.close()


def opened(page: Page, url: str) -> Page:
    """The inspector, in touch with its relay."""
    page.goto(url)
    expect(page.locator("#status")).to_have_text("● live")
    return page


def rows(page: Page, *texts: str) -> Locator:
    """The journal's rows in view that hold all of these texts."""
    found = page.locator("#frames-scroller .row:visible")
    for text in texts:
        found = found.filter(has_text=text)
    return found
