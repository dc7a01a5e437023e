"""``zsim calibrate``: a live relay's costs and latencies, measured and printed as an experiment fragment."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile
from zentalk_sim.cli.options import version


@click.command(
    epilog="Example: zsim calibrate ws://127.0.0.1:8765/ws/v1 > measured.yaml, then: zsim run FILE --with measured.yaml"
)
@click.argument("ws_url", metavar="WS_URL")
@click.option("--admin-token", envvar="MOCKRELAY_ADMIN_TOKEN", help="Of the control API ($MOCKRELAY_ADMIN_TOKEN).")
@click.option("--http-url", help="The relay's REST and control URL (from WS_URL: port 8765 → 8766, else the same).")
@click.option("--users", "users_file", type=click.Path(path_type=Path, dir_okay=False), help="Two users, as JSON.")
@click.option("--samples", type=click.IntRange(3, 10_000), default=40, show_default=True, help="Of each latency.")
@click.option(
    "--burst", type=click.IntRange(0, 100_000), default=1_000, show_default=True, help="Messages for throughput."
)
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON, the fragment among them.")
@version
def command(
    ws_url: str,
    admin_token: str | None,
    http_url: str | None,
    users_file: Path | None,
    samples: int,
    burst: int,
    as_json: bool,
) -> None:
    """Measure the relay at WS_URL and print what it takes as a fragment of an experiment.

    Two clients connect, send and receive, one thing at a time: TCP connect, TLS, upgrade, authentication, round trip,
    acknowledgement, delivery; with the control API, in a space of its own without limits, throughput as well.
    """
    from zentalk_sim.cli.run import live_target

    target = live_target(ws_url, admin_token, http_url, users_file, None, what="calibrate")

    from zentalk_sim.experiment.calibrate import as_data, as_yaml
    from zentalk_sim.live.calibrate import CalibrateError, measure
    from zentalk_sim.live.control import ControlError
    from zentalk_sim.live.users import UsersError

    def shown(stage: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"measuring {stage} …", err=True)

    try:
        found = asyncio.run(
            measure(
                target.ws_url,
                target.http_url,
                admin_token=target.admin_token,
                users=target.users,
                samples=samples,
                burst=burst,
                shown=shown,
            )
        )
    except (CalibrateError, ControlError, UsersError) as error:
        raise InvalidFile(str(error) if ws_url in str(error) else f"{ws_url}: {error}") from None
    if as_json:
        click.echo(json.dumps(as_data(found), indent=2))
    else:
        click.echo(as_yaml(found), nl=False)
