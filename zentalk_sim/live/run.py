"""A whole run in real time: users made, experiment played, the relay's own facts fetched, results written.

With the control API the run has a space of its own, with the experiment's protocol settings, and a recording of it
(``recording.jsonl`` in the run's folder), from which come the counts that only a relay can tell. Without it the
users are given, and those counts are left out.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from zentalk_sim.experiment import real_time
from zentalk_sim.experiment.real_time import LiveRecorder, Member, Person
from zentalk_sim.experiment.run_folder import prepare
from zentalk_sim.experiment.runner import RunOutcome, assumptions, default_folder, quiet_rules
from zentalk_sim.experiment.schema import Cluster, Experiment
from zentalk_sim.live.control import Control, ControlError
from zentalk_sim.live.faults import count_rules, install_rules, refusals
from zentalk_sim.live.relay_facts import RelayFacts
from zentalk_sim.live.users import GivenUser, UsersError, given_people
from zentalk_sim.live.world import LiveWorld
from zentalk_sim.trace.event_reader import TraceError
from zentalk_sim.trace.tables import SCHEMAS, TIMESERIES, TableWriter

_TTL_BEYOND_S = 300.0
_USERS_AT_ONCE = 500
_LATE_WORTH_A_WORD_MS = 20.0
_UNLIKE = ("nodes", "balancer", "ingress", "store_latency_us", "bus_latency_us", "bus_loss", "memory", "clock_skew")
"""Settings of a simulated cluster that a live relay has by itself."""


class LiveError(Exception):
    """A run that cannot be begun or ended; a line a fault."""


class Refused(LiveError):
    """The experiment asks for what a live relay cannot be given; nothing was begun."""


class Target(Struct, kw_only=True):
    """Where a run in real time goes."""

    ws_url: str
    http_url: str
    admin_token: str | None = None
    users: list[GivenUser] | None = None
    """Users in place of those that the control API would make."""
    shaped: bool = True
    """Whether the experiment's networks are laid over the real one."""


def run_live(
    experiment: Experiment,
    target: Target,
    *,
    out: Path | None,
    plots: bool,
    progress: bool,
    on_loop: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run,
) -> tuple[RunOutcome, bool]:
    """Play an experiment against a live relay and write its folder; and whether it was interrupted.

    ``on_loop`` runs the play; its event loop's clock is the run's.
    Raises LiveError for what cannot be done live, before anything starts, and for a relay that is not there; OtherRun
    where the folder holds something else, OSError where it cannot be written.
    """
    faults = refusals(experiment, has_control=target.admin_token is not None)
    if faults:
        raise Refused("\n".join(faults))
    folder = out if out is not None else Path(f"{default_folder(experiment)}-live")
    prepare(folder, experiment, is_live=True)
    tables = {schema.name: TableWriter(schema, folder / schema.file_name) for schema in SCHEMAS}
    play = _Play(experiment, target, folder, tables, progress)
    try:
        on_loop(play.run())
    except KeyboardInterrupt:
        # Ctrl-C cancels the play, which keeps what it has; asyncio then says so.
        if play.world is None or not play.is_over:
            raise
    finally:
        for table in tables.values():
            table.close()
    outcome = real_time.write(play.results(), folder, tables, plots=plots and not play.interrupted)
    (folder / "live.json").write_bytes(msgspec.json.format(msgspec.json.encode(play.described()), indent=2) + b"\n")
    return outcome, play.interrupted


