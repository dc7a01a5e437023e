"""What a check is, and the list of all of them.

A check is a small state machine. It has handlers, called as events come: ``on_upgrade``, ``on_close`` and so on for
a kind of event, ``in_any`` and ``out_any`` for every frame, ``in_message_send`` or ``out_message_ack`` for well-formed
frames of one type, ``on_group_end`` before the next input, ``on_finish`` when the trace is over. It sees the world as
it was before the event. It says ``seen`` each time its requirement was put to the test and ``broken`` when it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from importlib import import_module
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

from msgspec import Struct

from zentalk_sim.checks.world import World

Verdict = Literal["held", "broken", "not_exercised"]
Severity = Literal["must", "should"]
Side = Literal["client", "relay"]

FAMILIES: Final = (
    "client_authentication",
    "client_connecting",
    "client_envelope",
    "client_living",
    "client_messages",
    "relay_closing",
    "relay_errors",
    "relay_heartbeat",
    "relay_messages",
    "relay_refusals",
    "relay_session",
    "relay_signals",
    "relay_store",
)
"""The modules of this package that hold checks."""
MAX_EVIDENCE: Final = 5
"""Breaches a check describes; the others it counts."""
MEMORY: Final = 100_000
"""Entries a check remembers of what came before, such as ids; the oldest are forgotten."""


class Evidence(Struct, frozen=True):
    """One breach: what was wrong, at which lines and when (µs of Unix time)."""

    message: str
    lines: tuple[int, ...]
    t: int


class Result(Struct, frozen=True):
    """What became of one check."""

    id: str
    title: str
    citation: str
    severity: Severity
    side: Side
    verdict: Verdict
    exercised: int
    broken: int
    evidence: tuple[Evidence, ...]


class Check:
    """Base of all checks; its first docstring line is its title."""

    id: ClassVar[str]
    citation: ClassVar[str]
    severity: ClassVar[Severity]
    side: ClassVar[Side]

    def __init__(self, world: World) -> None:
        self.world = world
        self.exercised = 0
        self.breaches = 0
        self.evidence: list[Evidence] = []
        self.begin()

    def begin(self) -> None:
        """Set up the state."""

    def seen(self) -> None:
        """The requirement was put to the test."""
        self.exercised += 1

    def broken(self, message: str, *events: Any) -> None:
        """The requirement was broken; ``events`` show it, the last being where it shows."""
        self.exercised += 1
        self.breaches += 1
        if len(self.evidence) < MAX_EVIDENCE:
            t = events[-1].t if events else self.world.now
            self.evidence.append(Evidence(message, tuple(event.line for event in events), t))

    def judge(self, held: bool, message: str, *events: Any) -> None:
        """``seen`` where it held, ``broken`` where not."""
        if held:
            self.exercised += 1
        else:
            self.broken(message, *events)

    @classmethod
    def title(cls) -> str:
        """The check in one sentence."""
        return (cls.__doc__ or "").strip().splitlines()[0].rstrip(".")

    def result(self) -> Result:
        """What became of it."""
        verdict: Verdict = "broken" if self.breaches else "held" if self.exercised else "not_exercised"
        return Result(
            self.id,
            self.title(),
            self.citation,
            self.severity,
            self.side,
            verdict,
            self.exercised,
            self.breaches,
            tuple(self.evidence),
        )


_CHECKS: Final[dict[str, type[Check]]] = {}
_C = TypeVar("_C", bound=type[Check])


def check(name: str, citation: str, severity: Severity = "must") -> Callable[[_C], _C]:
    """Register a check under ``client.…`` or ``relay.…``. Raises ValueError for a name taken or without a side."""

    def keep(kind: _C) -> _C:
        side = name.partition(".")[0]
        if side not in ("client", "relay") or name in _CHECKS:
            raise ValueError(f"check {name!r}: taken, or neither client nor relay")
        kind.id, kind.citation, kind.severity = name, citation, severity
        kind.side = "client" if side == "client" else "relay"
        _CHECKS[name] = kind
        return kind

    return keep


def catalogue() -> tuple[type[Check], ...]:
    """All checks, in the order of their names; the client's first."""
    for family in FAMILIES:
        import_module(f"zentalk_sim.checks.{family}")
    return tuple(_CHECKS[name] for name in sorted(_CHECKS))


_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """A dictionary of bounded size: the entries set longest ago are forgotten."""

    __slots__ = ("_entries", "_most")

    def __init__(self, most: int = MEMORY) -> None:
        self._entries: dict[_K, _V] = {}
        self._most = most

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: _K) -> bool:
        return key in self._entries

    def get(self, key: _K) -> _V | None:
        """The value, or None."""
        return self._entries.get(key)

    def __setitem__(self, key: _K, value: _V) -> None:
        entries = self._entries
        if key not in entries and len(entries) >= self._most:
            del entries[next(iter(entries))]
        entries[key] = value

    def pop(self, key: _K) -> _V | None:
        """Forget a key; its value."""
        return self._entries.pop(key, None)

    def items(self) -> Iterator[tuple[_K, _V]]:
        """All keys with their values, the oldest first."""
        return iter(self._entries.items())
