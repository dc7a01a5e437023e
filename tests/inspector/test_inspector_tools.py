"""The inspector's buttons: faults, clock, bots, users, restart, reset, spaces; each does what the control API does."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from mockrelay.testing import RelaySpace
from tests.inspector.inspector_support import app, rows

pytestmark = pytest.mark.needs("chromium")

MINUTE_MS = 60_000


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def panel(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def test_a_fault_button_must_add_a_rule_and_the_next_frame_must_be_dropped(page: Page, space: RelaySpace) -> None:
    bob = space.user("bob")
    with app(space.user("alice")) as alice:
        press(page, "Drop next ACK")
        expect(page.locator("#rule-list .card")).to_have_count(1)
        lost, kept = alice.message(bob), alice.message(bob)
        assert alice.until("MESSAGE_ACK")["payload"]["message_id"] in (lost, kept)
        space.verify(type="MESSAGE_ACK", rule="Drop next ACK", count=1)
        dropped = rows(page, "MESSAGE_ACK", "⚡ drop")
        expect(dropped).to_have_count(1)
        expect(page.locator("#rule-list .card")).to_contain_text("fired 1 of 1, spent")
        page.locator("#filter-faults").check()
        expect(rows(page)).to_have_count(1)
        dropped.click()
        expect(page.locator("#detail .badge.fault")).to_contain_text("⚡ drop by rule")
        expect(page.locator("#timeline-caption")).to_contain_text("1 fault")


def test_a_fault_must_be_for_whom_and_as_often_as_chosen(page: Page, space: RelaySpace) -> None:
    page.locator("#fault-target").select_option(label="bob")
    page.locator("#fault-times").select_option("3")
    press(page, "Refuse upgrades")
    page.get_by_label("Error to next message: which").select_option("KEY_MISMATCH")
    press(page, "Error to next message")
    expect(page.locator("#rule-count")).to_have_text("2")
    bob = space.user("bob").address
    refused, error = space.rules.list()
    assert (refused["match"], refused["times"], refused["comment"]) == (
        {**refused["match"], "event": "upgrade", "user": bob},
        3,
        "Refuse upgrades",
    )
    assert (error["action"]["error_code"], error["match"]["user"]) == ("KEY_MISMATCH", bob)
    page.locator("#rule-list .card").first.get_by_role("button", name="Remove").click()
    expect(page.locator("#rule-count")).to_have_text("1")
    press(page, "Remove all")
    expect(page.locator("#rule-count")).to_have_text("0")
    assert space.rules.list() == []


def test_every_ready_made_fault_must_be_a_rule_that_the_relay_takes(page: Page, space: RelaySpace) -> None:
    """For everybody, for a user and for a connection, with every choice: nothing that could never fire is offered."""
    rules = page.evaluate(
        """async (targets) => {
          const { PRESETS, ruleOf } = await import("/inspector/presets.js");
          const presets = PRESETS.flatMap((group) => group.rules);
          return targets.flatMap((target) => presets.flatMap((preset) =>
            (preset.choices ?? [undefined]).map((choice) => ruleOf(preset, { choice, target, times: "own" }))));
        }""",
        [{}, {"user": "alice"}, {"connection": 1}],
    )
    assert len(rules) > 3 * page.locator("button.preset").count() > 60
    for rule in rules:
        space.control("POST", "/admin/rules", rule)
    expect(page.locator("#rule-count")).to_have_text(str(len(rules)))


def test_any_rule_must_be_added_and_a_wrong_one_told_in_the_relays_words(page: Page, space: RelaySpace) -> None:
    field, error = page.locator("#rule-json"), page.locator("#rule-error")
    field.fill('{"match": {"type": "MESAGE_ACK"}, "action": {"do": "drop"}}')
    press(page, "Add rule")
    expect(error).to_contain_text("did you mean `MESSAGE_ACK`?")
    field.fill("{no json")
    press(page, "Add rule")
    expect(error).to_contain_text("This is no JSON")
    assert space.rules.list() == []
    rules = [{"match": {"type": "PONG"}, "action": {"do": "drop"}}, {"match": {}, "action": {"do": "pass"}}]
    field.fill(json.dumps(rules))
    field.press("Control+Enter")
    expect(page.locator("#rule-count")).to_have_text("2")
    expect(error).to_be_hidden()
    page.locator("#rule-list .card").first.get_by_role("button", name="Edit").click()
    expect(field).to_have_value(re.compile('"type": "PONG"'))
    press(page, "Add rule")
    expect(page.locator("#rule-count")).to_have_text("3")


@pytest.mark.requirement("R-13.2")
def test_the_clock_must_freeze_advance_scale_and_resume(page: Page, space: RelaySpace) -> None:
    panel(page, "Clock")
    press(page, "Freeze")
    expect(page.locator("#clock-mode")).to_have_text("Time stands still.")
    begin = space.clock.now_ms()
    for step, ms in (("+1 s", 1_000), ("+1 min", MINUTE_MS), ("+1 h", 60 * MINUTE_MS), ("+1 day", 1440 * MINUTE_MS)):
        press(page, step)
        expect(page.locator("#toasts")).to_contain_text(f"Advanced by {step[1:].replace('day', 'd')}")
        begin += ms
        assert space.clock.now_ms() == begin
    page.locator("#advance-amount").fill("2.5")
    page.locator("#advance-unit").select_option(label="min")
    press(page, "Advance")
    expect(page.locator("#toasts")).to_contain_text("Advanced by 2.5 min")
    assert space.clock.now_ms() == begin + 150_000
    page.locator("#scale-factor").fill("10")
    press(page, "Set")
    expect(page.locator("#clock-pill")).to_contain_text("10×")
    assert space.control("GET", "/admin/clock")["mode"] == "scaled"
    press(page, "Freeze")
    expect(page.locator("#clock-mode")).to_have_text("Time stands still.")
    press(page, "Resume")
    expect(page.locator("#clock-mode")).to_have_text("Time runs 10 times as fast.")
    press(page, "Real time")
    expect(page.locator("#clock-mode")).to_have_text("Time runs at its own pace.")
    page.locator("#scale-factor").fill("0")
    press(page, "Set")
    expect(page.locator("#toasts .error")).to_contain_text("factor")


def test_a_days_advance_must_show_in_frames_and_timeline(page: Page, space: RelaySpace) -> None:
    """Token warnings come at their own instants; the long silence before is a break in the timeline."""
    with app(space.user("alice")) as alice:
        panel(page, "Clock")
        press(page, "+1 day")
        alice.until("TOKEN_EXPIRING")
        expect(rows(page, "TOKEN_EXPIRING")).not_to_have_count(0)


def test_bots_must_start_talk_and_stop(page: Page, space: RelaySpace) -> None:
    panel(page, "Bots")
    page.locator("#bot-user").fill("parrot")
    press(page, "Start echo")
    expect(page.locator("#bot-list .card")).to_contain_text("parrot")
    expect(page.locator("#connection-list .row", has_text="parrot")).to_contain_text("ready")
    with app(space.user("alice")) as alice:
        [bot] = space.bots.list()
        alice.send(
            "MESSAGE_SEND",
            {"to": bot["address"], "ciphertext": "aGk=", "nonce": "AAAAAAAAAAAAAAAA", "message_type": "text"},
        )
        alice.until("MESSAGE_NEW")
    for kind in ("reader", "typist", "flaky"):
        press(page, f"Start {kind}")
        expect(page.locator("#bot-list .card", has_text=f"{kind}-1")).to_be_visible()
    press(page, "Start webhook")
    expect(page.locator("#toasts .error")).to_contain_text("url")
    page.locator("#bot-url").fill("http://127.0.0.1:9/hook")
    press(page, "Start webhook")
    expect(page.locator("#bot-list .card")).to_have_count(5)
    press(page, "Stop bot parrot")
    expect(page.locator("#bot-list .card")).to_have_count(4)
    expect(page.locator("#connection-list .row:visible", has_text="parrot")).to_have_count(0)


def test_a_user_must_be_added_and_its_url_must_connect(page: Page, space: RelaySpace) -> None:
    panel(page, "Users")
    page.locator("#user-name").fill("carol")
    press(page, "Add user")
    card = page.locator("#user-list .card", has_text="carol")
    card.get_by_role("button", name="Show URL").click()
    url = card.get_by_label("WebSocket URL").input_value()
    assert url.startswith(f"{space.ws_url}?token=")
    users = {user["name"]: user for user in space.control("GET", "/admin/users")}
    card.get_by_role("button", name="Suspend").click()
    expect(card.locator(".badge")).to_have_text("suspended")
    card.get_by_role("button", name="Lift").click()
    expect(card.locator(".badge")).to_have_count(0)
    page.locator("#user-name").fill("carol")
    press(page, "Add user")
    expect(page.locator("#toasts .error")).to_contain_text("there is a user named carol already")
    assert set(users) == {"alice", "bob", "carol"}
    alice = page.locator("#user-list .card", has_text="alice")
    alice.get_by_role("button", name="Show URL").click()
    with app(space.user("alice"), alice.get_by_label("WebSocket URL").input_value()):
        expect(page.locator("#connection-list .row:visible", has_text="alice")).to_contain_text("ready")


def test_a_connection_must_be_closed_aborted_and_silenced(page: Page, space: RelaySpace) -> None:
    def chosen(number: int, action: str) -> None:
        page.locator("#connection-list .row:visible", has_text=f"alice #{number}").click()
        page.locator("#connection-actions").get_by_role("button", name=action, exact=True).click()

    with app(space.user("alice")) as alice:
        page.get_by_label("Close code").evaluate("(field) => { field.value = 4002; }")
        chosen(1, "Close")
        assert alice.closed()[0] == 4002
    expect(page.locator("#connection-count")).to_have_text("0")
    with app(space.user("alice")) as alice:
        chosen(2, "Abort")
        assert alice.closed()[0] == 1006
    expect(rows(page, "lost")).to_have_count(1)
    with app(space.user("alice")) as alice:
        chosen(3, "Blackhole")
        expect(page.locator("#toasts")).to_contain_text("silent from now on")
        alice.message(space.user("bob"))
        chosen(3, "Abort")


@pytest.mark.requirement("R-12.1")
def test_restart_must_close_all_with_1001_and_reset_must_ask_first(page: Page, space: RelaySpace) -> None:
    panel(page, "Relay")
    with app(space.user("alice")) as alice:
        press(page, "Restart")
        assert alice.closed()[0] == 1001
        expect(page.locator("#toasts")).to_contain_text("Restarted: boot 1")
    space.rules.add({}, "pass")
    press(page, "Reset")
    page.locator("#ask").get_by_role("button", name="Cancel").click()
    assert len(space.rules.list()) == 1
    press(page, "Reset")
    page.locator("#ask").get_by_role("button", name="Reset").click()
    expect(page.locator("#toasts")).to_contain_text("All is as at the start")
    expect(page.locator("#frames-empty")).to_be_visible()
    assert space.rules.list() == []


def test_spaces_must_be_made_picked_and_ended(page: Page, space: RelaySpace) -> None:
    picker = page.locator("#space-picker")
    expect(picker).to_have_value(f"/spaces/{space.id}")
    expect(picker.locator("option:checked")).to_have_text(f"{space.id} (alice, bob)")
    panel(page, "Relay")
    press(page, "New space")
    expect(page).not_to_have_title(re.compile(space.id))
    expect(page.locator("#status")).to_have_text("● live")
    made = page.url.rstrip("/").rpartition("/")[2]
    assert made.startswith("sp_")
    panel(page, "Relay")
    press(page, "End this space")
    page.locator("#ask").get_by_role("button", name="End it").click()
    expect(page).to_have_title("mockrelay inspector")
    picker.select_option(f"/spaces/{space.id}")
    expect(page).to_have_title(re.compile(space.id))
    expect(page.locator("#status")).to_have_text("● live")
    space.close()
    expect(page.locator("#banner")).to_contain_text(f"no space at /spaces/{space.id}")
    expect(page.locator("#status")).to_have_text("○ ended")
