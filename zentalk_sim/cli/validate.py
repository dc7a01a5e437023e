"""``zsim validate``: an experiment file checked without running it."""

from __future__ import annotations

from functools import partial

import click

from zentalk_sim.cli.errors import InvalidFile, reading
from zentalk_sim.cli.options import version


@click.command(epilog="Example: zsim validate experiments/reconnect_storm.yaml -S population.devices=500")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("-S", "settings", metavar="PATH=VALUE", multiple=True, help="Set one key, as for `zsim run`; repeatable.")
@version
def command(files: tuple[str, ...], settings: tuple[str, ...]) -> None:
    """Check experiment files and name the faults in them, a line each, with its place.

    A note tells of settings that take each other's effect away, which may be meant. Ends with 0 if all files
    can be run, else with 2.
    """
    from zentalk_sim.experiment.doubts import doubts
    from zentalk_sim.experiment.loader import load
    from zentalk_sim.files.units import format_duration

    faults = []
    for path in files:
        set_aside: list[str] = []
        try:
            experiment = reading(partial(load, path, settings, set_aside=set_aside))
            swept = _sweep(path, settings) if set_aside else ""
        except InvalidFile as error:
            faults.append(_with_sweep(path, settings, error.message) if set_aside else error.message)
            continue
        devices, nodes = experiment.population.devices, experiment.relay.nodes
        size = f"{devices} device{'' if devices == 1 else 's'}, {nodes} node{'' if nodes == 1 else 's'}"
        click.echo(f"{path}: {experiment.name}: {size}, {format_duration(experiment.duration_us)}: valid{swept}")
        for doubt in doubts(experiment):
            click.echo(f"{path}: note: {doubt}")
    if faults:
        raise InvalidFile("\n".join(faults))


def _with_sweep(path: str, settings: tuple[str, ...], told: str) -> str:
    """The faults told of an experiment, and what its sweep alone has."""
    try:
        _sweep(path, settings)
    except InvalidFile as error:
        return "\n".join(dict.fromkeys([*told.splitlines(), *error.message.splitlines()]))
    return told


def _sweep(path: str, settings: tuple[str, ...]) -> str:
    """What the file's sweep makes, in words. Raises InvalidFile with the faults of every combination."""
    from zentalk_sim.experiment import sweep
    from zentalk_sim.experiment.sweep_grid import read_section
    from zentalk_sim.files.yaml import load

    section = read_section(load(path), [])
    # A sweep has seeds of its own; without any in the file, the command gives them.
    fixed = [text for text in settings if not text.startswith(("seed=", "name="))]
    plan = reading(partial(sweep.plan, path, settings=fixed, seeds=section.seeds or "1"))
    if section.seeds is not None:
        return f", and a sweep of {len(plan.cells):,} runs"
    return f", and a sweep of {len(plan.cells):,} combinations" if section.axes else ""
