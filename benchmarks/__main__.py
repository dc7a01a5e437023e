"""All benchmarks in one table, each line a ratio against a baseline of the same run: ``make bench``.

Every pair is measured alternately, several times, and the medians are compared, since machines are noisy: read
ratios, and take anything under 1.3× as no difference. ``runs/bench.json`` keeps the figures for comparison.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks import frame_vs_timeout, relay_throughput, replay_speed, sweep_efficiency
from benchmarks.storm_vs_toy import measure
from zentalk_sim.model import compiled
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.frames import Frame, MessageSend
from zentalk_sim.trace.replay import replay_file

RESULT = Path("runs") / "bench.json"
ROUNDS = 5
Line = dict[str, Any]


def alternate(ours: Callable[[], float], baseline: Callable[[], float], rounds: int = ROUNDS) -> tuple[float, float]:
    """Medians of two measurements taken in turns."""
    pairs = [(ours(), baseline()) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def line(name: str, unit: str, ours: float, baseline: float, against: str) -> Line:
    """One row; the ratio is ours to the baseline's, both costs, so that less is better."""
    return {
        "name": name,
        "unit": unit,
        "ours": ours,
        "baseline": baseline,
        "against": against,
        "ratio": ours / baseline,
    }


def started(*command: str) -> float:
    """Milliseconds that a process takes from start to end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def served() -> float:
    """Milliseconds until ``mockrelay serve`` says that it is ready."""
    command = (sys.executable, "-m", "mockrelay", "serve", "--port", "0", "--http-port", "0", "--json")
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        spent = (time.perf_counter() - began) * 1000
        process.terminate()
    return spent


def start_up() -> list[Line]:
    """How long the commands' help takes, and a relay until it serves, against an interpreter that does nothing."""
    lines = []
    for name, module in (("zsim --help", "zentalk_sim.cli"), ("mockrelay --help", "mockrelay")):
        ours, baseline = alternate(
            lambda module=module: started(sys.executable, "-m", module, "--help"),  # type: ignore[misc]
            lambda: started(sys.executable, "-c", "pass"),
        )
        lines.append(line(name, "ms", ours, baseline, "python -c pass"))
    ready, baseline = alternate(served, lambda: started(sys.executable, "-c", "pass"))
    lines.append(line("mockrelay serve, until ready", "ms", ready, baseline, "python -c pass"))
    return lines


def codec_against_json() -> list[Line]:
    """One MESSAGE_SEND of 300 bytes: decoded with all its checks, and encoded, against the json module without any."""
    payload = MessageSend("0x" + "ab" * 20, b"x" * 300, b"n" * 12, "text")
    frame = Frame("MESSAGE_SEND", "550e8400-e29b-41d4-a716-446655440000", 1_704_067_200_000, payload, None, 7)
    data = codec.encode_text(frame)
    plain = json.loads(data)
    count = 20_000

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

    decoded = alternate(timed(decode), timed(lambda: json.loads(data)))
    encoded = alternate(timed(lambda: codec.encode_text(frame)), timed(lambda: json.dumps(plain).encode()))
    return [
        line("decode a frame, checked", "us", *decoded, "json.loads, unchecked"),
        line("encode a frame", "us", *encoded, "json.dumps"),
    ]


def storm(sizes: tuple[tuple[str, int], ...] = (("reconnect_storm", 1_000), ("million", 10_000))) -> list[Line]:
    """Storms a device, full protocol, against bare SimPy timeouts of the same storms."""
    lines = []
    for name, devices in sizes:
        what = f"{name.replace('_', ' ')}, {devices:,} devices"
        lines += storm_lines(what, devices, *measure(devices, name))
    return lines


def storm_lines(what: str, devices: int, storm_s: float, bare_s: float, full_s: float) -> list[Line]:
    """A storm against its two toys."""
    storm_us, bare_us, full_us = (spent / devices * 1e6 for spent in (storm_s, bare_s, full_s))
    return [
        line(what, "us a device", storm_us, bare_us, "a SimPy process a device, a timeout a frame"),
        line(what, "us a device", storm_us, full_us, "a SimPy process a device, as many timeouts"),
    ]


_COMPILED: Final = """
from zentalk_sim.model import compiled
assert compiled.activate()
from benchmarks import frame_vs_timeout, storm_vs_toy
print(*frame_vs_timeout.measure({devices}), *storm_vs_toy.measure({storm}, "million"))
"""


def compiled_simulator(devices: int = 1_000, storm: int = 10_000) -> list[Line]:
    """A frame and a storm again, in a process that runs the compiled modules; nothing where there are none."""
    if os.environ.get(compiled.SWITCH) == "0" or not compiled.FORM.is_built():
        return []
    program = _COMPILED.format(devices=devices, storm=storm)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    frame_us, timeout_us, *storm_costs_s = map(float, said.split())
    return [
        line("a simulated frame, compiled", "us", frame_us, timeout_us, "a SimPy timeout with a callback"),
        *storm_lines(f"million, {storm:,} devices, compiled", storm, *storm_costs_s),
    ]


def frame(devices: int = 1_000) -> list[Line]:
    """One simulated frame of a world at rest against one bare SimPy timeout with a callback."""
    ours, baseline = frame_vs_timeout.measure(devices)
    return [line("a simulated frame", "us", ours, baseline, "a SimPy timeout with a callback")]


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

        ours, baseline = alternate(lambda: timed(lambda: replay_file(path)), lambda: timed(read), rounds=3)
    return [line("a replayed frame", "us", ours, baseline, "json.loads of the recording's lines")]


def sweep() -> list[Line]:
    """A sweep of eight runs with two worker processes against one."""
    two, one = sweep_efficiency.measure()
    return [line("sweep, two workers", "s", two.wall_s, one.wall_s, "one worker")]


def main() -> None:
    """Measure, print, keep."""
    lines: list[Line] = []
    print(f"{'what':<48}{'ours':>12}{'baseline':>12}  {'unit':<12}{'ratio':>7}  against")
    for part in (start_up, codec_against_json, replay, storm, frame, compiled_simulator, sweep, relay_throughput.lines):
        for entry in part():
            lines.append(entry)
            print(
                f"{entry['name']:<48}{entry['ours']:>12.2f}{entry['baseline']:>12.2f}  {entry['unit']:<12}"
                f"{entry['ratio']:>7.2f}  {entry['against']}",
                flush=True,
            )
    RESULT.parent.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    RESULT.write_bytes(msgspec.json.format(msgspec.json.encode({"machine": machine, "lines": lines}), indent=1))
    print(f"\nkept in {RESULT}")


if __name__ == "__main__":
    main()
