"""What must not harm the inspector: hostile text, floods, a wrong token, a relay that goes away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from mockrelay.http.inspector_routes import inspector_url
from mockrelay.journal import Party
from mockrelay.server import MockRelay
from mockrelay.testing import RelaySpace
from tests.inspector.inspector_support import LiveRelay, app, opened, rows, watched

pytestmark = pytest.mark.needs("chromium")

RUN = "window.ran=1"
MARKUP = f"<img src=x onerror={RUN}>"
HOSTILE = (
    MARKUP,
    f"</script><script>{RUN}</script>",
    f"\"'><svg/onload={RUN}>",
    f"javascript:{RUN}//",
    "{{constructor.constructor('" + RUN + "')()}}",
    "\u202egnp.exe\u2066\u200b\x00\x1b[2J",
    "\u0627\u0644\u0633\u0644\u0627\u0645" * 3,
    "x" * 5_000,
)
SHOWN_ROWS = 160
"""So many rows of a list are elements at most."""


def test_hostile_names_of_users_devices_and_bots_must_be_text(relay: LiveRelay, blank: Page) -> None:
    """Names are bounded and printable, and may hold markup."""
    names = [MARKUP, f"</script><svg onload={RUN}>", "'\"><b>bob", "\u05d0\u05d1\u05d2"]
    space = relay.space()
    for name in names:
        device = {"device_name": f"phone {HOSTILE[1]} {HOSTILE[5]}"}
        space.control("POST", "/admin/users", {"name": name, "devices": [device]})
    space.bots.add("echo", user=MARKUP)
    opened(blank, inspector_url(space.http_url, space.admin_token))
    expect(blank.locator("#connection-list .row:visible")).to_contain_text(MARKUP)
    blank.get_by_role("tab", name="Bots").click()
    expect(blank.locator("#bot-list .card strong")).to_have_text(MARKUP)
    blank.get_by_role("tab", name="Users").click()
    expect(blank.locator("#user-list .card strong")).to_have_text(names)
    expect(blank.locator("#user-list .device").first).to_contain_text(r"\u202egnp.exe\u2066\u200b\u0000\u001b[2J")
    assert MARKUP in blank.locator("#filter-user").inner_text()
    assert MARKUP in blank.locator("#fault-target").inner_text()
    expect(rows(blank, MARKUP, "AUTH_SUCCESS")).to_have_count(1)
    assert blank.locator("#rooms img, #rooms svg, #rooms script, #rooms b").count() == 0
    space.close()


def test_hostile_frames_reasons_and_rules_must_be_text(page: Page, space: RelaySpace) -> None:
    """In a frame, either way, in a close's reason, in a rule's comment; each entry is looked at, in both pages."""
    alice, bob = space.user("alice"), space.user("bob")
    for number, text in enumerate(HOSTILE, 1):
        space.rules.add({"event": "rest", "path": f"/{number}"}, "pass", comment=text[:900])
        with app(alice) as sender:
            link = space.connections()[-1]["id"]
            frame = {"type": text, "payload": {text: text}}
            space.control("POST", f"/admin/connections/{link}/send", {"frame": frame})
            payload = {"to": bob.address, "ciphertext": text, "nonce": text, text: [text, {text: text}]}
            sender.send("MESSAGE_SEND", payload)
            sender.send(text, {})
            sender.ws.send(text)
            sender.ws.close(4999, text.encode()[:120].decode(errors="ignore"))
    with app(bob) as sender:
        sender.ws.send(MARKUP.encode())
        sender.closed()
    last = space.journal.entries()[-1]["n"]
    expect(page.locator("#foot-entries")).to_have_text(f"{last} entries")
    expect(page.locator("#rule-list .card")).to_have_count(len(HOSTILE))
    for look in ("Frame", "Whole entry"):
        page.locator("#frames").focus()
        page.keyboard.press("Home")
        first = page.locator("#detail").get_by_role("tab", name=look)
        if first.count():
            first.click()
            page.locator("#frames").focus()
        for _ in range(last):
            page.keyboard.press("ArrowDown")
        expect(page.locator("#detail h2")).to_have_text(re.compile(f"^#{last} "))
    for text in HOSTILE:
        page.locator("#search").fill(text[:200])
        expect(rows(page, "MESSAGE_SEND")).to_have_count(1)
    assert page.locator("#rooms img, #rooms svg, #rooms script").count() == 0
    turning = "[\\u202a-\\u202e\\u2066-\\u2069]"
    assert page.evaluate(f"/{turning}/.test(document.getElementById('rooms').innerText)") is False


def test_hostile_rest_calls_and_media_must_be_text(page: Page, space: RelaySpace) -> None:
    """A media file that is a page is served as a download that may run nothing, and its name is text."""
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(space.http_url)
    headers = {
        "Authorization": f"Bearer {space.user('alice').token}",
        "Content-Type": "multipart/form-data; boundary=b",
    }
    name = MARKUP.replace('"', "")
    body = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}.html"\r\n'
    body += f"Content-Type: text/html\r\n\r\n<script>{RUN}</script>\r\n--b--\r\n"
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("POST", f"{parts.path}/api/v1/upload-media", body.encode(), headers)
    media = json.loads(connection.getresponse().read())
    connection.request("GET", f"{parts.path}/api/v1/media/{media['id']}", headers=headers)
    answer = connection.getresponse()
    answer.read()
    assert "attachment" in (answer.getheader("Content-Disposition") or "")
    assert "sandbox" in (answer.getheader("Content-Security-Policy") or "")
    connection.request("POST", f"{parts.path}/api/{MARKUP.replace(' ', '%20')}", json.dumps({MARKUP: MARKUP}), headers)
    connection.getresponse().read()
    connection.close()
    expect(rows(page, "rest", "POST")).not_to_have_count(0)
    rows(page, "rest", "POST").last.click()
    expect(page.locator("#detail pre")).to_contain_text("onerror")
    # The strongest case: the relay's own origin gives the file, and the page's policy still runs none of it.
    source = f"{space.http_url}/api/v1/media/{media['id']}"
    loaded = page.evaluate(
        """(source) => new Promise((resolve) => {
          const script = document.createElement("script");
          script.onload = () => resolve("ran");
          script.onerror = () => resolve("refused");
          try { script.src = source; } catch { resolve("refused"); return; }
          document.head.append(script);
        })""",
        source,
    )
    assert loaded == "refused"
    page.evaluate("window.violations.length = 0")  # the one just made


def flood(relay: MockRelay, space_id: str, count: int, size: int = 0) -> None:
    """So many frames into a space's journal, as a busy app would leave them."""
    space = relay.spaces.get(space_id)
    assert space is not None
    person = next(iter(space.people))
    party = Party(1, person.address, next(iter(person.tokens)))
    for number in range(count):
        payload: dict[str, Any] = {"number": number, "ciphertext": "x" * size}
        frame = json.dumps({"type": "MESSAGE_SEND", "id": str(number), "timestamp": 0, "payload": payload})
        space.journal.write("frame_in" if number % 2 else "frame_out", party, frame.encode())


