"""docs/testing-your-app.md and examples/: every snippet that can run here is run, the others are checked for form."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

import mockrelay.server
import mockrelay.testing  # noqa: F401
from mockrelay.serve_cli import _config
from tests.plugin.test_pytest_plugin import PLUGIN
from zentalk_sim.protocol.upgrade import host_admitted

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "testing-your-app.md").read_text()
JS = ROOT / "examples" / "js"
PATIENCE_S = 60
APP = """
import pytest
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from tests.plugin.plugin_support import app
from websockets.exceptions import ConnectionClosed


class MyApp:
    '''A stand-in for an app: sends again until acknowledged, over a new connection where one is lost.'''

    def __init__(self, user):
        self.user = user
        with app(user):
            pass

    def send(self, to, text):
        Thread(target=self._send, args=(to, text.encode())).start()

    def _send(self, to, data):
        for _ in range(3):
            try:
                with app(self.user) as connection:
                    connection.message(to, data)
                    connection.until("MESSAGE_ACK")
                    return
            except ConnectionClosed:
                pass


class StayingApp(MyApp):
    def __init__(self, user):
        self.user = user
        self.context = app(user)
        self.connection = self.context.__enter__()

    def send(self, to, text):
        self.connection.message(to, text.encode())


@pytest.fixture
def my_app(mock_relay, request):
    started = []

    def start(url):
        device_id = parse_qs(urlsplit(url).query)["device_id"][0]
        user = next(user for user in mock_relay._users.values() if user.device_id == device_id)
        kind = MyApp if "lost" in request.node.name else StayingApp
        started.append(kind(user))
        return started[-1]

    yield start
    for one in started:
        if isinstance(one, StayingApp):
            one.context.__exit__(None, None, None)
"""


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, their common indentation taken off."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", TEXT, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


def node(*arguments: str, folder: Path = JS) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MOCKRELAY": f"{sys.executable} -m mockrelay"}
    environment.pop("MOCKRELAY_ADMIN_TOKEN", None)
    # Node 20 has the standard WebSocket behind this flag, later ones without it.
    command = ["node", "--experimental-websocket", "--disable-warning=ExperimentalWarning", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


# --- the document ------------------------------------------------------------------------------------


def test_every_snippet_must_be_of_a_kind_that_is_checked_here() -> None:
    languages = re.findall(r"^ *```(\w+)$", TEXT, re.MULTILINE)
    assert sorted(set(languages)) == ["js", "python", "sh", "text", "xml"]
    assert len(blocks("python")) == languages.count("python") == 5


def test_the_snippets_for_pytest_must_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(APP)
    tests = [block for block in blocks("python") if "def test_" in block]
    pytester.makepyfile(**{f"test_snippet_{number}": block for number, block in enumerate(tests)})
    result = pytester.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=len(tests))


def test_the_snippet_without_pytest_must_run(capsys: pytest.CaptureFixture[str]) -> None:
    (script,) = [block for block in blocks("python") if "def test_" not in block]
    exec(compile(script, "snippet", "exec"), {})
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/spaces/\w+/ws/v1 0x[0-9a-f]{40}\n", capsys.readouterr().out)


@pytest.mark.needs("node")
def test_the_snippet_for_javascript_must_pass(tmp_path: Path) -> None:
    for name in ("relay.mjs", "zentalk.mjs"):
        shutil.copy(JS / name, tmp_path)
    (script,) = blocks("js")
    (tmp_path / "snippet.mjs").write_text(script)
    result = node("snippet.mjs", folder=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pass 1" in result.stdout


def served() -> list[list[str]]:
    """Every ``mockrelay serve`` of the document, in a block or in the table, without its ports."""
    found = [line for block in blocks("sh") for line in block.splitlines()]
    found += re.findall(r"`(mockrelay serve[^`]*)`", TEXT)
    assert all(line.startswith("mockrelay serve") for line in found)
    return [shlex.split(line)[2:] for line in dict.fromkeys(found)]


@pytest.mark.parametrize("arguments", served(), ids=" ".join)
def test_every_serve_of_the_document_must_start(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "mockrelay", "serve", *arguments, "--port", "0", "--http-port", "0", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as relay:
        assert relay.stdout is not None
        start = json.loads(relay.stdout.readline())
        relay.terminate()
        relay.wait(PATIENCE_S)
    assert start["ws_url"].endswith("/ws/v1")


def test_every_url_of_the_table_must_be_admitted_by_what_starts_the_relay_beside_it() -> None:
    rows = re.findall(
        r"^\| .*?`ws://([^/`]+)/ws/v1`.*?`http://([^/`]+)`.*`(mockrelay serve[^`]*)`.*\|$", TEXT, re.MULTILINE
    )
    assert len(rows) == 8
    for ws_host, http_host, command in rows:
        words = shlex.split(command)
        named = tuple(words[at + 1] for at, word in enumerate(words) if word == "--allow-host")
        for host in (ws_host, http_host):
            assert host_admitted(host, _config("dev", named, ()).upgrade), f"{host} with {command}"
            assert not named or not host_admitted(host, _config("dev", (), ()).upgrade), "the flag is needed"


def test_the_xml_must_be_well_formed() -> None:
    (block,) = blocks("xml")
    named = [domain.text for domain in ET.fromstring(block).iter("domain")]
    assert named == ["10.0.2.2", "localhost", "192.168.1.20"]


# --- the examples ------------------------------------------------------------------------------------

EXCHANGED = "bob got: hello bob\nverified: 1 MESSAGE_SEND by alice\n"


def test_the_python_example_must_exchange_and_verify_a_message() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MOCKRELAY_ADMIN_TOKEN", None)
    script = ROOT / "examples" / "python" / "exchange.py"
    result = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, EXCHANGED, "")


@pytest.mark.needs("node")
def test_the_javascript_example_must_exchange_and_verify_a_message() -> None:
    result = node("exchange.mjs")
    assert (result.returncode, result.stdout, result.stderr) == (0, EXCHANGED, "")


@pytest.mark.needs("node")
def test_the_example_for_ws_must_hand_that_packages_class_to_the_same_code(tmp_path: Path) -> None:
    """The package is stood in for by Node's own WebSocket: what is checked is our side; CI runs the package itself."""
    for source in JS.glob("*.mjs"):
        shutil.copy(source, tmp_path)
    package = tmp_path / "node_modules" / "ws"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "ws", "type": "module", "exports": "./index.mjs"}')
    (package / "index.mjs").write_text("console.log('ws'); export const WebSocket = globalThis.WebSocket;\n")
    result = node("exchange_ws.mjs", folder=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "ws\n" + EXCHANGED, "")


