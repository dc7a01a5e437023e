"""``mockrelay connect``: a person at a terminal as one user of a relay, on the client core.

Lines in, events out: messages and receipts go to stdout, the connection's life to stderr. What the protocol calls
ciphertext is here the line's plain UTF-8 text: nothing is encrypted, and the program says so. Its law: whatever a
peer sends is shown with control characters taken out, since a terminal obeys them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec

from mockrelay.connect_identity import ConnectError, Directory, Who, introduce
from zentalk_sim.live.device import Device
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import (
    Acked,
    ClientEffect,
    Deliver,
    Failed,
    GaveUp,
    Identity,
    Receipt,
    Rejected,
    StateChanged,
    Update,
)
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.frames import SettableStatus
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.protocol.streams import Streams

HELP: Final = """\
to NAME TEXT          send a message; NAME may be an address
read                  mark every message shown as read
typing NAME           show NAME that you type (stops by itself after 5 s)
presence STATUS       online, away or invisible
watch NAME            follow NAME's presence (you must share a conversation)
who                   your own name and address
help                  this list
quit                  close the connection and end"""
FAREWELL_S: Final = 10.0
"""At the end of the input, how long what was sent waits for its MESSAGE_ACK."""
_MAX_LINE: Final = 65_536
_READ_BYTES: Final = 4096

Print = Callable[[str], None]


def printable(text: str) -> str:
    """Text without what a terminal would obey: control and format characters become visible escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class Terminal:
    """One session: commands of a person, events of the client core."""

    def __init__(self, who: Who, directory: Directory, say: Print, note: Print) -> None:
        """``say`` is for what happens between people (stdout), ``note`` for the connection's life (stderr)."""
        self._who = who
        self._directory = directory
        self._say = say
        self._note = note
        self._unread: list[str] = []
        self._sent: dict[str, str] = {}
        self.failed = 0
        """Messages that were given up on or refused, and lines that mean nothing."""
        self.ended: asyncio.Event = asyncio.Event()
        self.why_ended = ""
        identity = Identity(who.address, who.identity_secret, who.device_id, who.token)
        config = ClientConfig()
        client = Client(config, identity, streams=Streams(secrets.token_bytes(32), 0), name="connect")
        self.device = Device(client, who.ws_url, who.http_url, on_effect=self._on_effect, tls=who.tls)

    @property
    def unacked(self) -> int:
        """Messages that the relay has not acknowledged yet."""
        return self.device.client.unacked

    # --- what a person types -------------------------------------------------------------------------

    async def obey(self, line: str) -> bool:
        """Carry out one line; False where it is ``quit``."""
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if not word:
            return True
        if word == "quit":
            return False
        try:
            await self._obey(word, rest)
        except ConnectError as error:
            self.failed += 1
            self._note(str(error))
        return True

    async def _obey(self, word: str, rest: str) -> None:
        if word == "to":
            name, _, text = rest.partition(" ")
            if not text.strip():
                raise ConnectError("say to whom and what: to NAME TEXT")
            address = await self._directory.address(name)
            message_id = self.device.send(address, text.strip().encode())
            self._sent[message_id] = name
        elif word == "read":
            for message_id in self._unread:
                self.device.mark_read(message_id)
            self._note(f"{len(self._unread)} marked as read")
            self._unread.clear()
        elif word == "typing":
            if not rest:
                raise ConnectError("say to whom: typing NAME")
            address = await self._directory.address(rest)
            self.device.start_typing(conversation_id(self._who.address, address))
        elif word == "presence":
            try:
                status = msgspec.convert(rest, SettableStatus)
            except msgspec.ValidationError:
                raise ConnectError("presence is online, away or invisible") from None
            self.device.set_presence(status)
        elif word == "watch":
            if not rest:
                raise ConnectError("say whom: watch NAME")
            self.device.subscribe([f"presence:{await self._directory.address(rest)}"])
        elif word == "who":
            self._say(f"{self._who.name} {self._who.address}")
        elif word == "help":
            self._say(HELP)
        else:
            raise ConnectError(f"unknown command {printable(word)[:40]!r}; help lists them")

    # --- what happens --------------------------------------------------------------------------------

    def _on_effect(self, effect: ClientEffect) -> None:
        if isinstance(effect, Deliver):
            self._unread.append(effect.message_id)
            self._show(effect)
        elif isinstance(effect, Acked):
            self._note(f"to {self._sent.get(effect.message_id, '?')}: accepted by the relay ({effect.status})")
        elif isinstance(effect, Receipt):
            whom = self._sent.get(effect.message_id, "?")
            self._say(f"* {whom} {'has read' if effect.kind == 'read' else 'has received'} your message")
        elif isinstance(effect, Failed | Rejected):
            self._fail(effect)
        elif isinstance(effect, Update):
            self._update(effect)
        elif isinstance(effect, StateChanged):
            self._state(effect)
        elif isinstance(effect, GaveUp):
            self._end(f"gave up after {effect.attempts} attempts")

    def _show(self, effect: Deliver) -> None:
        payload = effect.payload
        try:
            text = printable(payload.ciphertext.decode())
        except UnicodeDecodeError:
            text = f"({len(payload.ciphertext)} bytes that are no text; this program cannot decrypt)"
        kind = "" if payload.message_type == "text" else f" [{payload.message_type}]"
        self._say(f"{self._directory.name(effect.sender)}{kind}: {text}")

    def _fail(self, effect: Failed | Rejected) -> None:
        what = f"to {self._sent[effect.message_id]}" if effect.message_id in self._sent else "the last command"
        reason = effect.error_code if isinstance(effect, Failed) else effect.reason
        if effect.message_id in self._sent:
            self.failed += 1
        self._note(f"{what}: refused ({printable(reason)})")

    def _update(self, effect: Update) -> None:
        kind, payload = effect.frame.type, effect.frame.payload
        user: Any = getattr(payload, "user_id", None)
        name = self._directory.name(user) if isinstance(user, str) else "?"
        if kind == "PRESENCE_UPDATE":
            self._say(f"* {name} is {payload.status}")
        elif kind in ("TYPING_START", "TYPING_STOP"):
            self._say(f"* {name} {'is typing' if kind == 'TYPING_START' else 'stopped typing'}")
        elif kind == "KEY_CHANGE":
            self._say(f"* {name} has another key ({payload.reason})")
        elif kind == "AUTH_FAILED":
            self._note(f"the relay refused: {printable(payload.message)}")

    def _state(self, change: StateChanged) -> None:
        if change.new is ClientState.CONNECTED:
            self._note(f"connected as {self._who.name} {self._who.address}")
        elif change.new is ClientState.FAILED:
            self._note(f"connection lost ({change.cause}); trying again")
        elif change.new is ClientState.DISCONNECTED and not self.ended.is_set():
            self._end(f"the connection ended ({change.cause})")

    def _end(self, why: str) -> None:
        self.why_ended = why
        self.ended.set()


