"""``zsim fuzz``: swarms of random experiments under faults; a failure is shrunk and kept as a capsule."""

from __future__ import annotations

import itertools
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zentalk_sim.cli.errors import InvalidFile, NotHeld
from zentalk_sim.cli.options import version

if TYPE_CHECKING:
    from zentalk_sim.fuzz.swarm import Tally


def _seeds(_ctx: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int | None] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18})?)?", text)
    if found is None:
        raise click.BadParameter(f"`{text}` is no range of seeds; write 1-1000, or 7 for one, or 1- for no end")
    first = int(found[1])
    if "-" not in text:
        return first, first
    last = int(found[2]) if found[2] else None
    if last is not None and last < first:
        raise click.BadParameter(f"`{text}` runs backwards; write {last}-{first}")
    return first, last


def _duration(_ctx: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    from zentalk_sim.files.units import parse_duration

    try:
        return parse_duration(text) / 1e6
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(epilog="Example: zsim fuzz --for 60s --capsules capsules")
@click.option("--seeds", metavar="A-B", callback=_seeds, help="Seeds to run, such as 1-1000 (1 to 100).")
@click.option("--for", "for_s", metavar="TIME", callback=_duration, help="Run for so long, such as 60s or 8h.")
@click.option(
    "--capsules",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("capsules"),
    show_default=True,
    help="Where failures are kept.",
)
@click.option("--shrink", metavar="N", type=click.IntRange(min=0), default=120, help="Trials to shrink a failure in.")
@click.option("--replay", metavar="CAPSULE", type=click.Path(path_type=Path), help="Run a capsule's trial again.")
@click.option("--trace", metavar="F", type=click.Path(path_type=Path), help="With --replay: keep the trace in F.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@version
def command(
    seeds: tuple[int, int | None] | None,
    for_s: float | None,
    capsules: Path,
    shrink: int,
    replay: Path | None,
    trace: Path | None,
    as_json: bool,
) -> None:
    """Look for what breaks a requirement: random small experiments under random faults, judged as they run.

    Each seed is one trial: trouble, then peace in which everything must converge. Ends with 0 if nothing broke, with 99
    if something did; with --replay, with 99 if the capsule still fails.
    """
    if replay is not None:
        _replay(replay, trace, as_json)
        return
    if trace is not None:
        raise click.UsageError("--trace belongs to --replay")
    from zentalk_sim.fuzz.swarm import fuzz

    first, last = seeds if seeds is not None else (1, None if for_s is not None else 100)
    wanted = itertools.count(first) if last is None else iter(range(first, last + 1))
    try:
        told = _progress if sys.stderr.isatty() else None
        tally = fuzz(wanted, capsules, clock=time.monotonic, for_s=for_s, budget=shrink, told=told)
    except OSError as error:
        raise InvalidFile(f"{error.filename or capsules}: cannot be written: {error.strerror}") from None
    if sys.stderr.isatty():
        sys.stderr.write("\r" + " " * 100 + "\r")
    if as_json:
        _print_json(tally.as_data())
    else:
        _print(tally)
    if tally.interrupted:
        raise KeyboardInterrupt
    if tally.found:
        raise NotHeld


def _progress(tally: Tally, seed: int) -> None:
    text = (
        f"seed {seed} · {tally.seeds:,} trials · {tally.seeds_per_hour:,} an hour · {len(tally.found)} failures · "
        f"{len(tally.unreached())} situations not reached"
    )
    sys.stderr.write("\r" + text.ljust(100))
    sys.stderr.flush()


def _print_json(data: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())


def _print(tally: Tally) -> None:
    for found in tally.found:
        failure = found.failure
        click.echo(f"BROKEN  seed {found.seed}: {failure.id} ({failure.citation}): {failure.message[:300]}")
        click.echo(f"        zsim fuzz --replay {found.path}")
    hours = tally.simulated_us / 3.6e9
    click.echo(
        f"{tally.seeds:,} trials, {hours:,.1f} hours simulated, {tally.frames:,} frames judged, "
        f"{tally.seeds_per_hour:,} trials an hour: {len(tally.found)} failures"
    )
    unreached = tally.unreached()
    total = len(tally.situations) + len(unreached)
    click.echo(f"{total - len(unreached)} of {total} situations reached")
    for name in unreached:
        click.echo(f"  never: {name}")


def _replay(path: Path, trace: Path | None, as_json: bool) -> None:
    from zentalk_sim.files.yaml import FileFaults
    from zentalk_sim.fuzz.capsule import CapsuleError, read
    from zentalk_sim.fuzz.trial import run

    try:
        capsule = read(path)
        outcome = run(capsule.plan, keep_lines=True, trace=trace)
    except (CapsuleError, FileFaults) as error:
        raise InvalidFile(str(error)) from None
    except OSError as error:
        raise InvalidFile(f"{error.filename or path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidFile(f"{path}: its plan cannot be run: {error}") from None
    failure = outcome.failure
    same = failure is not None and failure.id == capsule.broken.check
    if as_json:
        import msgspec

        _print_json({"fails": failure is not None, "as_before": same, "failure": msgspec.to_builtins(failure)})
    elif failure is None:
        click.echo(f"passes now; it broke {capsule.broken.check}: {capsule.broken.message}")
    else:
        click.echo(f"{'fails as before' if same else 'fails otherwise'}: {failure.id} ({failure.citation})")
        click.echo(f"  {failure.title}")
        click.echo(f"  {failure.message}")
        for line in failure.evidence:
            click.echo(f"  {line if len(line) <= 400 else line[:400] + ' …'}")
        if failure.traceback:
            click.echo(failure.traceback)
        click.echo("what was done to it:")
        for at_us, what in outcome.timeline:
            click.echo(f"  {at_us / 1e6:10.3f} s  {what}")
    if failure is not None:
        raise NotHeld
