"""A simulated world: nodes, store, bus, balancer, population and faults, built from an experiment.

All randomness comes from streams named after what draws (``device/17/start``) under the experiment's seed, and all
time from one kernel, so that a world is a function of its experiment.
"""

from __future__ import annotations

from itertools import islice

from zentalk_sim.experiment.rule_names import names_in, settled
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.model.balancer import Balancer
from zentalk_sim.model.bus import Bus
from zentalk_sim.model.device import Device
from zentalk_sim.model.faults_schedule import FaultSchedule
from zentalk_sim.model.kernel import Kernel
from zentalk_sim.model.population import Member, Person, build_population, client_of, issue_token, register
from zentalk_sim.model.pushes import Pushes
from zentalk_sim.model.recorder import Recorder
from zentalk_sim.model.relay_node import RelayNode
from zentalk_sim.model.rest_line import RestLine
from zentalk_sim.model.rule_engine import RuleEngine
from zentalk_sim.model.ruled_rest_line import RuledRestLine
from zentalk_sim.model.ruled_socket import RuledSocket
from zentalk_sim.model.tracer import Tracer
from zentalk_sim.model.websocket import WebSocket
from zentalk_sim.model.workload import Conduct
from zentalk_sim.network.path import Path
from zentalk_sim.network.profile import PROFILES, LinkProfile
from zentalk_sim.protocol.crypto import Crypto, Ed25519, Modelled
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.tokens import JwtAuthority, ModelledAuthority, TokenAuthority

START_US = 1_704_067_200_000_000
"""2024-01-01T00:00:00Z."""


class World:
    """Everything of one run. ``random_ties`` runs what falls on one instant in a random order (see Kernel)."""

    def __init__(
        self,
        experiment: Experiment,
        recorder: Recorder,
        *,
        tracer: Tracer | None = None,
        random_ties: bool = False,
    ) -> None:
        self.experiment = experiment
        self.recorder = recorder
        self.tracer = tracer
        self.streams = Streams(experiment.seed)
        self.start_us = START_US
        self.kernel = Kernel(self.start_us, self.streams.stream("ties") if random_ties else None)
        self.wire = experiment.fidelity == "wire"
        self.protocol = experiment.relay.protocol
        self.crypto: Crypto = Ed25519() if self.wire else Modelled()
        self.store = MemoryStore(self.streams.fresh("signing_key").bytes(32), self.protocol.dedup)
        self.tokens: TokenAuthority = (
            JwtAuthority(self.store.signing_seed)
            if self.wire
            else ModelledAuthority(self.store.signing_seed, self.crypto)
        )
        self.connected = 0
        """Devices whose client is in state CONNECTED, but for those whose node has died without their noticing."""
        self._number = 0
        self.rules: RuleEngine | None = None
        """The experiment's fault rules at work, if it has any."""
        self.socket_type: type[WebSocket] = WebSocket
        self.rest_line_type: type[RestLine] = RestLine
        self.nodes = [RelayNode(self, index) for index in range(experiment.relay.nodes)]
        relay = experiment.relay
        self.balancer = Balancer(relay.balancer, self.nodes, relay.failure_detection_us)
        by_name = {node.name: node for node in self.nodes}
        self.bus = Bus(self.kernel, by_name, relay.bus_latency_us, relay.bus_loss, self.streams.fresh("bus"))
        members = self.populate()
        if experiment.rules:
            self.rules = RuleEngine(self, settled(experiment.rules, *names_in(members)))
            self.socket_type, self.rest_line_type = RuledSocket, RuledRestLine
        self.conduct = self.conduct_of(members)
        self.pushes = Pushes(self)
        self.devices = [self._device(member) for member in members]
        if tracer is not None:
            tracer.begin(experiment, self.store, self.start_us)
        self.faults = FaultSchedule(self)
        self.faults.begin()
        for device in self.devices:
            self.conduct.begin(device)

    def populate(self) -> list[Member]:
        """The devices of this world, their users registered; another world may have another population."""
        members = build_population(self.experiment, self.streams, self.crypto)
        register(members, self.store, self.start_us)
        return members

    def conduct_of(self, members: list[Member]) -> Conduct:
        """What the users do, by the experiment's workload; in another world by a script."""
        return Conduct(self.experiment.workload, self.kernel, _people(members), self.streams)

    def next_number(self) -> int:
        """A number not given before in this world: connections and requests."""
        self._number += 1
        return self._number

    def profile(self, network: str) -> LinkProfile:
        """The link profile of that name, the experiment's own before the built-in ones."""
        return self.experiment.network.get(network) or PROFILES[network]

    def _device(self, member: Member) -> Device:
        token = issue_token(member, self.tokens, self.protocol.token, self.start_us)
        client = client_of(member, token, self.experiment.client, self.streams, self.crypto, self.wire)
        return Device(self, member, client, Path(), self.profile(member.network))

    def pending_copies(self) -> int:
        """Copies in the mailboxes."""
        return sum(map(len, self.store.mailboxes.values()))

    def finish(self, most_rows: int | None = None) -> None:
        """The run is over: write the rows of what is still under way, and close the books.

        ``most_rows`` bounds the attempts under way, and the messages, that get one: where a run is to end at once.
        """
        for device in islice(self.devices, most_rows):
            device.end_attempt(None, None)
        if len(self.nodes) > 1:
            self.recorder.count("bus.sent", self.bus.sent)
            self.recorder.count("bus.lost", self.bus.lost)
        without = [device.lost_us for device in self.devices if device.lost_us is not None]
        self.recorder.finish(self.pending_copies(), without, most_rows)


def _people(members: list[Member]) -> list[Person]:
    people: dict[int, Person] = {}
    for member in members:
        people.setdefault(member.person.index, member.person)
    return list(people.values())