class _Play:
    """One run, from the making of its users to its last row."""

    def __init__(
        self, experiment: Experiment, target: Target, folder: Path, tables: dict[str, TableWriter], progress: bool
    ) -> None:
        self.experiment = experiment
        self.target = target
        self.folder = folder
        self.tables = tables
        self.interrupted = False
        self.is_over = False
        self.world: LiveWorld | None = None
        self._progress = progress
        self._began_s = time.perf_counter()
        self._ended_us = 0
        self._ahead_us = (0, 0)
        self._known = False
        """Whether the relay has told of its side."""
        self._notes: list[str] = []
        self._lasted_s = 0.0

    # --- the run -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Everything that needs the loop."""
        members = real_time.population(self.experiment)
        space: Control | None = None
        parent: Control | None = None
        described: dict[str, Any] = {}
        ws_url, http_url = self.target.ws_url, self.target.http_url
        try:
            if self.target.admin_token is not None:
                parent = Control(http_url, self.target.admin_token)
                space, described, members, tokens = await self._make_space(parent, members)
                ws_url, http_url = described["ws_url"], described["http_url"]
            else:
                members, tokens = given_people(members, self.target.users or [])
            world = self.world = LiveWorld(
                self.experiment,
                members,
                tokens,
                self._recorder,
                ws_url=ws_url,
                http_url=http_url,
                control=space,
                shaped=self.target.shaped,
                forwarded=space is not None,
                tls=None,
            )
            recording = None
            if space is not None:
                await install_rules(self.experiment, members, space)
                self._ahead_us = await space.clock_ahead_us(world.time.real_us)
                recording = (await space.call("POST", "/admin/recordings", {"action": "start"}))["id"]
            await self._play(world)
            await self._finish(world, space, recording)
        except (ControlError, UsersError) as error:
            raise LiveError(str(error)) from None
        finally:
            if parent is not None and described:
                await self._delete(parent, str(described["id"]))

    async def _play(self, world: LiveWorld) -> None:
        gc.freeze()
        try:
            await world.run(self._show if self._progress else None)
        except asyncio.CancelledError:
            self.interrupted = True
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        finally:
            gc.unfreeze()
            self._clear()
        world.time.stop()
        self._ended_us = world.time.real_us()
        world.take_sample(self._ended_us)

    async def _finish(self, world: LiveWorld, space: Control | None, recording: str | None) -> None:
        """Ask the relay for its side before anything is closed, then close it and the books."""
        facts = None
        try:
            if space is not None:
                self._notes += quiet_rules(await count_rules(self.experiment, space, world.recorder))
                await space.call("POST", "/admin/recordings", {"action": "stop"})
            without = world.end()
            await world.stop()
            if space is not None:
                facts = await self._fetch_facts(world, space, str(recording))
        except (ControlError, TraceError) as error:
            # What this side saw is a result still.
            self._notes.append(f"What the relay counted is not known: {error}.")
            print(f"note: {self._notes[-1]}", file=sys.stderr)
            without = world.end()
            await world.stop()
        if not self._known:
            world.recorder.counts["connections.authenticated"] = world.authenticated
            world.recorder.presume_stored()
        world.recorder.finish(world.recorder.copies_pending, without)
        if not self._known:
            world.recorder.forget_relay()
        self._write_samples(world, facts)
        self.is_over = True
        self._lasted_s = time.perf_counter() - self._began_s

    async def _fetch_facts(self, world: LiveWorld, space: Control, recording: str) -> RelayFacts:
        """The relay's recording, and what it tells the recorder. Raises ControlError, TraceError."""
        path = self.folder / "recording.jsonl"
        with path.open("wb") as sink:
            path.chmod(0o600)
            await space.call("GET", f"/admin/recordings/{recording}", sink=sink)
        facts = RelayFacts(world.recorder, self._ahead_us[0], self.experiment.measure.interval_us)
        facts.read(path)
        self._known = True
        return facts

    def _write_samples(self, world: LiveWorld, facts: RelayFacts | None) -> None:
        append = self.tables[TIMESERIES.name].append
        pending = facts.pending_at() if facts is not None and self._known else None
        for sample in world.samples:
            append(sample)
            if pending is not None and sample[1] == "devices.connected":
                append((sample[0], "copies.pending", None, float(pending(sample[0]))))

    async def _delete(self, parent: Control, space_id: str) -> None:
        try:
            await parent.call("DELETE", f"/admin/spaces/{space_id}")
        except ControlError as error:
            print(f"note: the space {space_id} is still there: {error}", file=sys.stderr)

    # --- users ---------------------------------------------------------------------------------------

    async def _make_space(
        self, parent: Control, members: list[Member]
    ) -> tuple[Control, dict[str, Any], list[Member], dict[str, str]]:
        """A fresh space with the experiment's settings and users."""
        people: dict[int, Person] = {}
        for member in members:
            people.setdefault(member.person.index, member.person)
        asked = [
            {
                "name": f"user{person.index}",
                "identity_key": b64encode(person.identity_key).decode(),
                "devices": [
                    {"device_id": device, "device_type": "mobile", "push_token": f"push-{device}"}
                    for device in person.device_ids
                ],
            }
            for person in people.values()
        ]
        ttl_s = self.experiment.duration_us / 1_000_000 + _TTL_BEYOND_S
        described = await parent.space(_settings(self.experiment), asked[:_USERS_AT_ONCE], self.experiment.seed, ttl_s)
        control = parent.within(described["http_url"])
        answers = list(described["users"])
        answers += [await control.call("POST", "/admin/users", user) for user in asked[_USERS_AT_ONCE:]]
        tokens: dict[str, str] = {}
        known: dict[int, Person] = {}
        for person, answer in zip(people.values(), answers, strict=True):
            known[person.index] = msgspec.structs.replace(person, address=answer["address"])
            tokens.update({device["device_id"]: device["token"] for device in answer["devices"]})
        if self.experiment.workload.presence.subscribe != "none":
            pairs = {
                tuple(sorted((known[a].address, known[b].address))): None for a in known for b in known[a].contacts
            }
            await control.make_contacts([(one, other) for one, other in pairs])
        return control, described, [real_time.with_address(m, known[m.person.index]) for m in members], tokens

    def _recorder(self, start_us: int) -> LiveRecorder:
        messages, connections, timeseries = (self.tables[schema.name] for schema in SCHEMAS)
        return LiveRecorder(messages, connections, timeseries, start_us + self.experiment.warm_up_us)

    # --- what is shown -------------------------------------------------------------------------------

    def _show(self, world: LiveWorld) -> None:
        done_s = (world.time.real_us() - world.time.start_us) / 1e6
        sys.stderr.write(
            f"\r{done_s:,.0f} of {self.experiment.duration_us / 1e6:,.0f} s · {world.connected:,} of "
            f"{len(world.devices):,} devices connected · {world.recorder.counts['messages.sent']:,} messages sent  "
        )
        sys.stderr.flush()

    def _clear(self) -> None:
        if self._progress:
            sys.stderr.write("\r" + " " * 100 + "\r")
            sys.stderr.flush()

    def late_ms(self) -> dict[str, float]:
        """By how much this side's own actions came late: quantiles, in ms."""
        assert self.world is not None
        late = sorted(self.world.time.late_us)
        if not late:
            return {}
        return {name: late[min(len(late) - 1, int(q * len(late)))] / 1000 for name, q in _QUANTILES}

    def described(self) -> dict[str, Any]:
        """``live.json``: where it was run, what was known, what was not applied, and how punctual this side was."""
        return {
            "ws_url": self.target.ws_url,
            "control": self.target.admin_token is not None,
            "relay_facts": self._known,
            "network": "shaped" if self.target.shaped else "as it is",
            "interrupted": self.interrupted,
            "relay_clock_ahead_ms": self._ahead_us[0] / 1000,
            "relay_clock_uncertain_ms": self._ahead_us[1] / 1000,
            "late_ms": self.late_ms(),
            "not_applied": not_applied(self.experiment, self.target),
        }

    def results(self) -> Any:
        """What was found."""
        world = self.world
        assert world is not None
        late = self.late_ms().get("p99", 0.0)
        notes = [f"Run in real time against {self.target.ws_url}.", *self._notes]
        notes += not_applied(self.experiment, self.target)
        if late > _LATE_WORTH_A_WORD_MS:
            notes.append(
                f"This machine was busy: one in a hundred of its own actions came more than {late:,.0f} ms late."
            )
        taken = [
            text for text in assumptions(self.experiment) if "modelled" not in text and "nodes take no" not in text
        ]
        # The model says so among its own assumptions, which a live run does not make.
        taken.append("Flows do not share a bottleneck: each connection has its link to itself.")
        return real_time.conclude(
            self.experiment,
            world.recorder,
            start_us=world.time.start_us,
            lasted_us=self._ended_us - world.time.start_us if self.interrupted else self.experiment.duration_us,
            wall_s=self._lasted_s,
            spans=[real_time.FaultSpan(label, start_us, end_us) for label, start_us, end_us in world.faults.spans],
            assumptions=notes + taken,
            events=len(world.time.late_us),
        )


