"""Drive programs: one that is kept running and speaks JSON lines, or a command that is run once for each action.

The law of this file: a program is not trusted to live, to answer or to speak JSON. Whatever it says to stderr is kept,
its end in every message of a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable
from typing import Final

from mockrelay.certify.drive import Drive, DriveError, Json
from zentalk_sim.checks.render import shown

_MAX_LINE_BYTES: Final = 16 << 20
_STOP_S: Final = 0.5
"""How long a program has to end once it has nothing more to do."""
_LAST_WORDS_S: Final = 5.0
"""How long a program that closed its stdout has to end, and its stderr to be read, so that its failure can be told."""
_STDERR_LINES: Final = 20
UNSUPPORTED_EXIT: Final = 69
"""EX_UNAVAILABLE of sysexits.h: what a command per action exits with where it cannot do the action."""


def kill(process: Process) -> None:
    """End a program and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


async def _spawn(command: str, env: dict[str, str], stdin: int) -> Process:
    try:
        # A shell command, as a build file has it; a group of its own, so that all of it can be ended.
        return await asyncio.create_subprocess_shell(
            command,
            stdin=stdin,
            stdout=PIPE,
            stderr=PIPE,
            env={**os.environ, **env},
            limit=_MAX_LINE_BYTES,
            start_new_session=os.name == "posix",
        )
    except OSError as error:
        raise DriveError(f"`{command}` cannot be started: {error.strerror or error}") from None


class ProcessDrive(Drive):
    """A program that answers a JSON line on stdin with a JSON line on stdout, and may report events in between."""

    def __init__(self, command: str, timeout_s: float) -> None:
        """``timeout_s``: how long one action may take."""
        super().__init__()
        self._command = command
        self._timeout_s = timeout_s
        self._process: Process | None = None
        self._answers: asyncio.Queue[Json | DriveError] = asyncio.Queue()
        self._readers: list[asyncio.Task[None]] = []
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._asked = 0

    async def start(self, case_id: str) -> None:
        """See Drive: the program is started once a case."""
        self._process = await _spawn(self._command, {"CERTIFY_CASE": case_id}, PIPE)
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._read_stderr())]

    @property
    def _live(self) -> Process:
        assert self._process is not None
        return self._process

    async def ask(self, request: Json) -> Json:
        """See Drive."""
        process, action = self._process, request["action"]
        assert process is not None
        assert process.stdin is not None
        self._asked += 1
        line = json.dumps({"id": self._asked, **request}) + "\n"
        try:
            async with asyncio.timeout(self._timeout_s):
                process.stdin.write(line.encode())
                await process.stdin.drain()
                return await self._answer()
        except TimeoutError:
            raise DriveError(
                f"the drive program did not answer {action} within {self._timeout_s:g} s" + self._said()
            ) from None
        except (BrokenPipeError, ConnectionResetError):
            raise DriveError(f"the drive program does not read: {await self._ending()}") from None

    async def _answer(self) -> Json:
        while True:
            answer = await self._answers.get()
            if isinstance(answer, DriveError):
                # Whoever asks again shall be told again.
                self._answers.put_nowait(answer)
                raise answer
            # An answer that names no request is to this one; one to an earlier request came too late.
            if answer.get("id") in (None, self._asked):
                return answer

    async def _read(self) -> None:
        stdout = self._live.stdout
        assert stdout is not None
        try:
            while line := await stdout.readline():
                if line.strip():
                    self._take(line)
            failure = DriveError(await self._ending())
        except ValueError:
            failure = DriveError(f"the drive program printed a line of more than {_MAX_LINE_BYTES >> 20} MiB")
        except DriveError as error:
            failure = error
        self._answers.put_nowait(failure)
        self.woken()

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            text = shown(line.decode(errors="replace").strip())[:120]
            raise DriveError(
                f"the drive program printed what is no JSON object: {text!r}; only answers and events may go to "
                "stdout, anything else to stderr" + self._said()
            )
        if "event" in message:
            self.report(message)
        else:
            self._answers.put_nowait(message)

    async def _read_stderr(self) -> None:
        stderr = self._live.stderr
        assert stderr is not None
        while data := await stderr.read(65_536):
            self._stderr.extend(line for line in data.decode(errors="replace").splitlines() if line.strip())

    async def _ending(self) -> str:
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                code = await self._live.wait()
            await asyncio.wait(self._readers[1:], timeout=_LAST_WORDS_S)
        except TimeoutError:
            return "the drive program closed its stdout" + self._said()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        hint = ": is the command right?" if code in (126, 127) else ""
        return f"the drive program {how}{hint}" + self._said()

    def _said(self) -> str:
        return f"; on stderr: {shown(self._stderr[-1])}" if self._stderr else ""

    async def stop(self) -> None:
        """See Drive: stdin is closed, and what has not ended soon after is ended."""
        process, task = self._process, asyncio.current_task()
        if process is None:
            return
        # Who is interrupted does not wait for a farewell.
        hurried = task is not None and task.cancelling() > 0
        try:
            if process.returncode is None and process.stdin is not None and not hurried:
                process.stdin.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_STOP_S):
                        await process.wait()
        finally:
            # The shell may have ended before what it started. Its pipes are then read to their end.
            kill(process)
            await asyncio.wait([asyncio.ensure_future(process.wait()), *self._readers], timeout=_STOP_S)
            for reader in self._readers:
                reader.cancel()


