"""A person as the drive: prompts on the terminal, one case after another.

The law of this file: a prompt says what to do in the app and what each answer means, and is never needed to be read
twice; what is asked of the person goes to stderr, so that stdout stays free.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Final

from mockrelay.certify.drive import Drive, Json, Quit, Unsupported

_HELP: Final = "[Enter] done · u it cannot · q quit"
_YES_NO: Final = "y yes · n no · q quit"
_TEXTS: Final = {
    "connect": "Let the app connect as this user:\n    relay     {ws_url}\n    REST      {http_url}\n    user      "
    "{identity[name]} {identity[address]}\n    device    {identity[device_id]}\n    "
    "key       {identity[identity_secret]}\n    token     {identity[token]}",
    "close": "Let the app close its connection (log out, or quit it in order).",
    "send": "Send a message to {to}; its content does not matter.",
    "mark_read": "Open the message that came last, so that it is read.",
    "typing": "Type a key in the conversation with {to}; do not send.",
    "presence": "Set the presence to {status}.",
    "subscribe": "Let the app subscribe to {topics}.",
    "foreground": "Bring the app to the foreground.",
    "background": "Send the app to the background.",
    "network_changed": "Change the network: turn Wi-Fi off and on.",
    "renew_token": "Hand the app this token: {token}",
}


class HandDrive(Drive):
    """A person at the terminal; one for all cases."""

    by_hand = True

    def __init__(self) -> None:
        super().__init__()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._last: Json = {}
        self._reads = False

    async def start(self, case_id: str) -> None:
        """See Drive: the person sees which case begins, and may quit or leave it out."""
        self.events.clear()
        if not self._reads:
            self._reads = True
            self._read(asyncio.get_running_loop())

    async def ask(self, request: Json) -> Json:
        """See Drive."""
        action = request["action"]
        if action == "hello":
            _say(f"\n— Case {request['case']}: {request['title']}")
            return {"done": {"name": "by hand"}}
        if action == "confirm":
            _say(f"Is it so? {request['question']}")
            return {"done": {"yes": await self._choice(_YES_NO, "yn") == "y"}}
        if action not in _TEXTS:
            return {"unsupported": "by hand"}
        _say(_TEXTS[action].format(**request))
        if await self._choice(_HELP, ("", "u")) == "u":
            # Only here and now: what one case cannot do another may.
            raise Unsupported(action, "said at the terminal")
        return {"done": True}

    async def _choice(self, prompt: str, choices: str | tuple[str, ...]) -> str:
        """One of the choices, asked for until it is given. Raises Quit."""
        while True:
            sys.stderr.write(f"  {prompt} > ")
            sys.stderr.flush()
            line = await self._lines.get()
            if line is None or line == "q":
                raise Quit
            if line in tuple(choices):
                return line

    async def stop(self) -> None:
        """See Drive: the person stays."""

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        def read() -> None:
            while data := os.read(0, 65_536):
                for line in data.decode(errors="replace").splitlines():
                    loop.call_soon_threadsafe(self._lines.put_nowait, line.strip().lower())
            loop.call_soon_threadsafe(self._lines.put_nowait, None)

        threading.Thread(target=read, name="certify-stdin", daemon=True).start()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
