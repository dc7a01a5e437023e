"""What a case does: acts through the app, lets time pass, speaks as the relay, waits for the app to come again.

The law of this file: no case waits for time to pass but by ``pass_time``, which moves the app's clock with the relay's
where both can be moved, and really waits where not.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from mockrelay.certify.drive import Json, Unsupported
from mockrelay.certify.scene import ENDS, Over, Scene, T
from mockrelay.certify.verdicts import Part
from zentalk_sim.protocol.control import CloseConn, SendFrame
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.protocol.rest_types import Request

if TYPE_CHECKING:
    from mockrelay.people import Person

_STEP_MS: Final = 20_000
"""The longest step of an advance of both clocks: shorter than a heartbeat."""


class Stage(Scene):
    """A scene, and what a case does in it."""

    # --- the app -------------------------------------------------------------------------------------

    async def act(self, action: str, **params: Any) -> Json:
        """Have the app do something. Raises Unsupported, DriveError."""
        return await self.drive.act(action, **params)

    def can(self, action: str) -> bool:
        """Whether the app has not said that it cannot."""
        return action not in self.drive.unsupported

    async def connect(self) -> None:
        """Ask the app to connect."""
        rewrite = self.settings.rewrite
        identity = {
            "name": self.app.name,
            "address": self.app.address,
            "identity_key": base64.b64encode(self.app.identity_key).decode(),
            "identity_secret": base64.b64encode(self.who.identity_secret).decode(),
            "device_id": self.device_id,
            "token": self.token,
        }
        more = {} if self.settings.ca_file is None else {"ca_file": self.settings.ca_file}
        await self.act(
            "connect",
            ws_url=rewrite(self.space.ws_url),
            http_url=rewrite(self.space.http_url),
            identity=identity,
            peer=self.bob.address,
            now_ms=self.now_ms + self.clock_offset_ms,
            **more,
        )

    async def online(self) -> None:
        """Connect and authenticate. Raises Over."""
        await self.connect()
        await self.authenticated()

    async def authenticated(self, count: int = 1) -> None:
        """Wait for the AUTH_SUCCESS of the app's ``count``-th session. Raises Over."""
        found = await self.wait(lambda: len(self.frames("AUTH_SUCCESS", "out")) >= count)
        self.require(found, "the app did not authenticate: there is no AUTH_SUCCESS" + self._why())
        await self.settle()

    def _why(self) -> str:
        attempts, ends = self.attempts(), self.ends()
        if not attempts:
            return "; it never came to the relay (is ws_url reachable for it?)"
        if attempts[-1].get("status", 101) != 101:
            return f"; its upgrade was refused with {attempts[-1]['status']}"
        return f"; {said_end(ends[-1])}" if ends else "; it connected and sent nothing"

    async def send(self, text: str | bytes = "hello", *, to: str | None = None) -> str | None:
        """Have the app send a message; its id, where the app tells it."""
        data = text.encode() if isinstance(text, str) else text
        done = await self.act(
            "send", to=to or self.bob.address, ciphertext=base64.b64encode(data).decode(), message_type="text"
        )
        found = done.get("message_id")
        return found.lower() if isinstance(found, str) else None

    def shown(self) -> list[str] | None:
        """The ids of the messages that the app says it showed, in order; None where it does not tell."""
        if "shown" not in self.reports:
            return None
        return [str(e.get("message_id")).lower() for e in self.drive.events if e.get("event") == "shown"]

    async def must_show(self, ids: list[str]) -> None:
        """Require that the app shows exactly these messages, each once and in this order."""
        if self.shown() is None:
            await self._ask(f"the app shows the {len(ids)} last messages, each once and in their order")
            return
        await self.wait(lambda: len(self.shown() or ()) >= len(ids))
        await self.settle()
        shown = self.shown() or []
        if sorted(shown) == sorted(ids):
            self.judge(shown == ids, "the messages were shown in another order than that of their server_timestamps")
            return
        twice = len(shown) - len(set(shown))
        missing = [one for one in ids if one not in shown]
        text = f"{twice} shown more than once" if twice else f"{len(missing)} of {len(ids)} not shown"
        self.judge(False, f"the messages shown are not those sent: {text}")

    async def _ask(self, statement: str) -> None:
        """What the app does not report is for a person to see: asked now, or told in the report."""
        if self.drive.by_hand:
            answer = await self.act("confirm", question=statement)
            self.judge(answer.get("yes"), f"said at the terminal: it is not so that {statement}")
        else:
            self.find("informational", f"not reported by the app, so look whether {statement}")

    def reported(self, event: str, message_id: str | None = None) -> bool:
        """Whether the app reported such an event."""
        return any(
            e.get("event") == event and message_id in (None, str(e.get("message_id")).lower())
            for e in self.drive.events
        )

    async def must_report(self, event: str, message_id: str | None, text: str) -> None:
        """Require that the app reports an event, where it reports such at all."""
        if event not in self.reports:
            await self._ask(f"the app tells its user: {text}")
            return
        self.judge(await self.wait(lambda: self.reported(event, message_id)), f"not reported: {text}")

    # --- time ----------------------------------------------------------------------------------------

    async def pass_time(self, ms: int, *, settle: bool = True) -> None:
        """Let time pass for the relay and for the app."""
        if not self.virtual:
            await asyncio.sleep(ms / 1000)
            return
        while ms > 0:
            step = min(ms, _STEP_MS)
            ms -= step
            await self.space.advance(step * 1000, "wait")
            await self.act("advance", ms=step)
        if settle:
            await self.settle()

    async def pass_until(self, ready: Callable[[], T], within_ms: int, step_ms: int) -> T | None:
        """Let time pass in steps until ``ready`` says something true; None when it is over."""
        if not self.virtual:
            return await self.wait(ready, within_ms / 1000)
        passed = 0
        while not (found := ready()) and passed < within_ms:
            await self.pass_time(min(step_ms, within_ms - passed))
            passed += step_ms
        return found or None

    async def relay_time(self, ms: int, heartbeat: Literal["skip", "wait"] = "skip") -> None:
        """Let time pass for the relay alone."""
        await self.space.advance(ms * 1000, heartbeat)

    # --- the relay -----------------------------------------------------------------------------------

    def rule(self, match: Json, do: str, times: int | None = None, **params: Any) -> str:
        """A fault rule; its id."""
        rule: Json = {"match": match, "action": {"do": do, **params}}
        if times is not None:
            rule["times"] = times
        found: str = self.space.faults.add_rule(rule).id
        return found

    def clear_rules(self) -> None:
        """Take all rules out."""
        self.space.faults.rules.clear()
        self.space.faults.rules_changed()

    def connection(self) -> int | None:
        """The number of the app's connection."""
        conns = self.space.driver.relay.connections.values()
        found = [conn.id for conn in conns if conn.user == self.app.address and conn.state != "ended"]
        return found[-1] if found else None

    def _connected(self) -> int:
        return self.require(self.connection(), "the app is not connected any more", "close")

    def end(self, code: int | None) -> None:
        """Close the app's connection with a code, or abort it (None: the app sees 1006)."""
        self.space.driver.control(CloseConn(self._connected(), code, ""))

    def say(self, kind: str, **payload: Any) -> None:
        """A frame to the app, as if the relay had cause to."""
        self.space.driver.control(SendFrame(self._connected(), kind, payload))

    def raw(self, data: str | bytes, *, binary: bool = False) -> None:
        """Any bytes to the app as one message; text unless ``binary``."""
        sink = self.space.driver.sink_of(self._connected())
        assert sink is not None
        sink.send(data.encode() if isinstance(data, str) else data, binary)

    def frame(self, kind: str, payload: Any, **envelope: Any) -> str:
        """A text frame, for ``raw``."""
        whole = {"type": kind, "id": self.space.draw_uuid(), "timestamp": self.now_ms, "payload": payload, **envelope}
        return msgspec.json.encode(whole).decode()

    def bob_sends(self, data: str | bytes = "hello alice") -> str:
        """A message of bob's to the app's user; its id."""
        message_id = self.space.draw_uuid()
        payload = {
            "id": message_id,
            "to": self.app.address,
            "message_type": "text",
            "nonce": base64.b64encode(self.space.draw_secret()[:12]).decode(),
            "ciphertext": base64.b64encode(data.encode() if isinstance(data, str) else data).decode(),
        }
        self._post(self.bob, "/api/messages", payload)
        return message_id

    def publish_keys(self, person: Person) -> None:
        """A key bundle for somebody, so that an app that encrypts can write to them."""
        assert person.identity_secret is not None
        keys = [self.space.draw_secret() for _ in range(6)]
        bundle = {
            "identityKey": person.identity_key,
            "signedPreKey": {"id": 1, "key": keys[0]},
            "signature": Ed25519().sign(person.identity_secret, keys[0]),
            "oneTimePreKeys": [{"id": number, "key": key} for number, key in enumerate(keys[1:], 1)],
        }
        self._post(person, "/api/keys", bundle)

    def _post(self, person: Person, path: str, body: Json) -> None:
        token = next(iter(person.tokens.values()))
        request = Request("POST", path, {}, token, msgspec.json.encode(body), "127.0.0.1")
        answer = self.space.driver.request(request)
        if answer.status >= 300:
            raise RuntimeError(f"the relay did not take {person.name}'s {path}: {answer.body}")

    @property
    def conversation(self) -> str:
        """The conversation of the app's user and bob."""
        return conversation_id(self.app.address, self.bob.address)

    def known_tokens(self) -> list[str]:
        """All tokens that the app has presented or been given so far."""
        given = [e["frame"]["payload"]["session_token"] for e in self.frames("AUTH_SUCCESS", "out")]
        return [query.get("token", "") for query in self.upgrade_queries()] + given

    def new_token(self) -> str:
        """Another connection token for the app's device."""
        return self.space.issue_token(self.app.address, self.device_id)[0]

    # --- coming again --------------------------------------------------------------------------------

    async def comes_again(self, low_ms: int, high_ms: int, part: Part = "close", *, what: str = "") -> Json:
        """Require that the app's next attempt comes between these times after the last end. Raises Over."""
        await self._noticed()
        known = self._seen
        self._seen += 1
        since_ms = self._end_before(known)
        slack_ms = 0 if self.virtual else self.settings.slack_ms
        for at_ms in (low_ms // 2, low_ms - 20) if self.virtual and low_ms >= 100 else ():
            if len(self.attempts()) == known:
                await self.pass_time(max(0, since_ms + at_ms - self.now_ms))
        if len(self.attempts()) == known:
            rest_ms = max(1, since_ms + high_ms + slack_ms + 20 - self.now_ms)
            await self.pass_until(lambda: len(self.attempts()) > known, rest_ms, max(rest_ms // 2, 1))
        found = await self.wait(lambda: self.attempts()[known:])
        subject = f"{what}: the app" if what else "the app"
        first = self.require(found, f"{subject} did not come again within {(high_ms + slack_ms) / 1000:g} s", part)[0]
        waited = first["t_ms"] - since_ms
        early = f"{subject} came again after {waited} ms; it must wait {low_ms} ms at least"
        if self.judge(waited >= low_ms - 1, early, part):
            late = f"{subject} came again after {waited} ms; it must come after {high_ms} ms at most"
            self.judge(waited <= high_ms + slack_ms + 50, late, part)
        return first

    def _end_before(self, attempt: int) -> int:
        """When the connection, or the attempt, ended that goes before an attempt."""
        limit = self.attempts()[attempt]["n"] if len(self.attempts()) > attempt else self.last_n + 1
        ends = (e for e in self.log if e["event"] in ENDS or (e["event"] == "upgrade" and e.get("status") != 101))
        found: int = max((e["t_ms"] for e in ends if e["n"] < limit), default=self.now_ms)
        return found

    async def stays_away(self, ms: int, part: Part = "close") -> bool:
        """Require that no attempt comes for so long."""
        known = self._seen
        for _ in range(4):
            await self.pass_time(ms // 4)
            if len(self.attempts()) > known:
                waited = self.attempts()[known]["t_ms"] - self._end_before(known)
                return self.judge(False, f"the app came again by itself, {waited} ms after the end", part)
        return self.judge(True, "", part)

    async def ended(self, count: int = 1) -> None:
        """Wait until so many of the app's connections have ended, and the relay has forgotten them."""
        await self.wait(lambda: len(self.ends()) >= count and self.connection() is None)
        await self._noticed()

    async def pass_finely(self, ms: int) -> None:
        """Let so little time pass that nothing but an attempt may come in it."""
        await self.pass_time(ms, settle=False)
        if await self.drive.still():
            return
        if "state" in self.reports:
            await self._begun()
        else:
            await asyncio.sleep(self.settings.settle_s)

    async def _noticed(self) -> None:
        """Let the app notice what has ended, before any time passes; an app that reports its state says when."""
        if "state" in self.reports:
            await self.wait(lambda: self._states("failed", "disconnected") >= len(self.ends()) + self._failures())
        await self.settle()

    def _failures(self) -> int:
        """Attempts whose end the app is told at once: refused, or reset in the place of an answer."""
        return sum(e.get("status", 101) != 101 or (e.get("rule") or {}).get("do") == "abort" for e in self.attempts())

    async def answers_ping(self, what: str) -> None:
        """Require that the app is still there: connected, and answering a PING."""
        await self.settle()
        if self.connection() is None:
            end = self.ends()[-1] if self.ends() else {}
            self.find("fail", f"the connection did not survive {what}: {said_end(end)}")
            raise Over
        after = self.last_n
        self.say("PING", timestamp=self.now_ms)
        found = await self.wait(lambda: self.frames("PONG", after=after))
        self.require(found, f"after {what} the app answers no PING any more")

    async def try_act(self, action: str, **params: Any) -> bool:
        """Have the app do something if it can."""
        try:
            await self.act(action, **params)
        except Unsupported:
            return False
        return True


def said_end(entry: Json) -> str:
    """How a connection ended, in words."""
    if entry.get("event") == "closed":
        who = "the app" if entry.get("direction") == "in" else "the relay"
        reason = f" ({entry['reason']})" if entry.get("reason") else ""
        return f"{who} closed with {entry.get('close_code')}{reason}"
    if entry.get("event") == "lost":
        return f"the connection was dropped without a closing handshake ({entry.get('cause', 'unknown')})"
    return "the connection ended"
