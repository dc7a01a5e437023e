"""What a check is, and the list of all of them.

A check is a small state machine. It has handlers, called as events come: ``on_upgrade``, ``on_close`` and so on for
a kind of event, ``in_any`` and ``out_any`` for every frame, ``in_message_send`` or ``out_message_ack`` for well-formed
frames of one type, ``on_accepted`` for a MESSAGE_SEND with the ACK that takes it, ``on_finish`` when the trace is over.
``in_types``, ``out_types`` and ``notes`` narrow ``in_any``, ``out_any`` and ``on_note`` to what a check looks at.
``on_group_end`` is called before the next input where the check has asked for it by ``await_group_end`` since the last
one, or always where it is ``always_at_group_end``: most groups are nothing to most checks.

A check sees the world as it was before the event. It says ``seen`` each time its requirement was put to the test and
``broken`` when it failed. What it remembers for long it keeps as a ``Mark``, never as an event with all it brought.
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
    "client_states",
    "relay_closing",
    "relay_errors",
    "relay_heartbeat",
    "relay_keys",
    "relay_messages",
    "relay_refusals",
    "relay_session",
    "relay_signals",
    "relay_store",
    "relay_tokens",
)
"""The modules of this package that hold checks."""
MAX_EVIDENCE: Final = 5
"""Breaches a check describes; the others it counts."""
MEMORY: Final = 20_000
"""Entries a check remembers of what came before, such as ids; the oldest are forgotten."""


class Mark(Struct, frozen=True, gc=False):
    """What is remembered of an event: where it stands, and when it was."""

    line: int
    t: int
    c: int = -1
    timestamp: int = 0
    """A frame's own, in ms; 0 for what is no frame."""


def mark(event: Any) -> Mark:
    """An event to remember."""
    return Mark(event.line, event.t, getattr(event, "c", -1), getattr(event, "timestamp", 0))


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
    always_at_group_end: ClassVar[bool] = False
    in_types: ClassVar[frozenset[str] | None] = None
    """The frame types for which ``in_any`` is called, well-formed or not; None: all."""
    out_types: ClassVar[frozenset[str] | None] = None
    """The same for ``out_any``."""
    notes: ClassVar[frozenset[str] | None] = None
    """The names of the notes for which ``on_note`` is called; None: all."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.awaits_group_end = False
        self.exercised = 0
        self.breaches = 0
        self.evidence: list[Evidence] = []
        self.begin()

    def begin(self) -> None:
        """Set up the state."""

    def await_group_end(self) -> None:
        """Have ``on_group_end`` called before the next input."""
        if not self.awaits_group_end:
            self.awaits_group_end = True
            self.world.awaiting.append(self)

    def on_group_end(self, following: Any) -> None:
        """The group is over; ``following`` is the event that begins the next, or None at the end of the trace."""

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
    """A dictionary of bounded size: the entries set longest ago are forgotten.

    Two generations of half the size each: where the younger is full the older goes as a whole. To forget one entry at
    a time would have each search past all that were forgotten before it.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, most: int = MEMORY) -> None:
        self._young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}
        self._half = max(1, most // 2)

    def __len__(self) -> int:
        return sum(1 for _ in self.items())

    def __bool__(self) -> bool:
        return bool(self._young or self._old)

    def __contains__(self, key: _K) -> bool:
        return key in self._young or key in self._old

    def get(self, key: _K) -> _V | None:
        """The value, or None."""
        young = self._young
        return young[key] if key in young else self._old.get(key)

    def __setitem__(self, key: _K, value: _V) -> None:
        young = self._young
        if len(young) >= self._half and key not in young:
            self._old, young = young, {}
            self._young = young
        young[key] = value

    def pop(self, key: _K) -> _V | None:
        """Forget a key; its value."""
        old = self._old.pop(key, None)
        return self._young.pop(key) if key in self._young else old

    def items(self) -> Iterator[tuple[_K, _V]]:
        """All keys with their values, the oldest first."""
        for key, value in self._old.items():
            if key not in self._young:
                yield key, value
        yield from self._young.items()
