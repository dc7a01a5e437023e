"""``/admin`` for the relay as a whole: settings, recordings, counters, pushes, restart, reset."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from mockrelay.http.bodies import ApiError, answer, converted, read, read_json, refuse_unknown, space_of, type_info
from mockrelay.spaces import Space
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.errors import FORBIDDEN, SERVICE_UNAVAILABLE
from zentalk_sim.trace.recording import RecordingError

MAX_BLOOM_CAPACITY = 10_000_000
"""Some 30 MB; a relay is not made to fill its memory by a setting."""


class _Record(Struct, forbid_unknown_fields=True):
    action: Literal["start", "stop"]


_BARE: Final = ("trust_forwarded_for",)
"""Settings of ``upgrade`` that are known without their section's name, too."""
_SECTIONS: Final = {
    field: name
    for name, section in reversed(msgspec.to_builtins(RelayConfig()).items())
    if isinstance(section, dict)
    for field in section
}
"""Setting → the first section that has it."""


def merged_config(config: RelayConfig, changes: Any, place: str = "") -> RelayConfig:
    """Settings with some of them changed. Raises ApiError, naming the field and the nearest right name."""
    if not isinstance(changes, dict):
        raise ApiError.malformed("settings must be a JSON object", place or None)
    bare = {name: value for name, value in changes.items() if name in _BARE}
    if bare:
        rest = {name: value for name, value in changes.items() if name not in bare}
        upgrade = rest.get("upgrade", {})
        changes = {**rest, "upgrade": {**bare, **upgrade} if isinstance(upgrade, dict) else upgrade}
    for name in changes:
        if name not in RelayConfig.__struct_fields__ and (section := _SECTIONS.get(name)) is not None:
            field = f"{place}.{name}" if place else name
            raise ApiError.malformed(f"unknown name `{name}`; it stands in `{section}`", field)
    refuse_unknown(changes, type_info(RelayConfig), place)
    specified = msgspec.to_builtins(RelayConfig())
    found = converted(_merged(msgspec.to_builtins(config), changes, specified), RelayConfig, place)
    if found.dedup.bloom_capacity > MAX_BLOOM_CAPACITY:
        field = f"{place}.dedup.bloom_capacity" if place else "dedup.bloom_capacity"
        raise ApiError.malformed(f"{field} must be at most {MAX_BLOOM_CAPACITY}", field)
    return found


def _merged(old: Any, new: Any, specified: Any) -> Any:
    """``old`` with ``new`` over it; a limit that was "off" is the specified one where it is not told otherwise."""
    if not isinstance(new, dict):
        return new
    if not isinstance(old, dict):
        if not isinstance(specified, dict):
            return new
        old = specified
    inner = specified if isinstance(specified, dict) else {}
    return {**old, **{name: _merged(old.get(name), value, inner.get(name)) for name, value in new.items()}}


async def read_config(request: Request) -> Response:
    """The settings in force."""
    return answer(200, space_of(request).config)


async def change_config(request: Request) -> Response:
    """Merge settings; they hold from the next input."""
    space = space_of(request)
    config = merged_config(space.config, await read_json(request))
    space.driver.configure(config)
    space.journal.control("change_config")
    return answer(200, config)


async def record(request: Request) -> Response:
    """Begin or end a recording of everything the core is told and says."""
    space = space_of(request)
    asked = await read(request, _Record)
    if asked.action == "start":
        if space.driver.recorder is not None:
            raise ApiError(409, FORBIDDEN, "a recording is under way; stop it first")
        try:
            return answer(201, space.recordings.start())
        except OSError as error:
            raise ApiError(503, SERVICE_UNAVAILABLE, f"no recording can be written: {error.strerror}") from None
    if space.driver.recorder is None or not space.recordings.is_ours():
        raise ApiError(409, FORBIDDEN, "no recording is under way that was started here")
    return answer(200, space.recordings.stop())


async def list_recordings(request: Request) -> Response:
    """The recordings of this space, oldest first."""
    return answer(200, space_of(request).recordings.described())


async def read_recording(request: Request) -> Response:
    """A recording as it is (JSON lines; it holds keys and tokens), or as HAR with these taken out."""
    space = space_of(request)
    number = request.path_params["id"]
    path = space.recordings.path_of(number)
    if path is None:
        raise ApiError.not_found(f"no recording {number[:100]}")
    wanted = request.query_params.get("format", "jsonl")
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if wanted == "jsonl":
        return FileResponse(path, 200, headers, "application/x-ndjson", filename=f"{number}.jsonl")
    if wanted != "har":
        raise ApiError.malformed("format must be jsonl or har", "format")
    try:
        content = await space.recordings.as_har(number)
    except RecordingError as error:
        # The name of a file of ours is nobody's business.
        raise ApiError(409, FORBIDDEN, f"cannot be shown as HAR: {str(error).rpartition(': ')[2]}") from None
    return Response(content, 200, headers, "application/json")


def stats_of(space: Space) -> dict[str, Any]:
    """What a space counts."""
    relay, store = space.driver.relay, space.store
    states: dict[str, int] = {}
    for conn in relay.connections.values():
        states[conn.state] = states.get(conn.state, 0) + 1
    return {
        "connections": len(relay.connections),
        "connections_by_state": states,
        "users": len(store.users),
        "messages": len(store.messages),
        "copies_pending": sum(len(box) for box in store.mailboxes.values()),
        "journal_entries": len(space.journal),
        "journal_bytes": space.journal.size_bytes,
        "journal_dropped": space.driver.counters.get("journal.dropped", 0),
        "rules": len(space.faults.rules),
        "media": space.media.count,
        "media_bytes": space.media.size_bytes,
        "crashes": space.driver.crashes,
        "boot": store.counters.boot,
        "counters": dict(sorted(space.driver.counters.items())),
    }


async def stats(request: Request) -> Response:
    """Counters, and how much of everything there is."""
    return answer(200, stats_of(space_of(request)))


async def pushes(request: Request) -> Response:
    """The pushes that a push service would have been given, oldest first (R-6.7)."""
    return answer(200, list(space_of(request).pushes))


async def restart(request: Request) -> Response:
    """1001 to all, then a fresh core on what the store holds (R-12.1)."""
    space = space_of(request)
    space.restart()
    space.journal.control("restart")
    return answer(200, {"boot": space.store.counters.boot})


async def reset(request: Request) -> Response:
    """Everything as at the start but for the clock, which goes on."""
    space = space_of(request)
    space.reset()
    return answer(200, {"users": [person.described() for person in space.people]})


def routes() -> list[Route]:
    """The paths of this module."""
    return [
        Route("/admin/config", read_config, methods=["GET"]),
        Route("/admin/config", change_config, methods=["PATCH"]),
        Route("/admin/recordings", list_recordings, methods=["GET"]),
        Route("/admin/recordings", record, methods=["POST"]),
        Route("/admin/recordings/{id}", read_recording, methods=["GET"]),
        Route("/admin/stats", stats, methods=["GET"]),
        Route("/admin/pushes", pushes, methods=["GET"]),
        Route("/admin/restart", restart, methods=["POST"]),
        Route("/admin/reset", reset, methods=["POST"]),
    ]
