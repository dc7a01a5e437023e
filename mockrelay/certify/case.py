"""What a case is, and the list of all of them.

A case is an asynchronous function over a ``Stage``; its docstring is the expectation that the report shows. Groups are
the modules of ``mockrelay.certify.cases``, in their order; a case's number is its group's and its place in it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mockrelay.certify.stage import Stage

GROUPS: Final = (
    ("connecting", "Connecting"),
    ("authentication", "Authentication"),
    ("closing", "Close codes"),
    ("backoff", "Backoff"),
    ("heartbeat", "Heartbeat"),
    ("sending", "Sending"),
    ("receiving", "Receiving"),
    ("signals", "Receipts, typing, presence"),
    ("token", "Token and keys"),
    ("hostile", "Hostile frames"),
    ("application", "The application"),
)
"""The modules of ``cases``, and what their groups are called."""
SLOW_S: Final = 15.0
"""A case that takes longer of an app's own time is run only where that clock can be moved, or when asked for."""

Body = Callable[["Stage"], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """One case."""

    id: str
    title: str
    group: str
    citation: str
    """The ruling, such as ``R-11.3``."""
    expectation: str
    body: Body
    checks: tuple[str, ...] = ()
    """The checks that the case is there to put to the test."""
    config: dict[str, Any] = field(default_factory=dict)
    """The relay's settings, as for ``PATCH /admin/config``."""
    takes_s: float = 5.0
    """About how long of the app's own time."""
    ends: bool = False
    """Whether connections end in it before its last step, as part of it."""
    ignores: tuple[str, ...] = ()
    """Checks that what is done here breaks, whatever the app does."""
    needs: tuple[str, ...] = ()
    """Actions without which there is nothing to be seen."""
    app_clock: bool = False
    """Whether the app's own clock must be moved: it would take hours."""

    @property
    def slow(self) -> bool:
        """Whether it takes long where the app's clock is real."""
        return self.takes_s > SLOW_S


_FOUND: Final[dict[str, list[Case]]] = {}


def case(title: str, citation: str, **more: Any) -> Callable[[Body], Body]:
    """Register a case in the group of its module."""

    def keep(body: Body) -> Body:
        module = body.__module__.rpartition(".")[2]
        names = dict(GROUPS)
        found = _FOUND.setdefault(module, [])
        number = f"{list(names).index(module) + 1}.{len(found) + 1}"
        expectation = " ".join(inspect.getdoc(body).split()) if body.__doc__ else ""  # type: ignore[union-attr]
        found.append(Case(number, title, names[module], citation, expectation, body, **more))
        return body

    return keep


def catalogue() -> tuple[Case, ...]:
    """All cases, in the order of their numbers."""
    for module, _ in GROUPS:
        import_module(f"mockrelay.certify.cases.{module}")
    return tuple(found for module, _ in GROUPS for found in _FOUND[module])


def chosen(wanted: tuple[str, ...]) -> tuple[Case, ...]:
    """The cases that ``3``, ``3.4`` or ``3.4-3.9`` name; all where nothing is named. Raises ValueError."""
    cases = catalogue()
    if not wanted:
        return cases
    ids = [found.id for found in cases]
    taken: dict[str, None] = {}
    for text in wanted:
        first, dash, last = text.partition("-")
        if dash and first in ids and last in ids and ids.index(first) <= ids.index(last):
            matching = ids[ids.index(first) : ids.index(last) + 1]
        else:
            matching = [one for one in ids if one == text or one.startswith(f"{text}.")]
        if not matching:
            raise ValueError(f"there is no case {text!r}; `mockrelay certify --list` shows them all")
        taken.update(dict.fromkeys(matching))
    return tuple(found for found in cases if found.id in taken)
