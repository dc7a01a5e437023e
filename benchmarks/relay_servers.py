"""The servers that ``relay_throughput`` compares, each a process of its own: the mock relay and two bare forwarders.

What they cost is what the kernel says: CPU time of the process, user and system, and its resident memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.relay_load import Account
from mockrelay.compiled import FORM
from zentalk_sim.compiled import SWITCH

NODE_FOLDER: Final = Path(__file__).parent / "node_ws"

RELAY_SETTINGS: Final = {
    "limits": {
        "send_message": "off",
        "connections_per_ip": "off",
        "connection_rate": "off",
        "auth_attempts": "off",
    },
    "upgrade": {"max_connections": 20_000},
    "integrity": "require",
}
"""The protocol as it is but for limits, which would refuse the load; every frame must have its MAC."""


class Server:
    """A server's process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, accounts: list[Account]) -> None:
        self._process = process
        self.port = port
        self.accounts = accounts

    def cpu_s(self) -> float:
        """Seconds of CPU time spent so far, to the nanosecond: ``/proc`` has it in hundredths of a second."""
        # What clock_getcpuclockid(3) makes of a process.
        return time.clock_gettime(~self._process.pid << 3 | 2)

    def rss_bytes(self) -> int:
        """Resident memory."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _running(command: list[str], **options: Any) -> Iterator[tuple[subprocess.Popen[bytes], bytes]]:
    """A process and its first line."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[0]} ended before it was ready")
        yield process, line
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextmanager
def mock_relay(users: int, *flags: str, switch: str = "0") -> Iterator[Server]:
    """``mockrelay serve`` with that many users; from sources, unless ``switch`` is 1 and it was compiled."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "relay.json"
        names = [f"u{number}" for number in range(users)]
        file.write_text(json.dumps({"users": names, "config": RELAY_SETTINGS}))
        command = [sys.executable, "-m", "mockrelay", "serve", "--config", str(file)]
        command += ["--port", "0", "--http-port", "0", "--json", *flags]
        environment = {**os.environ, SWITCH: switch}
        with _running(command, stderr=subprocess.DEVNULL, env=environment) as (process, line):
            said = json.loads(line)
            accounts = [
                Account(
                    user["address"],
                    user["device_id"],
                    user["token"],
                    b64decode(user["identity_key"]),
                    b64decode(user["identity_secret"]),
                )
                for user in said["users"]
            ]
            yield Server(process, int(said["ws_url"].split("/")[2].rpartition(":")[2]), accounts)


def compiled_relay(users: int) -> AbstractContextManager[Server]:
    """The same from machine code; ``is_compiled`` says whether it is there."""
    return mock_relay(users, switch="1")


def is_compiled() -> bool:
    """Whether ``python -m mockrelay.compiled`` has compiled these very sources."""
    return FORM.is_built()


def _addresses(users: int) -> list[Account]:
    return [Account(f"0x{number:040x}") for number in range(users)]


@contextmanager
def websockets_forwarder(users: int) -> Iterator[Server]:
    """The baseline: ``websockets``' asyncio server, forwarding each text to whom its JSON names."""
    with _running([sys.executable, "-m", "benchmarks.relay_servers"]) as (process, line):
        yield Server(process, int(line), _addresses(users))


@contextmanager
def node_forwarder(users: int) -> Iterator[Server]:
    """The same with Node's ``ws``; ``has_node`` says whether it is there."""
    with _running(["node", "forwarder.js"], cwd=NODE_FOLDER) as (process, line):
        yield Server(process, int(line), _addresses(users))


def has_node() -> bool:
    """Whether Node is there, and ``ws`` was installed with ``npm ci`` in ``benchmarks/node_ws``."""
    return shutil.which("node") is not None and (NODE_FOLDER / "node_modules" / "ws").is_dir()


async def _forward() -> None:
    from websockets.asyncio.server import ServerConnection, serve

    peers: dict[str, ServerConnection] = {}

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        peers[connection.request.path[1:]] = connection
        async for message in connection:
            frame = json.loads(message)
            await peers[frame["payload"]["to"]].send(message)

    options: dict[str, Any] = {"compression": None, "ping_interval": None}
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    # The library logs every connection that its client drops.
    import logging

    logging.disable()
    asyncio.run(_forward())
