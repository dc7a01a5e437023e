"""What the flags of ``mockrelay serve`` may be: each check says what is wrong and what would be right."""

from __future__ import annotations

from typing import Any

import click

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
