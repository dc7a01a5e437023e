"""The page in a real browser: frames as they pass, filter, search, detail, timeline, keyboard, light and dark."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from mockrelay.http.inspector_routes import inspector_url
from mockrelay.testing import RelaySpace
from tests.inspector.inspector_support import LiveRelay, app, opened, rows, watched

pytestmark = pytest.mark.needs("chromium")


def test_an_empty_page_must_say_where_to_point_an_app(page: Page, space: RelaySpace) -> None:
    expect(page.locator("#connection-empty")).to_contain_text("No app is connected yet.")
    expect(page.locator("#connection-empty")).to_contain_text(f"Point it at {space.ws_url}.")
    expect(page.locator("#frames-empty")).to_contain_text("Nothing has happened yet.")


def test_the_token_must_leave_the_address_and_stay_in_the_tab(page: Page, space: RelaySpace) -> None:
    assert page.url == f"{space.http_url}/"
    assert page.evaluate("Object.values(sessionStorage)") == [space.admin_token]
    page.reload()
    expect(page.locator("#status")).to_have_text("● live")


def test_a_place_in_the_fragment_must_begin_nothing_anew(page: Page, space: RelaySpace) -> None:
    """The link past the top bar changes the fragment; what is shown and chosen stays."""
    with app(space.user("alice")):
        rows(page, "AUTH_SUCCESS").click()
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("#frames$"))
        expect(page.locator("#detail h2")).to_contain_text("AUTH_SUCCESS")
        expect(rows(page, "AUTH_SUCCESS")).to_have_attribute("aria-selected", "true")


def test_frames_must_appear_as_they_pass_and_connections_with_their_state(page: Page, space: RelaySpace) -> None:
    alice, bob = space.user("alice"), space.user("bob")
    with app(alice) as sender, app(bob) as receiver:
        expect(rows(page, "AUTH_SUCCESS", "alice")).to_have_count(1)
        sender.message(bob)
        receiver.until("MESSAGE_NEW")
        expect(rows(page, "↑ in", "MESSAGE_SEND", "alice")).to_have_count(1)
        expect(rows(page, "↓ out", "MESSAGE_NEW", "bob")).to_have_count(1)
        expect(page.locator("#connection-list .row:visible")).to_have_count(2)
        row = page.locator("#connection-list .row:visible", has_text="alice")
        expect(row).to_contain_text("ready")
        expect(row).to_contain_text("RTT –")
        space.control("POST", "/admin/connections/1/send", {"frame": {"type": "TOKEN_EXPIRING", "payload": {}}})
        expect(rows(page, "TOKEN_EXPIRING", "alice")).to_have_count(1)
    expect(rows(page, "closed", "1000")).not_to_have_count(0)
    expect(page.locator("#connection-count")).to_have_text("0")


def test_what_was_there_before_the_page_must_be_shown_in_order(blank: Page, space: RelaySpace) -> None:
    with app(space.user("alice")) as alice:
        alice.message(space.user("bob"))
        alice.until("MESSAGE_ACK")
        last = space.journal.entries()[-1]["n"]
        opened(blank, inspector_url(space.http_url, space.admin_token))
        expect(blank.locator("#foot-entries")).to_have_text(f"{last} entries")
        numbers = blank.evaluate(
            "[...document.querySelectorAll('#frames-scroller .row:not([hidden])')].map((row) => Number(row.dataset.n))"
        )
        assert sorted(numbers) == list(range(1, last + 1))


def test_filter_and_search_must_leave_what_was_asked_for(page: Page, space: RelaySpace) -> None:
    alice, bob = space.user("alice"), space.user("bob")
    with app(alice) as sender, app(bob) as receiver:
        sender.message(bob, b"needle")
        receiver.until("MESSAGE_NEW")
        expect(rows(page, "MESSAGE_NEW")).to_have_count(1)
        page.locator("#filter-direction").select_option("in")
        expect(rows(page, "↓ out")).to_have_count(0)
        expect(rows(page, "↑ in")).to_have_count(3)
        page.locator("#filter-type").fill("auth")
        expect(rows(page)).to_have_count(2)
        page.locator("#filter-user").select_option(label="bob")
        expect(rows(page)).to_have_count(1)
        expect(rows(page, "AUTH_RESPONSE", "bob")).to_have_count(1)
        page.locator("#unfilter").click()
        page.locator("#filter-connection").select_option("2")
        expect(rows(page, "alice")).to_have_count(0)
        expect(rows(page, "bob")).not_to_have_count(0)
        page.locator("#unfilter").click()
        page.locator("#search").fill("BMVLZGXL")  # base64 of "needle", in another case
        expect(rows(page)).to_have_count(2)
        page.locator("#search").fill('"message_type":"text"')
        expect(rows(page, "MESSAGE_SEND")).to_have_count(1)
        page.locator("#search").fill("no such text (anywhere)")
        expect(page.locator("#frames-empty")).to_have_text("Nothing passes this filter.")
        page.locator("#search").fill("")
        page.locator("#filter-faults").check()
        expect(rows(page)).to_have_count(0)


def test_the_detail_must_show_the_frame_as_it_was_and_copy_it(page: Page, space: RelaySpace) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    with app(space.user("alice")) as alice:
        frame_id = alice.message(space.user("bob"))
        alice.until("MESSAGE_ACK")
        rows(page, "MESSAGE_SEND").click()
        expect(page.locator("#detail h2")).to_contain_text("MESSAGE_SEND")
        expect(page.locator("#detail .facts")).to_contain_text("↑ in, from the app · alice · connection 1")
        shown = json.loads(page.locator("#detail pre").inner_text())
        entry = space.journal.entries(type="MESSAGE_SEND")[0]
        assert (shown["id"], shown) == (frame_id, entry["frame"])
        page.locator("#copy-json").click()
        expect(page.locator("#toasts")).to_contain_text("Frame copied")
        assert json.loads(page.evaluate("navigator.clipboard.readText()")) == entry["frame"]
        page.get_by_role("tab", name="Whole entry").click()
        expect(page.locator("#detail pre")).to_contain_text('"event": "frame_in"')
        assert json.loads(page.locator("#detail pre").inner_text()) == entry
        page.keyboard.press("Escape")
        expect(page.locator("#detail")).to_be_hidden()


def test_names_that_come_while_a_frame_is_shown_must_be_said_there(blank: Page, space: RelaySpace) -> None:
    """The stream may be quicker than the list of users: a frame that is opened by then has an address for a name."""
    waiting: list[Route] = []
    blank.route(re.compile(r"/users$"), lambda route: waiting.append(route))
    page = opened(blank, inspector_url(space.http_url, space.admin_token))
    with app(space.user("alice")) as alice:
        alice.message(space.user("bob"))
        alice.until("MESSAGE_ACK")
        rows(page, "MESSAGE_SEND").click()
        expect(page.locator("#detail .facts")).to_contain_text("↑ in, from the app · 0x")
        while waiting:
            waiting.pop().continue_()
        expect(page.locator("#detail .facts")).to_contain_text("↑ in, from the app · alice · connection 1")


def test_numbers_must_keep_their_digits_in_the_detail(page: Page, space: RelaySpace) -> None:
    """A number beyond 2^53, or 1.0, is not what a decoder of JavaScript makes of it."""
    with app(space.user("alice")) as alice:
        alice.ws.send(
            '{"type": "MESSAGE_SEND", "payload": {"n": 9007199254740993, "s": "a\\"}{,:[b", "e": {}, "l": []}}'
        )
        rows(page, "↑ in", "MESSAGE_SEND").click()
        expect(page.locator("#detail pre")).to_contain_text('"n": 9007199254740993')
        expect(page.locator("#detail pre")).to_contain_text('"s": "a\\"}{,:[b"')
        expect(page.locator("#detail pre")).to_contain_text('"e": {}')


def test_pause_clear_and_follow(page: Page, space: RelaySpace) -> None:
    with app(space.user("alice")) as alice:
        expect(rows(page, "AUTH_SUCCESS")).to_have_count(1)
        page.locator("#pause").click()
        alice.message(space.user("bob"))
        alice.until("MESSAGE_ACK")
        expect(page.locator("#foot-entries")).to_contain_text("paused: ")
        expect(page.locator("#foot-entries")).not_to_contain_text("paused: 0 more")
        expect(rows(page, "MESSAGE_SEND")).to_have_count(0)
        page.locator("#pause").click()
        expect(rows(page, "MESSAGE_SEND")).to_have_count(1)
        page.locator("#clear").click()
        expect(rows(page)).to_have_count(0)
        alice.message(space.user("bob"))
        expect(rows(page, "MESSAGE_SEND")).to_have_count(1)
        follow = page.locator("#follow")
        expect(follow).to_have_attribute("aria-pressed", "true")
        for _ in range(40):
            alice.message(space.user("bob"))
        expect(page.locator("#foot-entries")).to_have_text(re.compile(r"^8[0-9] entries"))
        page.locator("#frames").focus()
        page.keyboard.press("Home")
        expect(follow).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("End")
        expect(follow).to_have_attribute("aria-pressed", "true")


def test_the_timeline_must_show_a_device_and_lead_to_its_entries(page: Page, space: RelaySpace) -> None:
    alice, bob = space.user("alice"), space.user("bob")
    with app(bob), app(alice) as sender:
        sender.message(bob)
        sender.until("MESSAGE_ACK")
        page.locator("#connection-list .row", has_text="alice").click()
        caption = page.locator("#timeline-caption")
        expect(caption).to_have_text("1 connection, 2 frames in, 3 out, 0 ends, 0 faults")
        expect(page.locator("#timeline-canvas")).to_have_attribute("data-marks", "7")
        page.locator("#timeline-canvas").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#detail h2")).to_contain_text("MESSAGE_ACK")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#detail h2")).to_contain_text("MESSAGE_SEND")
        page.locator("#timeline-device").select_option(label="bob · bob " + bob.device_id[:8])
        expect(caption).to_have_text("1 connection, 1 frame in, 3 out, 0 ends, 0 faults")
    expect(caption).to_contain_text("1 end,")


def test_everything_must_be_done_by_keyboard(page: Page, space: RelaySpace) -> None:
    with app(space.user("alice")) as alice:
        alice.message(space.user("bob"))
        alice.until("MESSAGE_ACK")
        expect(rows(page, "MESSAGE_ACK")).to_have_count(1)
        press = page.keyboard.press
        press("/")
        page.keyboard.type("auth_")
        expect(rows(page)).to_have_count(3)
        press("Escape")
        expect(page.locator("#frames")).to_be_focused()
        press("Home")
        expect(page.locator("#detail h2")).to_contain_text("AUTH_CHALLENGE")
        press("ArrowDown")
        expect(page.locator("#detail h2")).to_contain_text("AUTH_RESPONSE")
        chosen = page.locator("#frames").get_attribute("aria-activedescendant")
        expect(page.locator(f"#{chosen}")).to_have_attribute("aria-selected", "true")
        press("Enter")
        expect(page.locator("#detail pre")).to_be_focused()
        press("Escape")
        expect(page.locator("#detail")).to_be_hidden()
        press("x")
        expect(rows(page, "MESSAGE_ACK")).to_have_count(1)
        press("1")
        expect(page.locator("#tab-Faults")).to_be_focused()
        press("ArrowRight")
        expect(page.get_by_role("tab", name="Clock")).to_have_attribute("aria-selected", "true")
        press("1")
        page.get_by_role("button", name="Drop next ACK").focus()
        press("Enter")
        expect(page.locator("#rule-count")).to_have_text("1")
        press("?")
        expect(page.locator("#help")).to_contain_text("search in frames")
        press("Escape")
        expect(page.locator("#help")).not_to_be_visible()
        press("p")
        expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")


def test_tab_must_reach_every_part_in_reading_order_and_show_where_it_is(page: Page) -> None:
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        part = page.evaluate(
            """(() => {
              const at = document.activeElement;
              if (at !== document.body && getComputedStyle(at).outlineStyle === "none") return `unseen: ${at.id}`;
              return at.closest("#top, #connections, #toolbar, #timeline, #frames, #tools")?.id ?? "none";
            })()"""
        )
        if not seen or seen[-1] != part:
            seen.append(part)
    assert seen[:7] == ["none", "top", "toolbar", "timeline", "frames", "tools", *seen[6:7]], seen
    assert not [part for part in seen if part.startswith("unseen")]


def test_light_and_dark_must_follow_the_system_and_the_choice(relay: LiveRelay, browser: Browser) -> None:
    def ground(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    with watched(browser, color_scheme="dark") as page:
        opened(page, relay.url)
        dark = ground(page)
        page.emulate_media(color_scheme="light")
        light = ground(page)
        assert light == "rgb(255, 255, 255)" != dark
        page.locator("#theme").click()
        expect(page.locator("#theme")).to_have_text("☀ light")
        page.locator("#theme").click()
        expect(page.locator("#theme")).to_have_text("☾ dark")
        assert ground(page) == dark
        page.reload()
        assert ground(page) == dark
