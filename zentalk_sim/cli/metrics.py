"""``zsim metrics``: the catalogue of results."""

from __future__ import annotations

import json

import click

from zentalk_sim.cli.options import version


@click.command(epilog="Example: zsim metrics | grep latency")
@click.option("--json", "as_json", is_flag=True, help="Print the catalogue as JSON.")
@version
def command(as_json: bool) -> None:
    """List every metric and count: its name, unit, definition and the population it is over."""
    import msgspec

    from zentalk_sim.experiment.metrics import CATALOGUE, COUNTS, DISTRIBUTIONS, STATISTICS

    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(CATALOGUE), indent=2, ensure_ascii=False))
        return
    click.echo(f"Metrics, each with {', '.join(STATISTICS)}:")
    for metric in DISTRIBUTIONS:
        click.echo(f"\n  {metric.name}  [{metric.unit}]\n      {metric.definition}\n      over: {metric.population}")
        if metric.censored:
            click.echo(f"      censored: {metric.censored}")
    click.echo("\nCounts, each a whole number:")
    for metric in COUNTS:
        click.echo(f"\n  {metric.name}\n      {metric.definition}\n      over: {metric.population}")
        if metric.values:
            click.echo(f"      {metric.name[metric.name.index('<') :]}: {', '.join(metric.values)}")
