"""A session with a running relay in which every path is asked and every type of frame passes, all of it written down.

``python -m tests.documents.material FOLDER`` leaves it there as JSON, with the two documents, for ``validate.mjs``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from nacl.signing import SigningKey

from mockrelay.server import MockRelay
from tests.mockrelay.live_support import Peer, connected, frozen, message, now_ms, run, serving, user_of
from zentalk_sim.protocol.identity import conversation_id, token_signed_data

Json = dict[str, Any]
NOBODY = "00000000-0000-4000-8000-000000000000"
DAY_MS = 86_400_000


class Call(NamedTuple):
    """A request and its answer; JSON bodies as objects."""

    method: str
    path: str
    """Its template, such as ``/admin/users/{address}``."""
    asked: Any
    status: int
    kind: str
    answer: Any


class Frame(NamedTuple):
    """A frame as the journal holds it."""

    side: str
    is_binary: bool
    frame: Json


class Session(NamedTuple):
    """All that was said."""

    calls: list[Call]
    frames: list[Frame]
    openapi: Json
    asyncapi: Json
    space_openapi: Json
    space_asyncapi: Json


class Desk:
    """Asks the relay and writes it down."""

    def __init__(self, relay: MockRelay, client: httpx.AsyncClient) -> None:
        self.relay = relay
        self.client = client
        self.calls: list[Call] = []
        self.tokens = {user.name: user.token for user in relay.users}

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        expect: int = 200,
        who: str | None = None,
        base: str | None = None,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        **places: Any,
    ) -> Any:
        """One call; ``places`` fill the path's template, and those it does not name are the query."""
        if who is None and path.startswith("/admin"):
            who = "admin"
        token = self.relay.admin_token if who == "admin" else self.tokens.get(who or "", who)
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        query = {name: value for name, value in places.items() if f"{{{name}}}" not in path}
        url = (base or self.relay.http_url) + path.format(**places)
        answer = await self.client.request(
            method, url, params=query, headers=sent, **({"content": content} if content is not None else {"json": body})
        )
        assert answer.status_code == expect, (method, url, answer.status_code, answer.text)
        kind = answer.headers.get("content-type", "").partition(";")[0]
        found = answer.json() if kind == "application/json" else None
        self.calls.append(Call(method, path, body, answer.status_code, kind, found))
        return found


def _signed(secret: bytes, data: bytes) -> str:
    return b64encode(SigningKey(secret).sign(data).signature).decode()


def _key(number: int) -> str:
    return b64encode(bytes([number]) * 32).decode()


