"""The inspector's files: who may have them, under which policy, and what they must not hold."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hatchling.builders.wheel import WheelBuilder

from mockrelay.http.inspector_routes import files, inspector_url
from tests.inspector.inspector_support import LiveRelay

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "mockrelay" / "inspector"
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}


@pytest.fixture(scope="module")
def served() -> Iterator[LiveRelay]:
    relay = LiveRelay()
    relay.start()
    yield relay
    relay.stop()


def get(relay: LiveRelay, path: str, **headers: str) -> http.client.HTTPResponse:
    """The answer to a request without a token, its body read."""
    connection = http.client.HTTPConnection(urlsplit(relay.http_url).netloc, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers=named)
    answer = connection.getresponse()
    answer.content = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


@pytest.mark.parametrize("name", ["", *(f"inspector/{path.name}" for path in sorted(FOLDER.iterdir()))])
def test_every_file_must_come_without_a_token_under_the_strict_policy(served: LiveRelay, name: str) -> None:
    answer = get(served, f"/{name}")
    assert answer.status == 200
    assert set((answer.getheader("Content-Security-Policy") or "").split("; ")) >= POLICY
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    assert answer.getheader("Cache-Control") == "no-cache"
    same = get(served, f"/{name}", If_None_Match=str(answer.getheader("ETag")))
    assert (same.status, same.content) == (304, b"")  # type: ignore[attr-defined]


def test_a_foreign_host_must_be_refused_as_under_admin(served: LiveRelay) -> None:
    """Against DNS rebinding: the refusal names the option that would admit it."""
    for path in ("/", "/inspector/main.js", "/admin/inspector"):
        answer = get(served, path, Host="rebound.example")
        assert answer.status == 421
        assert "--allow-host rebound.example" in json.loads(answer.content)["message"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/inspector/none.js", "/inspector/", "/inspector/..%2fserver.py", "/spaces/none/"])
def test_what_is_no_file_of_it_must_be_404(served: LiveRelay, path: str) -> None:
    assert get(served, path).status == 404


def test_a_space_must_have_the_page_too_and_tell_where_apps_connect(served: LiveRelay) -> None:
    space = served.space("alice")
    assert get(served, f"/spaces/{space.id}/").status == 200
    assert get(served, f"/spaces/{space.id}").status == 200
    assert get(served, f"/spaces/{space.id}/admin/inspector").status == 401
    about = space.control("GET", "/admin/inspector")
    assert (about["space"], about["ws_url"], about["http_url"]) == (space.id, space.ws_url, space.http_url)
    space.close()


def test_the_announced_url_must_carry_the_token_in_its_fragment(served: LiveRelay) -> None:
    """A fragment is not sent: neither a server's log nor a Referer has it."""
    message = served.within(lambda relay: relay.start_message())
    parts = urlsplit(message["inspector_url"])
    assert unquote(parts.fragment) == f"token={served.admin_token}"
    assert (f"{parts.scheme}://{parts.netloc}", parts.path, parts.query) == (served.http_url, "/", "")
    assert inspector_url("http://h", "a&b=#ü") == "http://h/#token=a%26b%3D%23%C3%BC"


FORBIDDEN = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc",
    r"\beval\(|new Function|setTimeout\([\"'`]|setInterval\([\"'`]",
    r"\son[a-z]+=[\"']|javascript:|style=\"|<style",
    r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//",
    r"@import|importScripts|import\(",
)


def test_no_file_may_make_markup_of_text_or_load_from_outside() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(files())
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        for pattern in FORBIDDEN:
            found = re.search(pattern, text)
            assert found is None, f"{path.name}: {found.group() if found else ''}"
        assert len(text.splitlines()) <= 400, path.name
        assert max(len(line) for line in text.splitlines()) <= (320 if path.suffix == ".svg" else 120), path.name


def test_the_wheel_must_hold_every_file() -> None:
    packed = {Path(file.distribution_path) for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {Path("mockrelay/inspector") / path.name for path in FOLDER.iterdir()} <= packed


def test_serving_must_not_load_the_simulator() -> None:
    code = "import sys, mockrelay.http.inspector_routes; print(sorted({'simpy', 'numpy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
