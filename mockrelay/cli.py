"""The ``mockrelay`` command. Heavy modules are imported by the subcommand that needs them, so that help is quick."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mockrelay.server import MockRelay, Options
    from zentalk_sim.protocol.config import RelayConfig

_MAX_NAME_CHARACTERS = 64
_EXAMPLES = """\b
Example:
  mockrelay serve --user alice --user bob
"""


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from zentalk_sim import __version__

        click.echo(f"mockrelay {__version__}")
        ctx.exit()


_version_option = click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version and exit."
)


@click.group(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@_version_option
def cli() -> None:
    """A mock relay for the Zentalk WebSocket API."""


def _check_users(_ctx: click.Context, _param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for index, name in enumerate(names):
        if not name.strip() or len(name) > _MAX_NAME_CHARACTERS or not name.isprintable():
            raise click.BadParameter(f"{name!r}: a name has 1 to {_MAX_NAME_CHARACTERS} printable characters")
        if name in names[:index]:
            raise click.BadParameter(f"{name!r} is given twice")
    return names


def _check_origins(_ctx: click.Context, _param: click.Parameter, origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        scheme, found, rest = origin.partition("://")
        if not (found and scheme and rest) or any(c in rest for c in "/?# "):
            raise click.BadParameter(f"{origin!r}: an origin is scheme://host[:port], such as http://localhost:5173")
    return origins


@cli.command(
    epilog="""\b
Examples:
  mockrelay serve --user alice --user bob
  mockrelay serve --port 0 --http-port 0 --seed 7 --json
  mockrelay serve --tls --record session.jsonl