def test_30_000_entries_must_leave_the_page_responsive(relay: LiveRelay, blank: Page, space: RelaySpace) -> None:
    """The rows that are elements stay few, whatever there is; every entry is reached, found and counted."""
    relay.within(lambda live: flood(live, space.id, 30_000))
    opened(blank, inspector_url(space.http_url, space.admin_token))
    last = space.control("GET", "/admin/stats")["journal_entries"]
    expect(blank.locator("#foot-entries")).to_have_text(f"{last} entries")
    elements = blank.locator("#frames-scroller .row")
    assert 10 < elements.count() <= SHOWN_ROWS
    expect(rows(blank, '"number":29999,')).to_have_count(1)
    blank.locator("#frames").focus()
    blank.keyboard.press("Home")
    expect(rows(blank, '"number":0,')).to_have_count(1)
    blank.locator("#search").fill('"number":12345,')
    expect(rows(blank)).to_have_count(1)
    blank.locator("#search").fill("")
    relay.within(lambda live: flood(live, space.id, 25_000))
    last = space.control("GET", "/admin/stats")["journal_entries"]
    expect(blank.locator("#foot-entries")).to_have_text("50000 entries")
    expect(blank.locator("#foot-lost")).to_contain_text(f"{last - 50_000} older ones are in the journal alone")
    blank.locator("#frames").focus()
    blank.keyboard.press("End")
    expect(rows(blank, '"number":24999,')).to_have_count(1)
    assert elements.count() <= SHOWN_ROWS
    assert blank.evaluate("document.getElementsByTagName('*').length") < 4_000