class KeptDrive(Drive):
    """A program that is kept running over many cases: ``reset`` comes before each but its first."""

    def __init__(self, command: str, timeout_s: float, free: Callable[[KeptDrive], None]) -> None:
        """``free`` is told when a case is over and the next may have this drive."""
        super().__init__()
        self._command = command
        self._timeout_s = timeout_s
        self._free = free
        self._inner: ProcessDrive | None = None

    async def start(self, case_id: str) -> None:
        """See Drive."""
        self.events.clear()
        if self._inner is not None:
            await self.act("reset", case=case_id)
            return
        inner = ProcessDrive(self._command, self._timeout_s)
        await inner.start(case_id)
        inner.report = self.report  # type: ignore[method-assign]
        self._inner = inner

    async def ask(self, request: Json) -> Json:
        """See Drive. A program that failed is started anew for the next case."""
        if self._inner is None:
            raise DriveError("the drive program has ended")
        try:
            return await self._inner.ask(request)
        except DriveError:
            await self.end()
            raise

    async def stop(self) -> None:
        """See Drive: between two cases nothing ends."""
        self.woken = _nothing
        self._free(self)

    async def end(self) -> None:
        """All cases are over."""
        inner, self._inner = self._inner, None
        if inner is not None:
            await inner.stop()


def _nothing() -> None:
    """Nobody is there to be woken."""


class Pool:
    """Kept programs, as many as cases run at a time."""

    def __init__(self, command: str, timeout_s: float) -> None:
        self._command = command
        self._timeout_s = timeout_s
        self._all: list[KeptDrive] = []
        self._free: list[KeptDrive] = []

    def take(self) -> KeptDrive:
        """One that is free, or a new one."""
        if self._free:
            return self._free.pop()
        drive = KeptDrive(self._command, self._timeout_s, self._free.append)
        self._all.append(drive)
        return drive

    async def end(self) -> None:
        """All cases are over."""
        await asyncio.gather(*(drive.end() for drive in self._all))


class CommandDrive(Drive):
    """A command that is run for each action, its parameters in the environment as ``CERTIFY_…``."""

    def __init__(self, command: str, timeout_s: float) -> None:
        super().__init__()
        self._command = command
        self._timeout_s = timeout_s
        self._env: dict[str, str] = {}

    async def start(self, case_id: str) -> None:
        """See Drive."""
        self._env = {"CERTIFY_CASE": case_id}

    async def ask(self, request: Json) -> Json:
        """See Drive: exit code 0 is done, 69 unsupported; a JSON object on stdout says more."""
        action = request["action"]
        # What connect told stays in the environment of later actions.
        self._env.update(_variables(request))
        process = await _spawn(self._command, self._env, DEVNULL)
        try:
            async with asyncio.timeout(self._timeout_s):
                out, err = await process.communicate()
        except TimeoutError:
            raise DriveError(f"`{self._command}` did not do {action} within {self._timeout_s:g} s") from None
        finally:
            kill(process)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await process.communicate()
        code = process.returncode
        said = [line for line in err.decode(errors="replace").splitlines() if line.strip()]
        if code == UNSUPPORTED_EXIT:
            return {"unsupported": shown(said[-1]) if said else ""}
        if code:
            hint = "; is the command right?" if code in (126, 127) else ""
            text = f": {shown(said[-1])}" if said else ""
            raise DriveError(f"`{self._command}` ended with exit code {code} for {action}{text}{hint}")
        return {"done": _object(out)}

    async def stop(self) -> None:
        """See Drive: nothing is left running."""


def _object(out: bytes) -> Json:
    """A JSON object on stdout; anything else a command prints is its own affair."""
    try:
        found = json.loads(out)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _variables(request: Json) -> dict[str, str]:
    """``CERTIFY_ACTION``, ``CERTIFY_WS_URL``, ``CERTIFY_IDENTITY_TOKEN``, …"""
    found: dict[str, str] = {}
    for name, value in request.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for inner, text in parts:
            key = f"CERTIFY_{name}_{inner}" if inner else f"CERTIFY_{name}"
            found[key.upper()] = text if isinstance(text, str) else json.dumps(text)
    return found
