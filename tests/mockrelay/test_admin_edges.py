"""The control API at its edges: values nearly right, methods and paths there are not, times that pass by themselves."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from nacl.signing import SigningKey

from mockrelay.bounds import Bounds
from mockrelay.clock import MovableClock
from tests.mockrelay.admin_support import controlling
from tests.mockrelay.live_support import connected, frozen, run, serving


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "said"),
    [
        ("POST", "/bots", {"kind": "ecko"}, "kind", "did you mean `echo`?"),
        ("PATCH", "/config", {"integrity": "requir"}, "integrity", "did you mean `require`?"),
        ("PATCH", "/config", {"limits": {"typing": "of"}}, "limits.typing", "did you mean `off`?"),
        ("PATCH", "/config", {"max_copies": 5}, "max_copies", "it stands in `mailbox`"),
        ("POST", "/spaces", {"clock": "frosen"}, "clock", "did you mean `frozen`?"),
        ("POST", "/spaces", {"config": {"max_copies": 5}}, "config.max_copies", "it stands in `mailbox`"),
        ("POST", "/recordings", {"action": "strat"}, "action", "did you mean `start`?"),
        ("DELETE", "/connections/1", {"how": "abrot"}, "how", "did you mean `abort`?"),
        (
            "POST",
            "/users",
            {"devices": [{"device_type": "phone"}]},
            "devices[0].device_type",
            "known: desktop, mobile, tablet, web",
        ),
        ("PATCH", "/users/alice", {"settings": {"share_presence": "no"}}, "settings.share_presence", "`bool`"),
        ("POST", "/users/alice/contacts", {"address": "alice"}, "address", "nobody is a contact of their own"),
        ("POST", "/users/alice/token", {"device_id": "0" * 8, "lifetime_s": 1}, "device_id", "UUID"),
    ],
)
def test_a_value_nearly_right_must_be_answered_with_the_right_one(
    method: str, path: str, body: Any, field: str, said: str
) -> None:
    async def test() -> None:
        async with serving("alice") as relay, controlling(relay) as admin, connected(relay, "alice"):
            answer = await admin.ask(method, path, body, expect=400)
            assert answer["details"]["field"] == field
            assert said in answer["message"]

    run(test())


def test_a_token_must_have_a_life_that_frames_can_say() -> None:
    async def test() -> None:
        async with serving("alice") as relay, controlling(relay) as admin:
            device = relay.users[0].device_id
            asked = {"device_id": device, "lifetime_s": 10**30}
            answer = await admin.post("/users/alice/token", asked, expect=400)
            assert answer["details"]["field"] == "lifetime_s"
            century = await admin.post("/users/alice/token", {**asked, "lifetime_s": 100 * 365 * 86_400})
            assert century["expires_at"] < 2**53

    run(test())


def test_trust_in_forwarded_addresses_must_be_set_by_its_bare_name_too() -> None:
    """The contract names ``trust_forwarded_for`` without a section."""

    async def test() -> None:
        async with serving("alice") as relay, controlling(relay) as admin:
            config = await admin.patch("/config", {"trust_forwarded_for": True})
            assert config["upgrade"]["trust_forwarded_for"] is True
            async with connected(relay, "alice", additional_headers={"X-Forwarded-For": "203.0.113.9"}):
                assert [conn["ip"] for conn in await admin.get("/connections")] == ["203.0.113.9"]
            both = {"trust_forwarded_for": True, "upgrade": {"trust_forwarded_for": False}}
            assert (await admin.patch("/config", both))["upgrade"]["trust_forwarded_for"] is False
            await admin.patch("/config", {"trust_forwarded_for": True, "upgrade": 5}, expect=400)

    run(test())


def test_a_method_there_is_not_must_be_answered_with_those_there_are() -> None:
    async def test() -> None:
        async with serving("alice") as relay, controlling(relay) as admin:
            answer = await admin.client.put(f"{relay.http_url}/admin/users", json={})
            assert answer.status_code == 405
            assert answer.headers["Allow"] == "GET, HEAD, POST"
            assert answer.json()["details"] == {"allowed": ["GET", "HEAD", "POST"]}
            assert (await admin.client.get(f"{relay.http_url}/api")).status_code == 404

    run(test())


@pytest.mark.parametrize(("method", "path"), [("GET", "/admin/nope"), ("PUT", "/admin/users"), ("GET", "/admin")])
def test_what_control_there_is_must_be_told_to_nobody_without_the_token(method: str, path: str) -> None:
    async def test() -> None:
        async with serving() as relay, controlling(relay) as admin:
            url = f"{relay.http_url}{path}"
            assert (await admin.client.request(method, url, headers={"Authorization": ""})).status_code == 401
            assert (await admin.client.request(method, url)).status_code in (404, 405)

    run(test())


@pytest.mark.requirement("R-13.2")
@pytest.mark.parametrize("scale", [1, 100_000])
def test_an_advance_that_a_running_clock_has_passed_by_itself_must_be_answered(scale: float) -> None:
    async def test() -> None:
        async with serving("alice", clock=MovableClock(scale=scale)) as relay, controlling(relay) as admin:
            for ms in (0, 1):
                before = (await admin.get("/clock"))["now_ms"]
                answer = await admin.post("/clock", {"action": "advance", "ms": ms})
                assert answer["now_ms"] >= before + ms

    run(test())


def test_a_reset_must_not_count_what_it_cleared_as_dropped() -> None:
    async def test() -> None:
        async with serving("alice", clock=frozen()) as relay, controlling(relay) as admin:
            async with connected(relay, "alice"):
                pass
            await admin.post("/reset")
            assert (await admin.get("/stats"))["journal_dropped"] == 0

    run(test())


@pytest.mark.requirement("R-6.8")
def test_pre_keys_and_media_beyond_their_bounds_must_be_refused_and_counted() -> None:
    async def test() -> None:
        settings = {"devices": {"max_prekeys": 2}}
        bounds = Bounds(media_bytes=10)
        async with serving("alice", settings=settings, bounds=bounds) as relay, controlling(relay) as admin:
            alice, signed = relay.users[0], b"S" * 32
            bundle = {
                "identityKey": b64(alice.identity_key),
                "signedPreKey": {"id": 1, "key": b64(signed)},
                "signature": b64(SigningKey(alice.identity_secret).sign(signed).signature),
                "oneTimePreKeys": [{"id": number, "key": b64(bytes([number]) * 32)} for number in range(3)],
            }
            bearer = {"Authorization": f"Bearer {alice.token}"}
            refused = await admin.client.post(f"{relay.http_url}/api/keys", json=bundle, headers=bearer)
            assert refused.status_code == 403
            url = f"{relay.http_url}/api/v1/upload-media"
            too_large = await admin.client.post(url, content=b"x" * 11, headers=bearer)
            assert too_large.status_code == 413
            assert "--bound media_bytes" in too_large.json()["message"]
            counters = (await admin.get("/stats"))["counters"]
            assert (counters["prekeys.refused"], counters["media.refused"]) == (1, 1)

    run(test())


def b64(data: bytes) -> str:
    return b64encode(data).decode()