async def _app(desk: Desk) -> None:
    """The app's REST interface."""
    relay, ask = desk.relay, desk.ask
    alice, bob = user_of(relay, "alice"), user_of(relay, "bob")
    for path in ("/health", "/ready", "/metrics", "/.well-known/jwks.json", "/openapi.json", "/asyncapi.json"):
        await ask("GET", path)
    at = now_ms()
    proof = {
        "identity_key": b64encode(alice.identity_key).decode(),
        "device_id": alice.device_id,
        "timestamp": at,
        "signature": _signed(alice.identity_secret, token_signed_data(alice.device_id, at)),
    }
    desk.tokens["alice"] = (await ask("POST", "/api/token", proof))["token"]
    await ask("POST", "/api/token", {**proof, "timestamp": at - 1}, expect=401)
    await ask("POST", "/api/token", {}, expect=400)
    await ask("POST", "/api/token", content=b" " * ((1 << 20) + 1), expect=413)

    letter = {"id": NOBODY.replace("4000", "4001"), **message(bob)}
    await ask("POST", "/api/messages", letter, who="alice")
    await ask("POST", "/api/messages", {**letter, "id": NOBODY, "nonce": ""}, who="alice", expect=400)
    await ask("POST", "/api/messages", {**message(bob), "id": NOBODY, "to": "0x" + 40 * "1"}, who="alice", expect=404)
    await ask("GET", "/api/messages", who="bob", limit=10, offset=0)
    await ask("GET", "/api/messages", who="bob", limit=0, expect=400)
    await ask("GET", "/api/messages", who="nonsense", expect=401)
    await ask("POST", "/api/messages/ack", {"message_ids": [letter["id"]]}, who="bob")
    await ask("POST", "/api/messages/ack", [], who="bob", expect=400)

    keys = {
        "identityKey": b64encode(bob.identity_key).decode(),
        "signedPreKey": {"id": 1, "key": _key(7)},
        "signature": _signed(bob.identity_secret, bytes([7]) * 32),
        "oneTimePreKeys": [{"id": 2, "key": _key(8)}],
    }
    await ask("POST", "/api/keys", keys, who="bob")
    await ask("POST", "/api/keys", {**keys, "signature": b64encode(bytes(64)).decode()}, who="bob", expect=401)
    await ask("POST", "/api/keys", {**keys, "identityKey": _key(9)}, who="bob", expect=403)
    await ask("POST", "/api/keys", {}, who="bob", expect=400)
    for _ in range(2):
        await ask("GET", "/api/keys/{address}", who="alice", address=bob.address)
    await ask("GET", "/api/keys/{address}", who="alice", address=alice.address, expect=404)

    device = {"device_id": NOBODY, "device_name": "tablet", "device_type": "tablet", "push_token": "p"}
    await ask("POST", "/api/devices", device, who="alice", expect=201)
    await ask("POST", "/api/devices", device, who="alice")
    await ask("POST", "/api/devices", {}, who="alice", expect=400)
    await ask("GET", "/api/devices", who="alice")
    await ask("DELETE", "/api/devices/{device_id}", who="alice", device_id=NOBODY, expect=204)
    await ask("DELETE", "/api/devices/{device_id}", who="alice", device_id=NOBODY, expect=404)
    await ask("PUT", "/api/settings", {"show_last_seen": True}, who="alice")
    await ask("PUT", "/api/settings", {"show_last_seen": 1}, who="alice", expect=400)
    await ask("GET", "/api/settings", who="alice")

    kept = await ask("POST", "/api/v1/upload-media", who="alice", content=b"picture", expect=201)
    await ask("GET", "/api/v1/media/{id}", who="bob", id=kept["id"])
    await ask("GET", "/api/v1/media/{id}", who="bob", id="none", expect=404)
    multipart = {"content-type": "multipart/form-data"}
    await ask("POST", "/api/v1/upload-media", who="alice", content=b"x", headers=multipart, expect=400)


async def _peers(desk: Desk) -> None:
    """Every type of frame."""
    relay, ask = desk.relay, desk.ask
    alice_user, bob_user = user_of(relay, "alice"), user_of(relay, "bob")
    talk = conversation_id(alice_user.address, bob_user.address)
    await ask("POST", "/admin/messages", {"from": "alice", "to": "bob", "payload": {"ciphertext": "aGk="}})
    await ask("POST", "/admin/messages", {"from": "alice", "to": "bob"}, expect=400)
    await ask("POST", "/admin/messages", {"from": "alice", "to": "nobody"}, expect=404)
    await ask("POST", "/admin/users/{address}/contacts", {"address": "bob"}, address="alice")
    await ask("POST", "/admin/users/{address}/contacts", {"address": "dave"}, address="alice", expect=404)
    async with connected(relay, "alice") as alice, connected(relay, "bob") as bob:
        assert (await bob.until("SYNC_REQUIRED"))["payload"]["pending_count"] == 1
        await bob.send("SUBSCRIBE", {"topics": [f"presence:{alice_user.address}"]})
        await bob.send("UNSUBSCRIBE", {"topics": [f"presence:{alice_user.address}"]})
        await bob.send("SUBSCRIBE", {"topics": [f"presence:{alice_user.address}", f"typing:{talk}"]})
        await _settled(bob)
        await alice.send("PRESENCE_SET", {"status": "away"})
        while (await bob.until("PRESENCE_UPDATE"))["payload"]["status"] != "away":
            pass
        await alice.message(bob_user)
        letter = await bob.until("MESSAGE_NEW")
        await alice.until("MESSAGE_ACK")
        await bob.send("MESSAGE_RECEIVED", {"message_id": letter["id"]})
        await alice.until("MESSAGE_DELIVERED")
        await bob.send("MESSAGE_READ", {"message_id": letter["id"]})
        await alice.until("MESSAGE_READ")
        for kind in ("TYPING_START", "TYPING_STOP"):
            await alice.send(kind, {"conversation_id": talk})
            await bob.until(kind)
        await _large(alice, bob)
        await alice.send("MESSAGE_RECEIVED", {"message_id": 7})
        assert (await alice.until("ERROR"))["payload"]["details"]["field"] == "payload.message_id"
        await ask("POST", "/admin/users/{address}/rotate-key", {"reason": "reinstall"}, address="carol")
        await alice.until("KEY_CHANGE")
        await _control_of_connections(desk, bob)
        await _moved_clock(desk, alice)
    async with connected(relay, "bob", authenticate=False) as stranger:
        stranger.user = alice_user
        try:
            await stranger.authenticate()
        except Exception as error:
            assert "4000" in str(error), error
        assert stranger.seen[-1]["type"] == "AUTH_FAILED"


