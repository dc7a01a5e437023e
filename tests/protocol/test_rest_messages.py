"""Messages over REST: pages in order, one sent, many acknowledged (R-6.6)."""

from __future__ import annotations

import pytest
from relay_support import assert_ledger, loose, pending
from relay_world import RelayWorld, b64

from zentalk_sim.protocol.config import Limits


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


@pytest.mark.requirement("R-6.6", "R-1.2")
def test_a_page_must_hold_the_messages_as_they_were_pushed(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    pushed = b.of("MESSAGE_NEW")[0]
    answer = bob.rest("GET", "/api/messages")
    (message,) = answer.body["messages"]
    import msgspec

    as_json = msgspec.json.decode(msgspec.json.encode(message))
    assert as_json == {k: pushed[k] for k in ("type", "id", "timestamp", "payload")}
    assert as_json["id"] == message_id
    assert as_json["timestamp"] == as_json["payload"]["timestamp"]


@pytest.mark.requirement("R-6.6")
def test_pages_must_come_in_the_order_of_acceptance_even_within_a_millisecond(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    sent = []
    for _ in range(250):
        sent.append(a.message(bob))
        world.advance_us(300)
    pages = [bob.rest("GET", f"/api/messages?limit=100&offset={at}").body for at in (0, 100, 200, 300)]
    assert [m["id"] for page in pages for m in page["messages"]] == sent
    assert [page["total"] for page in pages] == [250] * 4
    assert len(bob.rest("GET", "/api/messages").body["messages"]) == 100, "the default"
    assert len(bob.rest("GET", "/api/messages?limit=200").body["messages"]) == 200


@pytest.mark.requirement("R-6.6")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1_0", "limit"),
        ("limit=+5", "limit"),
        ("limit=٣", "limit"),
        ("limit=" + "9" * 30, "limit"),
        ("offset=-1", "offset"),
        ("offset=1.5", "offset"),
    ],
)
def test_numbers_out_of_range_must_be_refused_by_name(world: RelayWorld, query: str, field: str) -> None:
    answer = world.person("bob").rest("GET", f"/api/messages?{query}")
    assert answer.status == 400
    assert answer.body["error_code"] == "INVALID_MESSAGE"
    assert answer.body["details"] == {"reason": "malformed", "field": field}
    assert field in answer.body["message"]


@pytest.mark.requirement("R-6.6")
def test_fetching_must_leave_the_mailbox_as_it_is_until_acknowledged(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    sent = [a.message(bob) for _ in range(3)]
    bob.rest("GET", "/api/messages")
    assert pending(world) == 3
    assert bob.rest("POST", "/api/messages/ack", {"message_ids": sent[:1] * 2}).body == {"acked": 1}
    assert [m["id"] for m in bob.rest("GET", "/api/messages").body["messages"]] == sent[1:]
    assert_ledger(world)


@pytest.mark.requirement("R-6.6")
def test_a_device_must_see_its_own_mailbox_only(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    sent = alice.connect().message(bob)
    bob.rest("POST", "/api/messages/ack", {"message_ids": [sent]}, device=0)
    assert bob.rest("GET", "/api/messages", device=0).body["total"] == 0
    assert bob.rest("GET", "/api/messages", device=1).body["total"] == 1


@pytest.mark.requirement("R-6.6")
@pytest.mark.parametrize("body", [None, b"", b"{", b"[]", {}, {"message_ids": "x"}, {"message_ids": [1]}])
def test_an_acknowledgement_of_another_form_must_be_refused(world: RelayWorld, body: object) -> None:
    answer = world.person("bob").rest("POST", "/api/messages/ack", body)
    assert (answer.status, answer.body["details"]["reason"]) == (400, "malformed")


@pytest.mark.requirement("R-6.2", "R-5.6")
def test_a_message_posted_must_be_as_one_sent(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    b = bob.connect()
    body = {"id": world.uuid().upper(), "to": bob.address, "ciphertext": b64(b"hi"), "nonce": b64(bytes(12))}
    body["message_type"] = "text"
    answer = alice.rest("POST", "/api/messages", body)
    assert answer.status == 200
    assert answer.body.status == "queued"
    assert answer.body.message_id == b.of("MESSAGE_NEW")[0]["id"] == body["id"].lower()
    again = alice.rest("POST", "/api/messages", body)
    assert (again.status, again.body.status) == (200, "duplicate")
    a = alice.connect()
    a.send("MESSAGE_SEND", {k: v for k, v in body.items() if k != "id"}, id=body["id"])
    assert a.last("MESSAGE_ACK")["status"] == "duplicate", "the one index serves both ways"
    assert len(b.of("MESSAGE_NEW")) == 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"to": "0x" + "00" * 20}, 404, "RECIPIENT_NOT_FOUND"),
        ({"x3dh_header": {"identity_key": b64(bytes(32)), "ephemeral_key": b64(bytes(32))}}, 409, "KEY_MISMATCH"),
        ({"nonce": b64(bytes(11))}, 400, "INVALID_MESSAGE"),
        ({"id": "msg_1"}, 400, "INVALID_MESSAGE"),
        ({"conversation_id": "conv_bob_carol"}, 403, "FORBIDDEN"),
    ],
)
@pytest.mark.requirement("R-6.1", "R-6.4", "R-6.8", "table:Error Codes/INVALID_MESSAGE")
def test_a_posted_message_must_fail_with_the_http_equivalent(
    world: RelayWorld, change: dict[str, object], status: int, code: str
) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    bob.connect().message(carol, conversation_id="conv_bob_carol")
    body = {"id": world.uuid(), "to": bob.address, "ciphertext": "", "nonce": b64(bytes(12)), "message_type": "text"}
    answer = alice.rest("POST", "/api/messages", body | change)
    assert (answer.status, answer.body["error_code"]) == (status, code)
    assert set(answer.body) == {"error_code", "message", "details"}


@pytest.mark.requirement("R-10.1", "table:Message Rate Limits/Send message")
def test_posting_must_share_the_devices_limit_with_the_socket() -> None:
    world = RelayWorld(loose(limits=Limits(auth_attempts="off")))
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    for _ in range(10):
        a.message(bob)
    body = {"id": world.uuid(), "to": bob.address, "ciphertext": "", "nonce": b64(bytes(12)), "message_type": "text"}
    answer = alice.rest("POST", "/api/messages", body)
    assert (answer.status, answer.body["error_code"]) == (429, "RATE_LIMITED")
    assert answer.headers == (("Retry-After", "1"),)
    assert answer.body["details"]["reason"] == "burst"


@pytest.mark.requirement("R-4.5")
@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/api/messages", "receive_message"),
        ("POST", "/api/messages", "send_message"),
        ("POST", "/api/messages/ack", "receive_message"),
    ],
)
def test_each_must_need_its_capability(world: RelayWorld, method: str, path: str, needed: str) -> None:
    alice = world.person("alice")
    others = tuple(c for c in ("send_message", "receive_message", "presence") if c != needed)
    answer = alice.rest(method, path, {}, bearer=alice.token(capabilities=others))
    assert (answer.status, answer.body["error_code"]) == (403, "FORBIDDEN")
    assert answer.body["details"] == {"capability": needed}
