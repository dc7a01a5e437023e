"""A drive program for `mockrelay certify`: JSON lines on stdin and stdout make an app act, here the project's client.

Run it with `mockrelay certify --drive 'python examples/python/drive_client.py'`. To certify an app of yours, keep
`main` and put your app's calls in the place of `Device`'s.
"""

import asyncio
import json
import os
import sys
from base64 import b64decode

from zentalk_sim.live.device import Device
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import ClientEffect, Deliver, Failed, GaveUp, Identity, Rejected
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.streams import Streams


def say(message: dict) -> None:
    """Answers and events go to stdout, a line each; anything else an app prints belongs on stderr."""
    print(json.dumps(message), flush=True)


def on_effect(effect: ClientEffect) -> None:
    """What the app shows and tells its user; certify can judge only what is reported."""
    match effect:
        case Deliver():
            say({"event": "shown", "message_id": effect.message_id})
        case Failed():
            say({"event": "failed", "message_id": effect.message_id, "error_code": effect.error_code})
        case Rejected():
            say({"event": "rejected", "message_id": effect.message_id})
        case GaveUp():
            say({"event": "gave_up"})


class App:
    device: Device

    def hello(self, asked: dict) -> dict:
        return {"name": "the example's client", "reports": ["shown", "failed", "rejected", "gave_up"]}

    def connect(self, asked: dict) -> None:
        if not hasattr(self, "device"):
            who = asked["identity"]
            identity = Identity(who["address"], b64decode(who["identity_secret"]), who["device_id"], who["token"])
            client = Client(ClientConfig(), identity, streams=Streams(os.urandom(32)))
            self.device = Device(client, asked["ws_url"], asked["http_url"], on_effect=on_effect)
        self.device.connect()

    def close(self, asked: dict) -> None:
        self.device.close()

    def send(self, asked: dict) -> dict:
        return {"message_id": self.device.send(asked["to"], b64decode(asked["ciphertext"]))}

    def mark_read(self, asked: dict) -> None:
        self.device.mark_read(asked["message_id"])

    def typing(self, asked: dict) -> None:
        self.device.start_typing(asked["conversation_id"])

    def background(self, asked: dict) -> None:
        self.device.foreground(False)

    def foreground(self, asked: dict) -> None:
        self.device.foreground(True)

    def network_changed(self, asked: dict) -> None:
        self.device.network_changed()


async def main() -> None:
    app = App()
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        action = getattr(app, asked["action"], None)
        if action is None:
            say({"id": asked["id"], "unsupported": "not in this example"})
        else:
            say({"id": asked["id"], "done": action(asked) or True})


if __name__ == "__main__":
    asyncio.run(main())