async def _settled(peer: Peer) -> None:
    """What was sent before has been taken: a pong comes after it."""
    await (await peer.ws.ping())


async def _large(alice: Peer, bob: Peer) -> None:
    """A message that needs a binary frame, both ways."""
    payload = json.dumps(message(bob.user, bytes(20_000))).encode()
    head = bytes([0x02]) + bytes(15) + b"\x77" + now_ms().to_bytes(8, "big") + len(payload).to_bytes(4, "big")
    await alice.ws.send(head + payload)
    while not (await bob.until("MESSAGE_NEW")).get("binary"):
        pass
    await alice.until("MESSAGE_ACK")


async def _control_of_connections(desk: Desk, bob: Peer) -> None:
    ask = desk.ask
    listed = await ask("GET", "/admin/connections")
    number = next(one["id"] for one in listed if one["user"] == bob.user.address)
    frame = {"type": "PRESENCE_UPDATE", "payload": {"user_id": bob.user.address, "status": "online"}}
    await ask("POST", "/admin/connections/{id}/send", {"frame": frame}, id=number)
    await ask("POST", "/admin/connections/{id}/send", {}, id=number, expect=400)
    await ask("POST", "/admin/connections/{id}/send", {"text": "x"}, id=999, expect=404)
    await ask("DELETE", "/admin/connections/{id}", {"how": "close", "code": 1005}, id=number, expect=400)
    await ask("DELETE", "/admin/connections/{id}", {"how": "close", "code": 4002}, id=number)
    await bob.ws.wait_closed()


