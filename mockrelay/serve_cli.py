"""``mockrelay serve``: its flags, the file and the environment below them, the start, and the end on a signal.

Flags win over ``MOCKRELAY_…`` in the environment, these over the file that ``--config`` names. What is wrong in any of
them ends with 2 and one line for each fault. Heavy modules are imported where they are needed, so that help is quick.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from mockrelay.announce import deviations, start_text
from mockrelay.ca_cli import ca_dir_option, ca_folder
from mockrelay.flag_checks import (
    Port,
    check_bounds,
    check_clock,
    check_hosts,
    check_origins,
    check_users,
    stray_variables,
)
from mockrelay.logs import FORMATS, LEVELS, say, set_up
from mockrelay.version_option import version_option

if TYPE_CHECKING:
    from mockrelay.server import MockRelay, Options
    from zentalk_sim.files.yaml import FileFaults
    from zentalk_sim.protocol.config import RelayConfig

_FILE_SETTINGS = "mockrelay.file_settings"
_PORT = Port(0, 65535)


class BadFiles(click.ClickException):
    """Files that cannot be taken: a line for each fault."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """The faults, as ``file:line:column: message``."""
        click.echo(self.message, err=True)


def _bad_files(faults: FileFaults) -> BadFiles:
    return BadFiles("\n".join(str(fault) for fault in faults.faults))


def _checks(ctx: click.Context) -> Callable[[str, Any], str | None]:
    """What a flag would say against a value, or None."""
    parameters = {parameter.name: parameter for parameter in ctx.command.params}

    def check(name: str, value: Any) -> str | None:
        try:
            parameters[name].process_value(ctx, value)
        except click.BadParameter as error:
            return error.message
        return None

    return check


def _read_config_file(ctx: click.Context, _param: click.Parameter, path: str | None) -> None:
    """What the file says becomes the options' defaults, below the environment and the flags."""
    if path is None or ctx.resilient_parsing:
        return
    from mockrelay.settings import read_file
    from zentalk_sim.files.yaml import FileFaults

    try:
        settings = read_file(path, _checks(ctx))
    except FileFaults as faults:
        raise _bad_files(faults) from None
    ctx.default_map = {**(ctx.default_map or {}), **settings.flags}
    ctx.meta[_FILE_SETTINGS] = settings


class _Serving(click.Command):
    """Has compiled modules taken, where there are any, before a flag's check imports the first source."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        from mockrelay import compiled

        compiled.activate()
        return super().parse_args(ctx, args)


@click.command(
    cls=_Serving,
    epilog="""\b
Examples:
  mockrelay serve --user alice --user bob
  mockrelay serve --port 0 --http-port 0 --seed 7 --json
  mockrelay serve --tls --record session.jsonl
  mockrelay serve --config relay.yaml --clock frozen
