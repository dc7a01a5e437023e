"""Start a mock relay, let alice say hello to bob over plain WebSockets, and verify it in the relay's journal.

Run it with `python examples/python/exchange.py`, with zentalk-sim, websockets and pynacl installed.
"""

import asyncio
import json
import os
import struct
import subprocess
import sys
import time
import urllib.request
import uuid
from base64 import b64decode, b64encode

from nacl.signing import SigningKey
from websockets.asyncio.client import ClientConnection, connect


async def send(ws: ClientConnection, kind: str, payload: dict) -> None:
    frame = {"type": kind, "id": str(uuid.uuid4()), "timestamp": time.time_ns() // 1_000_000, "payload": payload}
    await ws.send(json.dumps(frame))


async def receive(ws: ClientConnection, kind: str) -> dict:
    """The payload of the next frame of this type."""
    while (frame := json.loads(await ws.recv()))["type"] != kind:
        pass
    return frame["payload"]


async def authenticate(ws: ClientConnection, user: dict) -> None:
    challenge = await receive(ws, "AUTH_CHALLENGE")
    client_time = time.time_ns() // 1_000_000
    signed = b64decode(challenge["challenge"]) + struct.pack(">Q", challenge["server_time"])
    signed += uuid.UUID(user["device_id"]).bytes + struct.pack(">Q", client_time)
    signature = SigningKey(b64decode(user["identity_secret"])).sign(signed).signature
    answer = {"identity_key": user["identity_key"], "device_id": user["device_id"], "client_time": client_time}
    await send(ws, "AUTH_RESPONSE", {**answer, "signature": b64encode(signature).decode()})
    await receive(ws, "AUTH_SUCCESS")


async def exchange(ws_url: str, alice: dict, bob: dict) -> str:
    def connection(user: dict) -> connect:
        url = f"{ws_url}?token={user['token']}&device_id={user['device_id']}&protocol_version=1"
        return connect(url, subprotocols=["zentalk.v1"])

    async with connection(alice) as of_alice, connection(bob) as of_bob:
        await authenticate(of_alice, alice)
        await authenticate(of_bob, bob)
        # A real app encrypts first; the relay never looks inside.
        message = {"to": bob["address"], "ciphertext": b64encode(b"hello bob").decode(), "message_type": "text"}
        await send(of_alice, "MESSAGE_SEND", {**message, "nonce": b64encode(os.urandom(12)).decode()})
        await receive(of_alice, "MESSAGE_ACK")
        return b64decode((await receive(of_bob, "MESSAGE_NEW"))["ciphertext"]).decode()


def verify(start: dict, match: dict, count: int) -> dict:
    """Ask the relay's journal; raises an HTTPError (409) where it does not hold."""
    headers = {"Authorization": f"Bearer {start['admin_token']}", "Content-Type": "application/json"}
    body = json.dumps({"match": match, "count": count}).encode()
    request = urllib.request.Request(f"{start['http_url']}/admin/journal/verify", body, headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def main() -> None:
    command = [sys.executable, "-m", "mockrelay", "serve", "--port", "0", "--http-port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--user", "alice", "--user", "bob"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as relay:
        try:
            start = json.loads(relay.stdout.readline())
            print("bob got:", asyncio.run(exchange(start["ws_url"], *start["users"])))
            held = verify(start, {"event": "frame_in", "type": "MESSAGE_SEND", "user": "alice"}, count=1)
            print("verified:", held["found"], "MESSAGE_SEND by alice")
        finally:
            relay.terminate()


if __name__ == "__main__":
    main()