async def _moved_clock(desk: Desk, alice: Peer) -> None:
    ask = desk.ask
    await ask("GET", "/admin/clock")
    advance = {"action": "advance", "ms": 31_000, "heartbeat": "wait"}
    advancing = asyncio.ensure_future(ask("POST", "/admin/clock", advance))
    ping = (await alice.until("PING"))["payload"]["timestamp"]
    await alice.send("PONG", {"timestamp": ping, "client_time": now_ms()})
    await advancing
    await ask("POST", "/admin/clock", {"action": "advance", "ms": 23 * DAY_MS // 24})
    await alice.until("TOKEN_EXPIRING")
    token = next(frame for frame in alice.seen if frame["type"] == "AUTH_SUCCESS")["payload"]["session_token"]
    signature = _signed(alice.user.identity_secret, token.encode("ascii"))
    await alice.send("TOKEN_REFRESH", {"session_token": token, "signature": signature})
    await alice.until("TOKEN_REFRESHED")
    await ask("POST", "/admin/clock", {"action": "advance", "ms": -1}, expect=400)
    for action in ({"action": "scale", "factor": 2}, {"action": "freeze"}, {"action": "resume"}, {"action": "freeze"}):
        await ask("POST", "/admin/clock", action)


async def _control(desk: Desk) -> None:
    """The control API, but for what is about connections and the clock."""
    relay, ask = desk.relay, desk.ask
    await ask("GET", "/admin/users", who="nonsense", expect=401)
    await ask("GET", "/admin/users", headers={"Host": "evil.example"}, expect=421)
    await ask("GET", "/admin/users", headers={"Origin": "https://evil.example"}, expect=403)
    await ask("GET", "/admin/users")
    device = {"device_id": NOBODY, "device_type": "mobile", "push_token": "token"}
    await ask("POST", "/admin/users", {"name": "carol", "devices": [device]}, expect=201)
    await ask("POST", "/admin/users", {"name": "carol"}, expect=409)
    await ask("POST", "/admin/users", {"nmae": "carol"}, expect=400)
    await ask("POST", "/admin/users", {"name": "dora", "devices": []}, expect=201)
    for address, status in (("carol", 200), (relay.users[0].address, 200), ("nobody", 404)):
        await ask("GET", "/admin/users/{address}", address=address, expect=status)
    change = {"suspended": True, "settings": {"share_presence": False}}
    await ask("PATCH", "/admin/users/{address}", change, address="dora")
    await ask("PATCH", "/admin/users/{address}", {"settings": {"x": 1}}, address="dora", expect=400)
    await ask("POST", "/admin/users/{address}/token", {"device_id": NOBODY, "lifetime_s": 60}, address="carol")
    await ask("POST", "/admin/users/{address}/token", {}, address="carol", expect=400)
    await ask("POST", "/admin/users/{address}/contacts", {"address": "carol"}, address="alice")
    await ask("POST", "/admin/messages", {"from": "alice", "to": "carol", "payload": {"ciphertext": "aGk="}})
    await ask("GET", "/admin/pushes")
    await ask("GET", "/admin/config")
    await ask("PATCH", "/admin/config", {"limits": {"typing": {"limit": 5}}, "integrity": "verify"})
    await ask("PATCH", "/admin/config", {"limit": {}}, expect=400)
    await ask("GET", "/admin/stats")
    await ask("GET", "/admin/inspector")


async def _rules_and_journal(desk: Desk) -> None:
    ask = desk.ask
    rule = {"match": {"event": "rest", "path": "/api/settings"}, "action": {"do": "refuse", "status": 418}, "times": 1}
    made = await ask("POST", "/admin/rules", rule, expect=201)
    late = {"match": {"type": "TYPING_START"}, "action": {"do": "delay", "ms": 10, "jitter_ms": 5}, "comment": "late"}
    await ask("POST", "/admin/rules", [late, {"match": {}, "action": {"do": "pass"}}], expect=201)
    await ask("POST", "/admin/rules", {"match": {"tpye": "PING"}, "action": {"do": "drop"}}, expect=400)
    await ask("GET", "/api/settings", who="alice", expect=418)
    await ask("GET", "/admin/rules")
    await ask("DELETE", "/admin/rules/{id}", id=made["id"])
    await ask("DELETE", "/admin/rules/{id}", id=made["id"], expect=404)
    await ask("DELETE", "/admin/rules")
    await ask("GET", "/admin/journal", type="MESSAGE_NEW", after=0)
    await ask("GET", "/admin/journal", event="nonsense", expect=400)
    sent = {"event": "frame_in", "type": "TOKEN_REFRESH"}
    await ask("POST", "/admin/journal/wait", {"match": sent, "count": 1})
    await ask("POST", "/admin/journal/wait", {"match": sent, "count": 9, "timeout_ms": 1}, expect=408)
    await ask("POST", "/admin/journal/verify", {"match": sent, "count": 1})
    await ask("POST", "/admin/journal/verify", {"match": {**sent, "user": "bob"}, "count": 1}, expect=409)
    await ask("POST", "/admin/journal/verify", {"order": [sent, {"event": "frame_out", "type": "TOKEN_REFRESHED"}]})
    await ask("POST", "/admin/journal/verify", {}, expect=400)


async def _bots_recordings_spaces(desk: Desk) -> tuple[Json, Json]:
    ask = desk.ask
    bot = await ask("POST", "/admin/bots", {"kind": "echo", "user": "echo"}, expect=201)
    await ask("POST", "/admin/bots", {"kind": "parrot"}, expect=400)
    await ask("GET", "/admin/bots")
    await ask("DELETE", "/admin/bots/{id}", id=bot["id"])
    await ask("DELETE", "/admin/bots/{id}", id="none", expect=404)
    recording = await ask("POST", "/admin/recordings", {"action": "start"}, expect=201)
    await ask("POST", "/admin/recordings", {"action": "start"}, expect=409)
    await ask("POST", "/admin/recordings", {"action": "stop"})
    await ask("POST", "/admin/recordings", {"action": "pause"}, expect=400)
    await ask("GET", "/admin/recordings")
    for name in ("jsonl", "har"):
        await ask("GET", "/admin/recordings/{id}", id=recording["id"], format=name)
    await ask("GET", "/admin/recordings/{id}", id=recording["id"], format="xml", expect=400)
    await ask("GET", "/admin/recordings/{id}", id="none", expect=404)
    space = await ask("POST", "/admin/spaces", {"seed": 3, "clock": "frozen", "users": ["eve"]}, expect=201)
    await ask("POST", "/admin/spaces", {"sede": 3}, expect=400)
    await ask("GET", "/admin/spaces")
    await ask("GET", "/admin/spaces/{id}", id=space["id"])
    within = [await ask("GET", f"/{name}.json", base=space["http_url"]) for name in ("openapi", "asyncapi")]
    await ask("GET", "/admin/spaces", base=space["http_url"], expect=404)
    await ask("DELETE", "/admin/spaces/{id}", id=space["id"])
    await ask("GET", "/admin/spaces/{id}", id=space["id"], expect=404)
    async with desk.client.stream(
        "GET", f"{desk.relay.http_url}/admin/events", headers={"Authorization": f"Bearer {desk.relay.admin_token}"}
    ) as stream:
        kind = stream.headers["content-type"].partition(";")[0]
        desk.calls.append(Call("GET", "/admin/events", None, stream.status_code, kind, None))
    await ask("GET", "/admin/events", after="x", expect=400)
    return within[0], within[1]


async def _session() -> Session:
    relay = serving("alice", "bob", clock=frozen())
    async with relay, httpx.AsyncClient(trust_env=False, timeout=15) as client:
        desk = Desk(relay, client)
        await _app(desk)
        await _control(desk)
        await _peers(desk)
        await _rules_and_journal(desk)
        space_openapi, space_asyncapi = await _bots_recordings_spaces(desk)
        journal = await desk.ask("GET", "/admin/journal")
        documents = [await desk.ask("GET", f"/{name}.json") for name in ("openapi", "asyncapi")]
        for action in ("restart", "reset"):
            await desk.ask("POST", f"/admin/{action}")
        await desk.ask("POST", "/admin/shutdown", expect=202)
    sides = {"frame_in": "client", "frame_out": "relay"}
    frames = [
        Frame(sides[entry["event"]], entry.get("binary", False), entry["frame"])
        for entry in journal
        if entry["event"] in sides
    ]
    return Session(desk.calls, frames, *documents, space_openapi, space_asyncapi)


@cache
def session() -> Session:
    """The session; held once a process."""
    return run(_session())


def main(folder: Path) -> None:
    """Write the documents and the session down."""
    from mockrelay.documents.asyncapi import text_of

    found = session()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found._asdict().items():
        if isinstance(content, list):
            content = [item._asdict() for item in content]
        (folder / f"{name}.json").write_bytes(text_of(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