_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))


def _settings(experiment: Experiment) -> dict[str, Any]:
    """The protocol settings for a space: the experiment's, who may connect left as the relay was started with."""
    found: dict[str, Any] = msgspec.to_builtins(experiment.relay.protocol)
    upgrade = found.pop("upgrade")
    # Each device is told apart by the address it has in the experiment, so that limits per address hold as they would.
    found["upgrade"] = {
        "trust_forwarded_for": True,
        "max_connections": upgrade["max_connections"],
        "retry_after_s": upgrade["retry_after_s"],
    }
    return found


def not_applied(experiment: Experiment, target: Target) -> list[str]:
    """A sentence for each thing the experiment says of its relay or network that a live one has by itself."""
    found = []
    relay, plain = experiment.relay, Cluster()
    own = [name for name in _UNLIKE if getattr(relay, name, None) != getattr(plain, name, None)]
    if own:
        keys = ", ".join(f"`relay.{name.removesuffix('_us')}`" for name in own)
        found.append(f"A live relay has its own, so not applied: {keys}.")
    if target.admin_token is None and relay.protocol != plain.protocol:
        found.append("Protocol settings of `relay` are the live relay's own: without its control API none is set.")
    if target.admin_token is None:
        found.append("What only the relay counts is not known: the counts of copies, receipts, heartbeats and pushes.")
    if not target.shaped:
        found.append("Networks are the real one: `population.networks` and `network` are not applied.")
    return found
