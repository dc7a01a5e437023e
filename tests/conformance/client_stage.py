"""Stages on which the project's own client plays: as a device of the simulated world, and over real sockets.

A body owns no clock: it says ``stage.until(condition)``, which lets time pass from event to event, the simulated
world's or that of an event loop whose time jumps. Bounds are generous, and nothing hangs on how long a machine takes.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from mockrelay.clock import MovableClock, RealClock
from mockrelay.server import MockRelay, Options
from tests.live.jump_loop import JumpLoop
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.live.device import Device as LiveDevice
from zentalk_sim.model.device import Device as ModelDevice
from zentalk_sim.model.population import Member, Person, issue_token, register
from zentalk_sim.model.recorder import Recorder
from zentalk_sim.model.world import START_US, World
from zentalk_sim.network.path import Path
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import Acked, ClientEffect, Deliver, Identity, Receipt, StateChanged
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.control import AddDevice, AddUser, IssueToken
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.trace.tables import SCHEMAS, TableWriter

BOUND_S = 60.0
_LOOK_S = 0.05
"""So often, in the loop's own time, a live stage looks again where no client is told anything."""


class Phone(ABC):
    """A user's device with the project's client; what its application was told, in order."""

    address: str
    device_id: str
    client: Client

    def __init__(self) -> None:
        self.told: list[ClientEffect] = []

    def of(self, kind: type) -> list[Any]:
        return [effect for effect in list(self.told) if isinstance(effect, kind)]

    @property
    def shown(self) -> list[str]:
        return [effect.message_id for effect in self.of(Deliver)]

    @property
    def acked(self) -> list[str]:
        return [effect.message_id for effect in self.of(Acked)]

    @property
    def receipts(self) -> list[tuple[str, str]]:
        return [(effect.kind, effect.message_id) for effect in self.of(Receipt)]

    @property
    def connects(self) -> int:
        """How many times it has been authenticated."""
        return sum(change.new is ClientState.CONNECTED for change in self.of(StateChanged))

    @property
    def online(self) -> bool:
        return self.client.state is ClientState.CONNECTED

    @abstractmethod
    def do(self, name: str, *arguments: Any) -> None:
        """Call the client's input of that name, now."""

    @abstractmethod
    def lose_connection(self) -> None:
        """The network breaks the connection."""

    def send(self, to: Phone, text: bytes = b"hello") -> str:
        self.do("send", to.address, text, "text")
        return self.client.last_id


class ClientStage(ABC):
    """A relay and phones."""

    @abstractmethod
    def phone(self, name: str, *, clock_skew_s: int = 0) -> Phone:
        """A registered user's phone, not yet connected."""

    @abstractmethod
    def until(self, condition: Callable[[], bool]) -> None:
        """Let things happen until the condition holds. Raises AssertionError when it never does."""

    @abstractmethod
    def control(self, command: Any) -> Any:
        """A command of the relay's tools."""

    @abstractmethod
    def connections(self) -> list[int]:
        """The relay's connections, oldest first."""

    @abstractmethod
    def close(self) -> None:
        """Take everything down."""

    def online(self, *names: str) -> list[Phone]:
        """Phones that are connected."""
        phones = [self.phone(name) for name in names]
        for phone in phones:
            phone.do("connect")
        self.until(lambda: all(phone.online for phone in phones))
        return phones


# --- simulated -----------------------------------------------------------------------------------------


class _Device(ModelDevice):
    __slots__ = ("phone",)

    def apply(self, effects: list[Any]) -> None:
        self.phone.told.extend(effects)
        super().apply(effects)


class SimulatedPhone(Phone):
    """A device of the simulated world; its clock may be off."""

    def __init__(self, stage: SimulatedClients, name: str) -> None:
        super().__init__()
        self.stage = stage
        draw = Streams("clients").fresh(name)
        secret, self.device_id, self.address = draw.bytes(32), draw.uuid4(), "0x" + draw.hex(40)
        world = stage.world
        person = Person(stage.count, self.address, secret, world.crypto.public_key(secret), (self.device_id,), ())
        member = Member(stage.count, person, self.device_id, "lan", f"203.0.113.{stage.count + 1}")
        register([member], world.store, START_US)
        token = issue_token(member, world.tokens, world.protocol.token, START_US)
        identity = Identity(self.address, secret, self.device_id, token)
        self.client = Client(
            ClientConfig(), identity, streams=world.streams, crypto=world.crypto, name=name, wire=world.wire
        )
        self.device = _Device(world, member, self.client, Path(), world.profile("lan"))
        self.device.phone = self

    def do(self, name: str, *arguments: Any) -> None:
        effects = getattr(self.client, name)(*arguments, self.stage.world.kernel.now)
        if name == "send":
            self.stage.world.recorder.sent(
                self.client.last_id, self.address, arguments[0], (), len(arguments[1]), self.stage.world.kernel.now
            )
        self.device.apply(effects)

    def lose_connection(self) -> None:
        assert self.device.socket is not None
        self.device.socket.reset_both()