def test_a_thousand_connections_must_be_few_elements(relay: LiveRelay, blank: Page, space: RelaySpace) -> None:
    users = [
        {"id": number, "user": "0x00", "name": None, "device": f"device-{number}", "state": "ready"}
        for number in range(1_000)
    ]
    listed = [{**user, "rtt_ms": float(user["id"]), "queued": 0, "queued_bytes": 0} for user in users]  # type: ignore[arg-type]
    blank.route("**/admin/connections", lambda route: route.fulfill(json=listed))
    opened(blank, inspector_url(space.http_url, space.admin_token))
    expect(blank.locator("#connection-count")).to_have_text("1000")
    assert blank.locator("#connection-list .row").count() <= SHOWN_ROWS
    blank.locator("#connection-list").focus()
    blank.keyboard.press("End")
    last = blank.locator("#connection-list .row.selected")
    expect(last).to_contain_text("999 ms")
    assert last.get_attribute("data-quality") == "fair"


def test_what_the_journal_no_longer_holds_must_be_told(relay: LiveRelay, page: Page, space: RelaySpace) -> None:
    """More at once than the stream's queue and the journal hold: the rest is shown, and how much is gone."""

    def shrink(live: MockRelay) -> None:
        found = live.spaces.get(space.id)
        assert found is not None
        found.journal._max_entries = 500  # the bound is 100 000; as small, the test is quick; 3 more go at once

    relay.within(lambda live: flood(live, space.id, 10))
    expect(page.locator("#foot-entries")).to_have_text("10 entries")
    relay.within(shrink)
    relay.within(lambda live: flood(live, space.id, 3_000))
    expect(page.locator("#foot-entries")).to_have_text("509 entries")
    expect(rows(page, '"number":2999,')).to_have_count(1)
    page.locator("#filter-type").fill("no such type")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_have_text(re.compile("2502 entries are not here"))


def test_a_burst_beyond_the_streams_queue_must_lose_nothing(relay: LiveRelay, page: Page, space: RelaySpace) -> None:
    """The relay's queue for a stream holds 1000; what goes over it is read from the journal."""
    relay.within(lambda live: flood(live, space.id, 7_000))
    expect(page.locator("#foot-entries")).to_have_text("7000 entries")
    expect(rows(page, "note")).to_have_count(0)


def test_a_page_without_a_token_must_say_how_to_get_one(relay: LiveRelay, blank: Page) -> None:
    blank.goto(f"{relay.http_url}/")
    gate = blank.locator("#gate")
    expect(gate).to_contain_text("There is no token in the address of this page.")
    expect(gate).to_contain_text("mockrelay serve prints a link with it")
    blank.locator("#gate-token").fill("wrong")
    blank.keyboard.press("Enter")
    expect(gate).to_contain_text("The relay refuses this token.")
    blank.locator("#gate-token").fill(relay.admin_token)
    blank.locator("#gate-open").click()
    expect(gate).to_be_hidden()
    expect(blank.locator("#status")).to_have_text("● live")


@pytest.mark.parametrize("token", ["wrong", "%F0%9F%94%91%0A"])
def test_a_wrong_token_must_be_told_and_forgotten(relay: LiveRelay, blank: Page, token: str) -> None:
    blank.goto(f"{relay.http_url}/#token={token}")
    expect(blank.locator("#gate")).to_contain_text("The relay refuses this token.")
    assert blank.evaluate("sessionStorage.length") == 0
    # The right link in the same tab changes the fragment alone.
    blank.goto(relay.url)
    expect(blank.locator("#status")).to_have_text("● live")
    expect(blank.locator("#gate")).to_be_hidden()


@pytest.fixture
def mortal() -> Iterator[LiveRelay]:
    """A relay that may be stopped; with a seed, so that the next one has the same users."""
    relay = LiveRelay(users=("alice", "bob"), seed=7)
    relay.start()
    yield relay
    relay.stop()


def test_a_relay_that_goes_away_must_be_told_and_found_again(mortal: LiveRelay, browser: Browser) -> None:
    with watched(browser) as page:
        opened(page, mortal.url)
        mortal.within(lambda live: live.default.journal.control("before"))
        expect(rows(page, "action=before")).to_have_count(1)
        mortal.stop()
        expect(page.locator("#banner")).to_contain_text("The relay does not answer")
        expect(page.locator("#status")).to_have_text("○ away")
        expect(rows(page, "action=before")).to_have_count(1)
        mortal.start_again()
        expect(page.locator("#status")).to_have_text("● live")
        expect(page.locator("#banner")).to_be_hidden()
        expect(rows(page, "Another relay answers now")).to_have_count(1)
        expect(rows(page, "action=before")).to_have_count(0)
        mortal.within(lambda live: live.default.journal.control("after"))
        expect(rows(page, "action=after")).to_have_count(1)