"""
)
@_version_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="WebSocket; 0: any free.")
@click.option(
    "--http-port", type=click.IntRange(0, 65535), default=8766, show_default=True, help="REST and control; 0: any free."
)
@click.option("--tls", is_flag=True, help="Serve wss and https, TLS 1.3 only.")
@click.option("--tls-cert", type=click.Path(), help="Certificate chain in PEM; without it a development one is made.")
@click.option("--tls-key", type=click.Path(), help="The certificate's private key in PEM.")
@click.option("--user", "users", multiple=True, metavar="NAME", callback=_check_users, help="Register a user.")
@click.option("--seed", type=int, help="Make keys, ids and challenges from this number (default: from the system).")
@click.option("--record", type=click.Path(dir_okay=False), help="Record the session to this file (holds secrets).")
@click.option("--profile", type=click.Choice(["dev", "spec"]), default="dev", show_default=True)
@click.option("--allow-host", "hosts", multiple=True, metavar="HOST", help="Admit this Host header too.")
@click.option(
    "--allow-origin", "origins", multiple=True, metavar="ORIGIN", callback=_check_origins, help="Admit this Origin too."
)
@click.option("--json", "as_json", is_flag=True, help="Print the start message as one line of JSON.")
def serve(
    host: str,
    port: int,
    http_port: int,
    tls: bool,
    tls_cert: str | None,
    tls_key: str | None,
    users: tuple[str, ...],
    seed: int | None,
    record: str | None,
    profile: str,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Serve the Zentalk WebSocket API until interrupted."""
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    if port and port == http_port:
        raise click.UsageError(f"--port and --http-port are both {port}; give them different ports, or 0")
    from mockrelay.server import Options

    _set_up_logging()
    options = Options(
        config=_config(profile, hosts, origins),
        host=host,
        port=port,
        http_port=http_port,
        users=users,
        seed=seed,
        record=record,
        admin_token=os.environ.get("MOCKRELAY_ADMIN_TOKEN") or None,
        tls=tls or tls_cert is not None,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    sys.exit(_run(options, as_json))


def _set_up_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("mockrelay: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _config(profile: str, hosts: tuple[str, ...], origins: tuple[str, ...]) -> RelayConfig:
    import msgspec

    from zentalk_sim.protocol.config import RelayConfig

    defaults = RelayConfig()
    upgrade = msgspec.structs.replace(
        defaults.upgrade,
        profile=profile,
        hosts=(*defaults.upgrade.hosts, *hosts),
        origins=(*defaults.upgrade.origins, *origins),
    )
    return msgspec.structs.replace(defaults, upgrade=upgrade)


def deviations(config: RelayConfig) -> list[str]:
    """What a configuration does otherwise than profile ``spec``, a line each (R-3.5)."""
    from zentalk_sim.protocol.config import UpgradeConfig

    standard = UpgradeConfig()
    upgrade = config.upgrade
    lines: list[str] = []
    if upgrade.profile == "dev":
        lines += [
            "Host may be localhost, *.localhost or any IP literal",
            "Origin may be http(s):// on localhost, *.localhost, 127.0.0.1 or [::1], any port",
            "limits per IP are off for loopback and private addresses",
            "POST /api/token registers an unknown identity",
        ]
    lines += [f"Host {name} is admitted (--allow-host)" for name in upgrade.hosts if name not in standard.hosts]
    lines += [f"Origin {name} is admitted (--allow-origin)" for name in upgrade.origins if name not in standard.origins]
    return lines


def _run(options: Options, as_json: bool) -> int:
    import asyncio

    from mockrelay.server import PortInUse
    from mockrelay.tls import TlsError

    try:
        return asyncio.run(_serve(options, as_json))
    except KeyboardInterrupt:
        return 130
    except PortInUse as error:
        remedy = "; choose another (0 picks a free one)" if error.option != "--host" else "; give a local address"
        click.echo(f"mockrelay: {error}{remedy}", err=True)
    except TlsError as error:
        click.echo(f"mockrelay: --tls: {error}", err=True)
    except OSError as error:
        if options.record is None or error.filename != options.record:
            raise
        click.echo(f"mockrelay: --record: {options.record}: {error.strerror}", err=True)
    return 2


async def _serve(options: Options, as_json: bool) -> int:
    import asyncio
    import signal

    from mockrelay.server import MockRelay

    relay = MockRelay(options)
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        relay.shutdown_asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
        except NotImplementedError:  # Windows: Ctrl-C comes as KeyboardInterrupt
            break
    async with relay:
        _announce(relay, as_json)
        await relay.shutdown_asked.wait()
    return 130 if signal.SIGINT in received else 0


def _announce(relay: MockRelay, as_json: bool) -> None:
    for line in deviations(relay.options.config):
        click.echo(f"deviates from profile spec: {line}", err=True)
    if as_json:
        click.echo(json.dumps(relay.start_message()))
    else:
        click.echo(_start_text(relay))
    sys.stdout.flush()


def _start_text(relay: MockRelay) -> str:
    lines = [
        "mockrelay is ready; Ctrl-C stops it.",
        "",
        f"  WebSocket    {relay.ws_url}",
        f"  REST         {relay.http_url}/api",
        f"  Admin token  {relay.admin_token}",
    ]
    if relay.development_tls is not None:
        lines += [
            f"  Certificate  {relay.development_tls.cert_file}",
            f"               (self-signed, for clients to trust; SHA-256 {relay.development_tls.fingerprint})",
        ]
    if relay.options.record is not None:
        lines.append(f"  Recording    {relay.options.record} (holds keys and tokens)")
    for user in relay.users:
        lines += [
            "",
            f"  {user.name}",
            f"    address    {user.address}",
            f"    device     {user.device_id}",
            f"    connect    {relay.url_of(user)}",
        ]
    from zentalk_sim.protocol.upgrade import host_admitted, host_name

    host = relay.ws_url.split("/")[2]
    if not host_admitted(host, relay.options.config.upgrade):
        name = host_name(host)
        lines += ["", f"  This profile does not admit the Host {name} of these URLs; --allow-host {name} would."]
    if not relay.users:
        lines += ["", "  No users yet: --user NAME registers one."]
    return "\n".join(lines)


def main() -> None:
    """The entry point of the ``mockrelay`` command."""
    cli(prog_name="mockrelay")
