"""``/admin/users``: who may be registered, changed, suspended; tokens, keys, contacts."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest
from nacl.signing import SigningKey

from tests.mockrelay.admin_support import connected_to, controlling, person
from tests.mockrelay.live_support import message, run, serving

DEVICE = "0ad5bd67-171e-4c68-9866-76b209781ee0"


def test_a_user_must_come_with_keys_a_web_device_and_a_token_that_connects() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            alice = await admin.post("/users", {"name": "alice"}, 201)
            assert {"name", "address", "identity_key", "identity_secret", "devices"} <= set(alice)
            secret = b64decode(alice["identity_secret"])
            assert bytes(SigningKey(secret).verify_key) == b64decode(alice["identity_key"])
            async with connected_to(relay.ws_url, alice):
                (listed,) = await admin.get("/users")
                assert (listed["name"], listed["address"]) == ("alice", alice["address"])
                assert [device["device_type"] for device in listed["devices"]] == ["web"]
                assert await admin.get("/users/alice") == await admin.get(f"/users/{alice['address']}")

    run(body())


def test_devices_must_be_those_asked_for_and_none_where_none_are() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            asked = {
                "devices": [
                    {"device_id": DEVICE, "device_name": "phone", "device_type": "mobile", "push_token": "p1"},
                    {"device_type": "desktop"},
                ]
            }
            user = await admin.post("/users", asked)
            assert user["name"] == "user-1"
            assert user["devices"][0]["device_id"] == DEVICE
            kept = (await admin.get("/users"))[0]["devices"]
            assert [(d["device_type"], d["push_token"]) for d in kept] == [("mobile", "p1"), ("desktop", None)]
            assert (await admin.post("/users", {"devices": []}))["devices"] == []

    run(body())


def test_a_given_identity_key_must_be_kept_and_no_secret_made_up() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            key = b64encode(bytes(SigningKey.generate().verify_key)).decode()
            user = await admin.post("/users", {"identity_key": key})
            assert user["identity_key"] == key
            assert "identity_secret" not in user

    run(body())


def test_a_seed_must_give_the_same_user_for_the_same_name() -> None:
    async def body() -> None:
        async with serving("alice") as relay, serving() as other, controlling(other) as admin:
            alice = await admin.post("/users", {"name": "alice"})
            assert alice["address"] == relay.users[0].address
            assert alice["devices"][0]["device_id"] == relay.users[0].device_id

    run(body())


@pytest.mark.parametrize(
    ("asked", "status", "field", "said"),
    [
        ({"nmae": "alice"}, 400, "nmae", "did you mean `name`"),
        ({"name": ""}, 400, "name", "1 to 64"),
        ({"name": 7}, 400, "name", "str"),
        ({"name": "bob"}, 409, "name", "already"),
        ({"name": "0xabc"}, 400, "name", "0x"),
        ({"identity_key": "AAAA"}, 400, "identity_key", "32 bytes"),
        ({"devices": [{"device_tpye": "web"}]}, 400, "devices.0.device_tpye", "device_type"),
        ({"devices": [{"device_type": "watch"}]}, 400, None, "watch"),
        ({"devices": [{"device_id": "x"}]}, 400, None, "UUID"),
        ({"devices": [{}] * 21}, 403, None, "20"),
        ([], 400, None, "object"),
    ],
)
def test_a_bad_user_must_be_refused_with_place_and_remedy(
    asked: Any, status: int, field: str | None, said: str
) -> None:
    async def body() -> None:
        async with serving("bob") as relay, controlling(relay) as admin:
            refused = await admin.post("/users", asked, status)
            assert said in refused["message"]
            if field is not None:
                assert refused["details"]["field"] == field
            assert len(await admin.get("/users")) == 1

    run(body())


@pytest.mark.requirement("R-3.2")
def test_a_suspended_user_must_be_closed_with_4003_at_once_and_admitted_again_later() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            alice = await admin.post("/users", {"name": "alice"})
            async with connected_to(relay.ws_url, alice) as peer:
                changed = await admin.patch("/users/alice", {"suspended": True})
                assert changed["suspended"] is True
                await peer.ws.wait_closed()
                assert peer.ws.close_code == 4003
            await admin.patch("/users/alice", {"suspended": False})
            async with connected_to(relay.ws_url, alice):
                pass

    run(body())


@pytest.mark.requirement("R-7.3")
def test_settings_must_merge_and_unknown_ones_be_refused() -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin:
            changed = await admin.patch("/users/alice", {"settings": {"send_read_receipts": False}})
            assert changed["settings"]["send_read_receipts"] is False
            assert changed["settings"]["share_presence"] is True
            refused = await admin.patch("/users/alice", {"settings": {"send_read_reciepts": False}}, 400)
            assert refused["details"]["field"] == "settings.send_read_reciepts"
            assert "send_read_receipts" in refused["message"]
            await admin.patch("/users/nobody", {}, 404)

    run(body())


@pytest.mark.requirement("R-7.5")
def test_a_rotated_key_must_be_told_to_contacts_and_open_the_next_connection() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            alice = await admin.post("/users", {"name": "alice"})
            bob = await admin.post("/users", {"name": "bob"})
            made = await admin.post("/users/alice/contacts", {"address": "bob"})
            assert made == {"contacts": [bob["address"]]}
            async with connected_to(relay.ws_url, bob) as peer:
                new = await admin.post("/users/alice/rotate-key", {"reason": "reinstall"})
                change = (await peer.until("KEY_CHANGE"))["payload"]
                assert (change["new_key"], change["reason"]) == (new["identity_key"], "reinstall")
            async with connected_to(relay.ws_url, {**alice, **new}):
                pass
            refused = await admin.post("/users/alice/rotate-key", {"reason": "boredom"}, 400)
            assert refused["details"]["field"] == "reason"

    run(body())


@pytest.mark.requirement("R-4.5")
def test_a_token_must_have_the_life_and_capabilities_asked_for() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            alice = await admin.post("/users", {"name": "alice"})
            bob = await admin.post("/users", {"name": "bob"})
            asked = {"device_id": alice["device_id"], "lifetime_s": 60, "capabilities": ["presence"]}
            token = await admin.post("/users/alice/token", asked)
            now_ms = (await admin.get("/clock"))["now_ms"]
            assert 58_000 < token["expires_at"] - now_ms <= 60_000
            device = {"device_id": alice["device_id"], "token": token["token"]}
            async with connected_to(relay.ws_url, {**alice, "devices": [device]}) as peer:
                await peer.send("MESSAGE_SEND", message(person(bob)))
                assert (await peer.until("ERROR"))["payload"]["error_code"] == "FORBIDDEN"
            refused = await admin.post("/users/alice/token", {**asked, "capabilities": ["fly"]}, 400)
            assert "fly" in refused["message"]

    run(body())