class SimulatedClients(ClientStage):
    """A world of one node, to which phones are added by hand."""

    def __init__(self, config: RelayConfig, fidelity: str) -> None:
        base = from_mapping(
            {
                "name": "clients",
                "duration": "1h",
                "fidelity": fidelity,
                "population": {"devices": 1, "networks": {"lan": 1}},
                "workload": {"reads": {"probability": 0}},
            }
        )
        replace = msgspec.structs.replace
        fields = {name: getattr(config, name) for name in RelayConfig.__struct_fields__}
        experiment = replace(
            base,
            relay=replace(base.relay, **fields),
            population=replace(base.population, devices=0),
        )
        recorder = Recorder(*(TableWriter(schema, None) for schema in SCHEMAS), measured_from_us=START_US)
        self.world = World(experiment, recorder)
        self.count = 0

    def phone(self, name: str, *, clock_skew_s: int = 0) -> Phone:
        assert clock_skew_s == 0
        phone = SimulatedPhone(self, name)
        self.count += 1
        return phone

    def until(self, condition: Callable[[], bool]) -> None:
        kernel = self.world.kernel
        end = kernel.now + int(BOUND_S * 1e6)
        while not condition():
            assert kernel.now < end, "it never came"
            kernel.run_until(kernel.now + 1_000)

    def control(self, command: Any) -> Any:
        node = self.world.nodes[0]
        assert node.relay is not None
        node._take(node.relay.control(command, self.world.kernel.now))
        return node.relay.result

    def connections(self) -> list[int]:
        relay = self.world.nodes[0].relay
        assert relay is not None
        return list(relay.connections)

    def close(self) -> None:
        """Nothing stands."""


# --- live ----------------------------------------------------------------------------------------------


class LivePhone(Phone):
    """A client over real sockets."""

    def __init__(self, stage: LiveClients, name: str, clock_skew_s: int) -> None:
        super().__init__()
        self.stage = stage
        draw = Streams("clients").fresh(name)
        secret, self.device_id = draw.bytes(32), draw.uuid4()
        self.address = stage.control(AddUser(Ed25519().public_key(secret)))
        stage.control(AddDevice(self.address, self.device_id))
        token = stage.control(IssueToken(self.address, self.device_id))[0]
        identity = Identity(self.address, secret, self.device_id, token)
        self.client = Client(ClientConfig(), identity, streams=Streams(f"clients {name}"), name=name)
        clock = stage.relay.options.clock
        self.clock = lambda: clock.now_us() + clock_skew_s * 1_000_000
        self.device = stage.run(self._made())

    async def _made(self) -> LiveDevice:
        relay = self.stage.relay
        return LiveDevice(self.client, relay.ws_url, relay.http_url, on_effect=self._take, clock=self.clock)

    def _take(self, effect: ClientEffect) -> None:
        self.told.append(effect)
        self.stage.news.set()

    def do(self, name: str, *arguments: Any) -> None:
        self.stage.call(lambda: getattr(self.device, name)(*arguments))

    def lose_connection(self) -> None:
        self.stage.call(self.device.lose_connection)


class LiveClients(ClientStage):
    """A mock relay and live clients on one event loop, which turns while a body acts or waits, and whose time jumps."""

    def __init__(self, config: RelayConfig) -> None:
        self.news = asyncio.Event()
        self._runner = asyncio.Runner(loop_factory=JumpLoop)
        self._phones: list[LivePhone] = []
        self.relay = self.run(self._start(config))

    async def _start(self, config: RelayConfig) -> MockRelay:
        # The clients of the stage say the Host that they connect to, a loopback address.
        upgrade = msgspec.structs.replace(config.upgrade, hosts=(*config.upgrade.hosts, "127.0.0.1"))
        config = msgspec.structs.replace(config, upgrade=upgrade)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpLoop)
        clock = MovableClock(RealClock(loop.unix_ns, loop.unix_ns))
        relay = MockRelay(Options(config=config, port=0, http_port=0, seed=1, clock=clock))
        await relay.start()
        return relay

    def run(self, work: Any) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(BOUND_S):
                return await work

        return self._runner.run(bounded())

    def call(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return function()

        return self.run(call())

    def phone(self, name: str, *, clock_skew_s: int = 0) -> Phone:
        phone = LivePhone(self, name, clock_skew_s)
        self._phones.append(phone)
        return phone

    def until(self, condition: Callable[[], bool]) -> None:
        async def look() -> None:
            while not condition():
                self.news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.news.wait(), _LOOK_S)

        try:
            self.run(look())
        except TimeoutError:
            raise AssertionError("it never came") from None

    def control(self, command: Any) -> Any:
        return self.call(lambda: self.relay.driver.control(command))

    def connections(self) -> list[int]:
        return list(self.relay.driver.relay.connections)

    def close(self) -> None:
        for phone in self._phones:
            self.run(phone.device.stop())
        self.run(self.relay.stop())
        self._runner.close()
