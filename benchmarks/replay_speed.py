"""How many recorded frames a second a recording replays with: ``python -m benchmarks.replay_speed [MESSAGES]``.

The recording is made first, by a relay core on a frozen clock: two users, each message sent, acknowledged, pushed,
confirmed and reported delivered. Counted are frames in both directions.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.trace.recorded import Bench
from zentalk_sim.trace.replay import replay_file

_HEARTBEAT_OFF_MS = 86_400_000


def record(path: Path, messages: int) -> int:
    """Record a session; its frames."""
    frames = 0

    async def body() -> None:
        nonlocal frames
        bench = Bench(
            limits={"send_message": "off", "read_receipt": "off"}, heartbeat={"interval_ms": _HEARTBEAT_OFF_MS}
        )
        bench.person("alice")
        bob_address = bench.person("bob")
        bench.driver.record(str(path), 1)
        alice, bob = bench.connect("alice"), bench.connect("bob")
        for _ in range(messages):
            message_id = bench.message(alice, bob_address, b"x" * 200)
            bench.send(bob, "MESSAGE_RECEIVED", {"message_id": message_id})
            bench.pass_ms(20)
            frames += 2 + len(alice.frames) + len(bob.frames)
            alice.frames.clear()
            bob.frames.clear()
        bench.driver.stop()

    asyncio.run(body())
    return frames


def main() -> None:
    """Print frames a second, by the wall's clock and by CPU time; the best of three."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    with tempfile.TemporaryDirectory() as folder:
        for name in ("r.jsonl", "r.jsonl.gz"):
            path = Path(folder) / name
            frames = record(path, messages)
            walls, cpus = [], []
            for _ in range(3):
                wall_s, cpu_s = time.perf_counter(), time.process_time()
                result = replay_file(path)
                walls.append(time.perf_counter() - wall_s)
                cpus.append(time.process_time() - cpu_s)
                assert result.first_difference is None
            print(
                f"{name:12} {frames} frames, {path.stat().st_size / frames:.0f} bytes a frame: "
                f"{frames / min(walls):.0f} a second, {frames / min(cpus):.0f} a second of CPU"
            )


if __name__ == "__main__":
    main()
