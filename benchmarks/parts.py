"""What ``make bench`` measures beside the relay and the kernel: each function gives its lines.

Everything is measured in turns with its baseline, two to nine rounds. These lines are of sources; those that
say *compiled* are of processes of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import frame_vs_timeout, replay_speed, storm_vs_toy
from benchmarks.lines import BenchmarkError, Line, in_turns, line
from zentalk_sim.model import compiled
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.frames import Frame, MessageSend
from zentalk_sim.trace.replay import replay_file

ROUNDS: Final = 5
REPLAY_ROUNDS: Final = 3
STORM_ROUNDS: Final = 2
STORMS: Final = (("reconnect_storm", 1_000), ("million", 10_000))
_BARE: Final = "a SimPy process a device, a timeout a frame"
_FULL: Final = "a SimPy process a device, as many timeouts"
_TIMEOUT: Final = "a SimPy timeout with a callback"


def started(*command: str) -> float:
    """Milliseconds that a process takes from start to end. Raises BenchmarkError where it fails."""
    began = time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise BenchmarkError(f"`{' '.join(command)}` ended with status {done.returncode}")
    return (time.perf_counter() - began) * 1000


def served() -> float:
    """Milliseconds until ``mockrelay serve`` says that it is ready. Raises BenchmarkError where it does not."""
    command = (sys.executable, "-m", "mockrelay", "serve", "--port", "0", "--http-port", "0", "--json")
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        spent = (time.perf_counter() - began) * 1000
        process.terminate()
    if not said:
        raise BenchmarkError("`mockrelay serve` ended before it was ready")
    return spent


def _bare_start() -> float:
    return started(sys.executable, "-c", "pass")


def start_up(rounds: int = ROUNDS) -> list[Line]:
    """How long the commands' help takes, and a relay until it serves, against an interpreter that does nothing."""

    def helped(module: str) -> Callable[[], float]:
        return lambda: started(sys.executable, "-m", module, "--help")

    timed = [(f"{name} --help", helped(module)) for name, module in (("zsim", "zentalk_sim.cli"), ("mockrelay",) * 2)]
    timed.append(("mockrelay serve, until ready", served))
    return [line(name, "ms", in_turns(ours, _bare_start, rounds), "python -c pass") for name, ours in timed]


def codec_against_json(count: int = 20_000, rounds: int = ROUNDS) -> list[Line]:
    """One MESSAGE_SEND of 300 bytes: decoded with all its checks, and encoded, against the json module without any."""
    payload = MessageSend("0x" + "ab" * 20, b"x" * 300, b"n" * 12, "text")
    frame = Frame("MESSAGE_SEND", "550e8400-e29b-41d4-a716-446655440000", 1_704_067_200_000, payload, None, 7)
    data = codec.encode_text(frame)
    plain = json.loads(data)

    def timed(work: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            began = time.perf_counter()
            for _ in range(count):
                work()
            return (time.perf_counter() - began) / count * 1e6

        return run

    def decode() -> object:
        incoming = codec.decode_text(data, 16_384)
        return codec.decode_payload(MessageSend, incoming.raw_payload or b"")

    decoded = in_turns(timed(decode), timed(lambda: json.loads(data)), rounds)
    encoded = in_turns(timed(lambda: codec.encode_text(frame)), timed(lambda: json.dumps(plain).encode()), rounds)
    return [
        line("decode a frame, checked", "us", decoded, "json.loads, unchecked"),
        line("encode a frame", "us", encoded, "json.dumps"),
    ]


def replay(messages: int = 2_000) -> list[Line]:
    """One recorded frame fed to a fresh relay core and compared, against reading its line with the json module."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.jsonl"
        frames = replay_speed.record(path, messages)

        def timed(work: Callable[[], object]) -> float:
            began = time.process_time()
            work()
            return (time.process_time() - began) / frames * 1e6

        def read() -> object:
            return [json.loads(text) for text in path.read_bytes().splitlines()]

        rounds = in_turns(lambda: timed(lambda: replay_file(path)), lambda: timed(read), REPLAY_ROUNDS)
    return [line("a replayed frame", "us", rounds, "json.loads of the recording's lines")]


def storm_lines(what: str, devices: int, rounds: Sequence[Sequence[float]]) -> list[Line]:
    """A storm against its two toys; a round is what ``storm_vs_toy`` calls ``Costs``."""
    costs_us = [[spent_s / devices * 1e6 for spent_s in one] for one in rounds]
    return [
        line(what, "us a device", [(one[0], one[toy]) for one in costs_us], against)
        for toy, against in ((1, _BARE), (2, _FULL))
    ]


def storm(sizes: tuple[tuple[str, int], ...] = STORMS, rounds: int = STORM_ROUNDS) -> list[Line]:
    """Storms a device, full protocol, against bare SimPy timeouts of the same storms."""
    lines = []
    for name, devices in sizes:
        what = f"{name.replace('_', ' ')}, {devices:,} devices"
        lines += storm_lines(what, devices, [storm_vs_toy.measure(devices, name) for _ in range(rounds)])
    return lines


def frame(devices: int = 1_000) -> list[Line]:
    """One simulated frame of a world at rest against one bare SimPy timeout with a callback."""
    return [line("a simulated frame", "us", frame_vs_timeout.turns(devices), _TIMEOUT)]


_COMPILED: Final = """
import json
from zentalk_sim.model import compiled
assert compiled.activate()
from benchmarks import frame_vs_timeout, storm_vs_toy
storms = [storm_vs_toy.measure({storm}, "million") for _ in range({rounds})]
print(json.dumps([frame_vs_timeout.turns({devices}), storms]))
"""
# Nothing else is imported there: a class of sources cannot be derived from a compiled one, as those of tests are.


def compiled_simulator(devices: int = 1_000, storm: int = 10_000) -> list[Line]:
    """A frame and a storm again, in a process that runs the compiled modules; nothing where there are none."""
    if os.environ.get(compiled.SWITCH) == "0" or not compiled.FORM.is_built():
        return []
    program = _COMPILED.format(devices=devices, storm=storm, rounds=STORM_ROUNDS)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"the compiled simulator: {done.stderr.strip() or done.returncode}")
    turns: Any
    turns, storms = json.loads(done.stdout)
    return [
        line("a simulated frame, compiled", "us", [(ours, bare) for ours, bare in turns], _TIMEOUT),
        *storm_lines(f"million, {storm:,} devices, compiled", storm, storms),
    ]
