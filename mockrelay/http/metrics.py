"""``GET /metrics`` in Prometheus' text format 0.0.4: counts and gauges of one space, no name or address in it."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from mockrelay.http.bodies import space_of
from mockrelay.http.relay_routes import stats_of
from mockrelay.spaces import Spaces
from zentalk_sim import __version__

_GAUGES: Final = {
    "connections": "Open WebSocket connections.",
    "users": "Registered users.",
    "messages": "Messages in the index.",
    "copies_pending": "Copies that wait in mailboxes.",
    "journal_entries": "Entries in the journal.",
    "journal_bytes": "Bytes, roughly, of the journal.",
    "rules": "Fault rules in force.",
    "media_bytes": "Bytes of media kept.",
}


def _lines(name: str, kind: str, help_text: str, rows: list[tuple[str, Any]]) -> list[str]:
    return [
        f"# HELP {name} {help_text}",
        f"# TYPE {name} {kind}",
        *(f"{name}{labels} {value}" for labels, value in rows),
    ]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def text_of(stats: dict[str, Any], spaces: int, now_s: float) -> str:
    """The metrics' text."""
    lines = _lines("mockrelay_info", "gauge", "The version that runs.", [(f'{{version="{__version__}"}}', 1)])
    for name, help_text in _GAUGES.items():
        lines += _lines(f"mockrelay_{name}", "gauge", help_text, [("", stats[name])])
    lines += _lines("mockrelay_spaces", "gauge", "Spaces besides the default one.", [("", spaces)])
    lines += _lines("mockrelay_clock_seconds", "gauge", "The clock, in Unix time.", [("", f"{now_s:.6f}")])
    lines += _lines("mockrelay_crashes_total", "counter", "Inputs on which the core raised.", [("", stats["crashes"])])
    counts = [(f'{{name="{_escaped(name)}"}}', count) for name, count in stats["counters"].items()]
    lines += _lines("mockrelay_events_total", "counter", "Counted facts of the relay, by name.", counts)
    return "\n".join(lines) + "\n"


def metrics_of(spaces: Spaces) -> Any:
    """The handler."""

    async def metrics(request: Request) -> Response:
        space = space_of(request)
        text = text_of(stats_of(space), len(spaces), space.clock.now_us() / 1_000_000)
        headers = {"Cache-Control": "no-store"}
        return Response(text, 200, headers, "text/plain; version=0.0.4; charset=utf-8")

    return metrics
