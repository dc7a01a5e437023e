"""What the flags of ``mockrelay serve`` may be: each check says what is wrong and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

_PREFIX: Final = "MOCKRELAY_"
_OTHER_VARIABLES: Final = ("MOCKRELAY_URL", "MOCKRELAY_IDENTITY_SECRET", "MOCKRELAY_WS_URL", "MOCKRELAY_HTTP_URL")
"""Of other commands, and those by which scripts hand on where a relay is."""
_NEAR: Final = 0.75
_MAX_NAME_CHARACTERS = 64


class Port(click.IntRange):
    """A TCP port."""

    name = "port"


def check_users(_ctx: click.Context, _param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names, each once. Raises BadParameter."""
    for index, name in enumerate(names):
        if not name.strip() or len(name) > _MAX_NAME_CHARACTERS or not name.isprintable():
            raise click.BadParameter(f"{name!r}: a name has 1 to {_MAX_NAME_CHARACTERS} printable characters")
        if name.lower().startswith("0x"):
            raise click.BadParameter(f"{name!r}: a name may not begin with 0x, as addresses do")
        if name in names[:index]:
            raise click.BadParameter(f"{name!r} is given twice")
    return names


def check_origins(_ctx: click.Context, _param: click.Parameter, origins: tuple[str, ...]) -> tuple[str, ...]:
    """Origins as a browser says them (RFC 6454), or `null`. Raises BadParameter."""
    for origin in origins:
        if origin == "null":  # what a page of a file, or in a sandbox, says
            continue
        scheme, found, rest = origin.partition("://")
        if not (found and scheme and rest) or any(c in rest for c in "/?# "):
            raise click.BadParameter(f"{origin!r}: an origin is scheme://host[:port], such as http://localhost:5173")
    return origins


def check_hosts(_ctx: click.Context, _param: click.Parameter, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Names or addresses, as a Host header has them. Raises BadParameter."""
    for host in hosts:
        if not host or not host.isprintable() or any(c in host for c in "/?#@ ,"):
            raise click.BadParameter(f"{host!r}: a host is a name or an address, such as relay.test")
    return hosts


def check_bounds(ctx: click.Context, _param: click.Parameter, pairs: tuple[str, ...]) -> Any:
    """`NAME=N` pairs as Bounds. Raises BadParameter."""
    if ctx.resilient_parsing:
        return pairs
    from mockrelay.bounds import BadBound, parse_bounds

    try:
        return parse_bounds(pairs)
    except BadBound as error:
        raise click.BadParameter(str(error)) from None


def check_clock(ctx: click.Context, _param: click.Parameter, text: str) -> Any:
    """`real`, `frozen` or `xN` as a clock. Raises BadParameter."""
    if ctx.resilient_parsing:
        return text
    from mockrelay.settings import clock_of

    try:
        return clock_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def stray_variables(command: click.Command, environment: Mapping[str, str]) -> list[str]:
    """A line for each ``MOCKRELAY_…`` that is no setting but looks like one.

    What looks like none is passed over: container platforms and scripts have variables of that beginning, too.
    """
    from difflib import get_close_matches

    named: list[str] = ["MOCKRELAY_ADMIN_TOKEN", *_OTHER_VARIABLES]
    for param in command.params:
        names = param.envvar or ()
        named += [names] if isinstance(names, str) else names
    right = {name.removeprefix(_PREFIX): name for name in named}
    found = []
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in named:
            near = get_close_matches(name.removeprefix(_PREFIX), right, n=1, cutoff=_NEAR)
            found += [f"{name} is no setting; did you mean {right[near[0]]}?"] if near else []
    return found