def read_lines(fd: int, loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str | None]) -> None:
    """Read a file descriptor in a thread, terminal, pipe or file alike; None at its end.

    Unbuffered and by descriptor, so that no lock is held by a thread that still waits when the program ends.
    """

    def read() -> None:
        kept = b""
        try:
            while chunk := os.read(fd, _READ_BYTES):
                *whole, kept = (kept + chunk).split(b"\n")
                for line in whole:
                    put(line)
                if len(kept) > _MAX_LINE:
                    put(kept)
                    kept = b""
            if kept:
                put(kept)
        except OSError:
            pass
        finally:
            tell(None)

    def put(line: bytes) -> None:
        tell(line.decode(errors="replace").rstrip("\r"))

    def tell(line: str | None) -> None:
        # The loop may be closed already: nobody reads any more.
        if not loop.is_closed():
            loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, name="stdin", daemon=True).start()


async def session(who: Who, directory: Directory, *, fd: int, say: Print, note: Print) -> int:
    """One session from connection to end; the exit code: 0, or 99 where something did not get through."""
    terminal = Terminal(who, directory, say, note)
    note("not encrypted: ciphertext is plain UTF-8 text here. help lists the commands")
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    async with terminal.device as device:
        device.connect()
        ended = asyncio.create_task(terminal.ended.wait())
        opened = asyncio.create_task(device.wait_for_state(ClientState.CONNECTED, timeout_s=3600))
        try:
            await asyncio.wait((ended, opened), return_when=asyncio.FIRST_COMPLETED)
            if not terminal.ended.is_set():
                read_lines(fd, asyncio.get_running_loop(), lines)
                await _converse(terminal, lines, ended)
        finally:
            for task in (ended, opened):
                task.cancel()
            await asyncio.gather(ended, opened, return_exceptions=True)
        if terminal.ended.is_set():
            note(terminal.why_ended)
            return 99
        await _farewell(terminal)
    if terminal.unacked:
        note(f"{terminal.unacked} messages were not acknowledged")
    # A person has seen what went wrong; a script is told.
    return 99 if terminal.unacked or (terminal.failed and not os.isatty(fd)) else 0


async def _converse(terminal: Terminal, lines: asyncio.Queue[str | None], ended: asyncio.Task[Any]) -> None:
    """Obey line by line until the input, or the connection, ends."""
    while True:
        line = asyncio.create_task(lines.get())
        await asyncio.wait((line, ended), return_when=asyncio.FIRST_COMPLETED)
        if not line.done():
            line.cancel()
            return
        text = line.result()
        if text is None or not await terminal.obey(text):
            return


async def _farewell(terminal: Terminal) -> None:
    """Let what was sent be acknowledged, then close in order."""
    device = terminal.device
    try:
        async with asyncio.timeout(FAREWELL_S):
            while terminal.unacked and not terminal.ended.is_set():
                await device.wait_for(Acked | Failed | Rejected, timeout_s=FAREWELL_S)  # type: ignore[arg-type]
    except TimeoutError:
        pass
    terminal.ended.set()
    if device.state is ClientState.CONNECTED:
        device.close()
        await device.wait_for_state(ClientState.DISCONNECTED, timeout_s=FAREWELL_S)


def run(
    ws_url: str,
    user: str,
    *,
    http_url: str | None = None,
    admin_token: str | None = None,
    identity_secret: str | None = None,
    ca_file: str | None = None,
) -> int:
    """What the command does; its exit code. Complaints go to stderr, a line each."""

    def note(text: str) -> None:
        print(f"mockrelay: {text}", file=sys.stderr, flush=True)

    def say(text: str) -> None:
        print(text, flush=True)

    try:
        tls = ssl.create_default_context(cafile=ca_file) if ws_url.startswith("wss:") else None
        who, directory = introduce(
            ws_url, user, http_url=http_url, admin_token=admin_token, identity_secret=identity_secret, tls=tls
        )
        return asyncio.run(session(who, directory, fd=sys.stdin.fileno(), say=say, note=note))
    except ConnectError as error:
        note(str(error))
        return 2
    except (OSError, ssl.SSLError) as error:
        note(f"--ca: {ca_file}: {error.strerror or error}" if ca_file else str(error))
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    except msgspec.MsgspecError as error:
        note(f"the relay's answer cannot be read: {error}")
        return 1
