"""``mockrelay token``: a connection token from a running relay, by its control API."""

from __future__ import annotations

import sys
from typing import Any

import click

from mockrelay.version_option import version_option


def _check_lifetime(ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    """A duration as whole seconds."""
    if text is None or ctx.resilient_parsing:
        return None
    from zentalk_sim.files.units import UnitError, parse_duration

    try:
        seconds, rest = divmod(parse_duration(text), 1_000_000)
    except UnitError as error:
        raise click.BadParameter(str(error)) from None
    if rest or seconds < 1:
        raise click.BadParameter(f"{text!r} must be a whole number of seconds, at least 1s, such as 24h")
    return seconds


@click.command(
    epilog="""\b
Examples:
  mockrelay token --user alice
  mockrelay token --user alice --capability receive_message --lifetime 10m
"""
)
@version_option
@click.option("--user", required=True, metavar="NAME", help="A user's name or address.")
@click.option("--device", metavar="ID", help="The device's UUID (default: the user's first device).")
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    type=click.Choice(["send_message", "receive_message", "presence"]),
    help="Grant this and no other; may be repeated (default: all).",
)
@click.option("--lifetime", default="24h", show_default=True, callback=_check_lifetime, help="How long it is good.")
@click.option(
    "--url",
    envvar="MOCKRELAY_URL",
    default="http://127.0.0.1:8766",
    show_default=True,
    help="The relay's (or a space's) HTTP URL.",
)
@click.option(
    "--admin-token",
    envvar="MOCKRELAY_ADMIN_TOKEN",
    show_envvar=True,
    required=True,
    metavar="TOKEN",
    help="As the relay printed it at its start.",
)
@click.option("--ca", "ca_file", type=click.Path(dir_okay=False), help="Certificates to trust, for https.")
def token(
    user: str,
    device: str | None,
    capabilities: tuple[str, ...],
    lifetime: int,
    url: str,
    admin_token: str,
    ca_file: str | None,
) -> None:
    """Print a connection token for a device of a user of a running relay."""
    import ssl
    from urllib.parse import quote

    from mockrelay.control_client import ControlClient, ControlError

    tls: ssl.SSLContext | None = None
    if ca_file is not None:
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise click.BadParameter(f"{ca_file}: {error.strerror or error}", param_hint="'--ca'") from None
    control = ControlClient(url, admin_token, tls=tls)
    path = f"/admin/users/{quote(user, safe='')}"
    try:
        if device is None:
            devices: list[dict[str, Any]] = control.call("GET", path)["devices"]
            if not devices:
                raise click.UsageError(f"{user} has no device; name one with --device")
            device = devices[0]["device_id"]
        asked: dict[str, Any] = {"device_id": device, "lifetime_s": lifetime}
        if capabilities:
            asked["capabilities"] = list(capabilities)
        click.echo(control.call("POST", f"{path}/token", asked)["token"])
    except ControlError as error:
        click.echo(f"mockrelay: {error}", err=True)
        sys.exit(2)