@pytest.mark.needs("node")
def test_a_relay_that_refuses_must_be_heard_in_javascript(tmp_path: Path) -> None:
    for name in ("relay.mjs", "zentalk.mjs"):
        shutil.copy(JS / name, tmp_path)
    (tmp_path / "failing.mjs").write_text(
        'import { startRelay } from "./relay.mjs";\n'
        'import { Client } from "./zentalk.mjs";\n'
        'const relay = await startRelay("--user", "alice");\n'
        'const stranger = { ...relay.user("alice"), token: "none" };\n'
        "await Client.connect(relay.ws_url, stranger).catch((error) => console.log(error.message));\n"
        'await relay.verify({ type: "MESSAGE_SENT" }).catch((error) => console.log(error.message));\n'
        'await relay.verify({ type: "MESSAGE_SEND" }).catch((error) => console.log(error.message));\n'
        "await relay.stop();\n"
        'await startRelay("--no-such-option").catch((error) => console.log(error.message));\n'
    )
    result = node("failing.mjs", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    first, *rest = result.stdout.splitlines()
    assert first.startswith("closed with 4000")
    text = "\n".join(rest)
    assert "MESSAGE_SEND" in text
    assert '"nearest"' in text
    assert rest[-1] == "mockrelay ended with 2"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)


@pytest.mark.needs("node")
def test_the_page_for_browsers_must_be_whole(tmp_path: Path) -> None:
    """Its script parses, names only elements that there are, and imports only what is beside it."""
    page = _Page()
    page.feed((JS / "browser.html").read_text())
    (script,) = page.scripts
    (tmp_path / "page.mjs").write_text(script)
    assert node("--check", "page.mjs", folder=tmp_path).returncode == 0
    used = re.findall(r'element\("(\w+)"\)', script)
    assert set(used) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert [name for name in re.findall(r'from "\./([^"]+)"', script) if not (JS / name).is_file()] == []
