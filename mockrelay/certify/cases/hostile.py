"""Frames that no relay should send: an app passes them over and goes on (R-1.3, R-1.5, RFC 6455)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

from mockrelay.certify.case import case
from mockrelay.certify.stage import Stage

Make = Callable[[Stage], "str | bytes"]


def _message(stage: Stage, **changes: Any) -> dict[str, Any]:
    good = {
        "from": stage.bob.address,
        "to": stage.app.address,
        "conversation_id": stage.conversation,
        "ciphertext": b64encode(b"hostile").decode(),
        "nonce": b64encode(bytes(12)).decode(),
        "message_type": "text",
        "timestamp": stage.now_ms,
    }
    return {**good, **changes}


def _passed_over(title: str, make: Make, *, binary: bool = False, citation: str = "R-1.5") -> None:
    async def body(stage: Stage) -> None:
        await stage.online()
        after = stage.last_n
        stage.raw(make(stage), binary=binary)
        await stage.answers_ping("it")
        sent = [e.get("type") or "a frame" for e in stage.frames(after=after) if e.get("type") != "PONG"]
        stage.judge(not sent, f"the app answered it with {', '.join(sent)}", otherwise="non_strict")
        shown = stage.shown()
        if shown is not None:
            stage.judge(not shown, "the app showed it as a message")

    named = title if title[:2].isupper() else title[0].lower() + title[1:]
    body.__doc__ = f"The relay sends {named}. The app passes it over and goes on."
    case(title, citation)(body)


_passed_over("A frame of an unknown type", lambda s: s.frame("FROM_THE_FUTURE", {"a": 1}), citation="R-1.3")
_passed_over("A text that is no JSON", lambda s: "this is { no JSON")
_passed_over("A JSON text that is no object", lambda s: '["PING", 1]')
_passed_over("A frame without a payload", lambda s: '{"type": "MESSAGE_NEW"}')
_passed_over("A message whose fields have other types", lambda s: s.frame("MESSAGE_NEW", _message(s, ciphertext=7)))
_passed_over("A message whose base64 is none", lambda s: s.frame("MESSAGE_NEW", _message(s, ciphertext="%%%")))
_passed_over("A frame that only clients send", lambda s: s.frame("MESSAGE_SEND", {"to": s.bob.address}))
_passed_over("An empty text", lambda s: "")
_passed_over("JSON nested 5000 deep", lambda s: '{"type":"PING","payload":' + "[" * 5000 + "]" * 5000 + "}")
_passed_over("A PING whose timestamp is a text", lambda s: s.frame("PING", {"timestamp": "soon"}))
_passed_over("A number beyond all bounds", lambda s: '{"type":"TYPING_START","id":"x","timestamp":1e999,"payload":{}}')
_passed_over(
    "An ACK for a message never sent",
    lambda s: s.frame(
        "MESSAGE_ACK",
        {"message_id": s.space.draw_uuid(), "server_timestamp": s.now_ms, "status": "queued", "recipient_devices": 1},
    ),
)
_passed_over(
    "An ERROR of an unknown code",
    lambda s: s.frame(
        "ERROR", {"error_code": "TEAPOT", "message": "short and stout", "request_id": "req_0123456789ab", "details": {}}
    ),
)
_passed_over("A binary frame of an unknown code", lambda s: b"\x99" + bytes(28), binary=True, citation="R-2.3")
_passed_over("A binary frame cut short", lambda s: b"\x84" + bytes(9), binary=True, citation="R-2.3")
_passed_over(
    "A binary message whose payload is no JSON",
    lambda s: b"\x84" + bytes(24) + (4).to_bytes(4, "big") + b"oops",
    binary=True,
    citation="R-2.3",
)
_passed_over(
    "A second challenge amid a session",
    lambda s: s.frame(
        "AUTH_CHALLENGE",
        {"challenge": b64encode(bytes(32)).decode(), "nonce": b64encode(bytes(12)).decode(), "server_time": s.now_ms},
    ),
    citation="R-4.2",
)


def _ends(title: str, data: Make, code: int, why: str) -> Callable[[Stage], Awaitable[None]]:
    async def body(stage: Stage) -> None:
        await stage.online()
        stage.raw(data(stage))
        await stage.wait(stage.ends, 1.0)
        await stage.settle()
        if not stage.ends():
            await stage.answers_ping("it")
            stage.find("non_strict", f"the app goes on; it should close with {code}", "close")
            return
        end = stage.ends()[0]
        closed = end["event"] == "closed" and end.get("direction") == "in"
        stage.judge(
            closed and end.get("close_code") == code, f"the app should close with {code}", "close", "non_strict"
        )
        await stage.ended()
        again = await stage.pass_until(lambda: len(stage.attempts()) > 1, 1_200 + stage.settings.slack_ms, 1_150)
        stage.judge(again, "the app ended the connection and did not come again", "close", "non_strict")

    body.__doc__ = f"The relay sends {why}. The app closes with {code} and comes again, or passes it over; it lives on."
    return body


case("A text that is not UTF-8", "RFC 6455 §8.1", ends=True)(
    _ends("bad_utf8", lambda s: b'{"type": "PING\xff\xfe"}', 1007, "a text frame that is not UTF-8")
)
case("A frame above 1 MiB", "R-1.6", ends=True, config={"outbox": {"max_bytes": 4 << 20}})(
    _ends("oversized", lambda s: s.frame("PRESENCE_UPDATE", {"x": "y" * (1 << 20)}), 1009, "a frame above 1 MiB")
)
