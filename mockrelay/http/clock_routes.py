"""``/admin/clock``: the space's time read, advanced, frozen, let run and scaled (R-13.2)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockrelay.http.bodies import ApiError, answer, converted, read_json, space_of
from mockrelay.spaces import Space
from zentalk_sim.files.names import suggestion

MAX_ADVANCE_MS = 10 * 366 * 86_400_000
"""Ten years at a time."""
_MAX_NOW_MS = 1 << 45


class _Advance(Struct, forbid_unknown_fields=True):
    action: str
    ms: Annotated[int, Meta(ge=0, le=MAX_ADVANCE_MS)]
    heartbeat: Literal["skip", "wait"] = "skip"


class _Freeze(Struct, forbid_unknown_fields=True):
    action: str


class _Scale(Struct, forbid_unknown_fields=True):
    action: str
    factor: Annotated[float, Meta(gt=0, lt=1e6)]


_ACTIONS: dict[str, Any] = {"advance": _Advance, "freeze": _Freeze, "resume": _Freeze, "scale": _Scale}


def _described(space: Space) -> dict[str, Any]:
    clock = space.clock
    return {"now_ms": clock.now_us() // 1000, "mode": clock.mode, "scale": clock.scale}


async def read_clock(request: Request) -> Response:
    """What time it is here, and how it runs."""
    return answer(200, _described(space_of(request)))


async def move_clock(request: Request) -> Response:
    """Advance, freeze, resume or scale; answered when every timer that fell due has run."""
    space = space_of(request)
    data = await read_json(request)
    action = data.get("action") if isinstance(data, dict) else None
    if not isinstance(action, str):
        raise ApiError.malformed(f"action must be one of {', '.join(_ACTIONS)}", "action")
    if action not in _ACTIONS:
        raise ApiError.malformed(f"unknown action `{action[:80]}`{suggestion(action, _ACTIONS)}", "action")
    asked = converted(data, _ACTIONS[action])
    if isinstance(asked, _Advance):
        if space.clock.now_us() // 1000 + asked.ms > _MAX_NOW_MS:
            raise ApiError.malformed("ms: the clock may not go so far", "ms")
        await space.advance(asked.ms * 1000, asked.heartbeat)
    elif isinstance(asked, _Scale):
        space.clock.set_scale(asked.factor)
        space.clock_changed()
    else:
        if action == "freeze":
            space.clock.freeze()
        else:
            space.clock.resume()
        space.clock_changed()
    space.journal.control(f"clock_{action}", **{key: value for key, value in data.items() if key != "action"})
    return answer(200, _described(space))


def routes() -> list[Route]:
    """The paths of this module."""
    return [
        Route("/admin/clock", read_clock, methods=["GET"]),
        Route("/admin/clock", move_clock, methods=["POST"]),
    ]