""",
)
@version_option
@click.option(
    "--config",
    "config_file",
    is_eager=True,
    expose_value=False,
    envvar="MOCKRELAY_CONFIG",
    callback=_read_config_file,
    metavar="FILE",
    help="Settings in YAML; the environment and flags win over it.",
)
@click.option("--host", envvar="MOCKRELAY_HOST", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", envvar="MOCKRELAY_PORT", type=_PORT, default=8765, show_default=True, help="WebSocket; 0: any free."
)
@click.option(
    "--http-port",
    envvar="MOCKRELAY_HTTP_PORT",
    type=_PORT,
    default=8766,
    show_default=True,
    help="REST and control; 0: any free.",
)
@click.option("--tls", envvar="MOCKRELAY_TLS", is_flag=True, help="Serve wss and https, TLS 1.3 only.")
@click.option(
    "--tls-cert",
    envvar="MOCKRELAY_TLS_CERT",
    type=click.Path(),
    help="Certificate chain in PEM; without it the development authority signs one.",
)
@click.option("--tls-key", envvar="MOCKRELAY_TLS_KEY", type=click.Path(), help="The certificate's private key in PEM.")
@ca_dir_option
@click.option(
    "--user",
    "users",
    envvar=["MOCKRELAY_USERS", "MOCKRELAY_USER"],
    multiple=True,
    metavar="NAME",
    callback=check_users,
    help="Register a user.",
)
@click.option(
    "--store",
    envvar="MOCKRELAY_STORE",
    default="memory",
    show_default=True,
    metavar="memory|sqlite:PATH",
    help="Where accepted messages are kept.",
)
@click.option(
    "--seed",
    envvar="MOCKRELAY_SEED",
    type=int,
    help="Make keys, ids and challenges from this number (default: from the system).",
)
@click.option(
    "--clock",
    envvar="MOCKRELAY_CLOCK",
    default="real",
    show_default=True,
    metavar="real|frozen|xN",
    callback=check_clock,
    help="How time runs: as it does, not at all, or N times as fast.",
)
@click.option("--rules", envvar="MOCKRELAY_RULES", metavar="FILE", help="Fault rules in YAML or JSON.")
@click.option(
    "--record",
    envvar="MOCKRELAY_RECORD",
    type=click.Path(dir_okay=False),
    help="Record the session to this file (holds secrets).",
)
@click.option(
    "--profile",
    envvar="MOCKRELAY_PROFILE",
    type=click.Choice(["dev", "spec"]),
    default="dev",
    show_default=True,
)
@click.option(
    "--allow-host",
    "hosts",
    envvar=["MOCKRELAY_ALLOW_HOSTS", "MOCKRELAY_ALLOW_HOST"],
    multiple=True,
    metavar="HOST",
    callback=check_hosts,
    help="Admit this Host header too.",
)
@click.option(
    "--allow-origin",
    "origins",
    envvar=["MOCKRELAY_ALLOW_ORIGINS", "MOCKRELAY_ALLOW_ORIGIN"],
    multiple=True,
    metavar="ORIGIN",
    callback=check_origins,
    help="Admit this Origin too.",
)
@click.option(
    "--bound",
    "bounds",
    envvar=["MOCKRELAY_BOUNDS", "MOCKRELAY_BOUND"],
    multiple=True,
    metavar="NAME=N",
    callback=check_bounds,
    help="How much is kept, such as journal_entries=1000; may be repeated.",
)
@click.option(
    "--json", "as_json", envvar="MOCKRELAY_JSON", is_flag=True, help="Print the start message as one line of JSON."
)
@click.option(
    "--log-level",
    envvar="MOCKRELAY_LOG_LEVEL",
    type=click.Choice(LEVELS),
    help="What stderr tells: debug adds every frame (default: info; with --json warning).",
)
@click.option(
    "--log-format",
    envvar="MOCKRELAY_LOG_FORMAT",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Lines for people or for programs.",
)
@click.pass_context
def serve(ctx: click.Context, /, **flags: Any) -> None:
    """Serve the Zentalk WebSocket API until interrupted.

    Every option may also be set in the file that --config names, or as MOCKRELAY_… in the environment.
    """
    if (flags["tls_cert"] is None) != (flags["tls_key"] is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    if flags["port"] and flags["port"] == flags["http_port"]:
        raise click.UsageError(f"--port and --http-port are both {flags['port']}; give them different ports, or 0")
    for line in stray_variables(ctx.command, os.environ):
        click.echo(line, err=True)
    set_up(flags["log_level"] or ("warning" if flags["as_json"] else "info"), flags["log_format"])
    sys.exit(_run(_options(ctx, flags), flags["as_json"]))


def _options(ctx: click.Context, flags: dict[str, Any]) -> Options:
    from mockrelay.server import Options
    from mockrelay.settings import merged, read_rules
    from zentalk_sim.files.yaml import FileFaults

    file = ctx.meta.get(_FILE_SETTINGS)
    config = _config(flags["profile"], flags["hosts"], flags["origins"])
    rules: list[Any] = []
    try:
        if file is not None:
            config = merged(config, file.config)
        if flags["rules"] is not None:
            rules = read_rules(flags["rules"])
        elif file is not None and file.rules is not None:
            rules = read_rules(file.rules)
    except FileFaults as faults:
        raise _bad_files(faults) from None
    return Options(
        config=config,
        host=flags["host"],
        port=flags["port"],
        http_port=flags["http_port"],
        users=flags["users"],
        seed=flags["seed"],
        record=flags["record"],
        admin_token=os.environ.get("MOCKRELAY_ADMIN_TOKEN") or None,
        tls=flags["tls"] or flags["tls_cert"] is not None,
        tls_cert=flags["tls_cert"],
        tls_key=flags["tls_key"],
        ca_dir=_ca_dir(flags),
        clock=flags["clock"],
        store=flags["store"],
        rules=tuple(rules),
        bounds=flags["bounds"],
    )


def _ca_dir(flags: dict[str, Any]) -> str | None:
    """Where the development authority is kept, if one is needed."""
    if not flags["tls"] or flags["tls_cert"] is not None:
        return None
    from mockrelay.tls import TlsError

    try:
        return ca_folder(flags["ca_dir"])
    except TlsError as error:
        raise click.UsageError(f"--tls: {error}") from None


def _config(profile: str, hosts: tuple[str, ...], origins: tuple[str, ...]) -> RelayConfig:
    import msgspec

    from mockrelay.addresses import CONTAINER_NAMES
    from zentalk_sim.protocol.config import RelayConfig

    defaults = RelayConfig()
    upgrade = msgspec.structs.replace(
        defaults.upgrade,
        profile=profile,
        hosts=tuple(dict.fromkeys((*defaults.upgrade.hosts, *(CONTAINER_NAMES if profile == "dev" else ()), *hosts))),
        origins=(*defaults.upgrade.origins, *origins),
    )
    return msgspec.structs.replace(defaults, upgrade=upgrade)


def _run(options: Options, as_json: bool) -> int:
    from mockrelay import event_loop
    from mockrelay.server import PortInUse
    from mockrelay.store import StoreError
    from mockrelay.tls import TlsError

    try:
        return event_loop.run(_serve(options, as_json))
    except KeyboardInterrupt:
        return 130
    except PortInUse as error:
        remedy = "; choose another (0 picks a free one)" if error.option != "--host" else "; give a local address"
        click.echo(f"mockrelay: {error}{remedy}", err=True)
    except TlsError as error:
        click.echo(f"mockrelay: --tls: {error}", err=True)
    except StoreError as error:
        click.echo(f"mockrelay: {error}", err=True)
    except OSError as error:
        if options.record is None or error.filename != options.record:
            raise
        click.echo(f"mockrelay: --record: {options.record}: {error.strerror}", err=True)
    return 2


async def _serve(options: Options, as_json: bool) -> int:
    import asyncio
    import signal

    from mockrelay import event_loop
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
        event_loop.settle()
        _announce(relay, as_json)
        say(logging.INFO, "ready", ws_url=relay.ws_url, http_url=relay.http_url, users=len(relay.users))
        await relay.shutdown_asked.wait()
        cause = signal.Signals(received[0]).name if received else "asked by the control API"
        say(logging.INFO, "stopping", cause=cause, connections=len(relay.driver.relay.connections))
    say(logging.INFO, "stopped")
    return 130 if signal.SIGINT in received else 0


def _announce(relay: MockRelay, as_json: bool) -> None:
    mode = relay.default.clock.mode
    moved = [] if mode == "real" else [f"time is {mode}, {relay.default.clock.scale:g} s in one (--clock)"]
    for line in deviations(relay.options.config) + moved:
        click.echo(f"deviates from profile spec: {line}", err=True)
    for name in relay.development_tls.uncovered() if relay.development_tls is not None else ():
        click.echo(f"the development certificate is not for {name}, which is no local name; see --tls-cert", err=True)
    if as_json:
        click.echo(json.dumps(relay.start_message()))
    else:
        click.echo(start_text(relay))
    sys.stdout.flush()
