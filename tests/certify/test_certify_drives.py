"""Drive programs, good and bad: whatever one does, the case ends with a verdict that says what happened."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mockrelay.certify.case import chosen
from mockrelay.certify.drive import Drive, DriveError, Unsupported
from mockrelay.certify.drive_process import CommandDrive, Pool, ProcessDrive
from mockrelay.certify.run import Outcome, Plan, Runner
from mockrelay.certify.scene import Settings
from mockrelay.certify.verdicts import CaseResult
from mockrelay.server import MockRelay, Options
from tests.certify.support import dev, said

REFERENCE = f"{shlex.quote(sys.executable)} -m mockrelay.certify.reference"
SETTINGS = Settings(patience_s=30.0, settle_s=0.05, limit_s=300.0)
"""Patient: what is waited for comes, and how soon is the machine's affair."""
PATIENCE_S = 60.0
"""What an answer may take that does come."""


def python(program: str) -> str:
    """A command that runs a program."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"


def run(make: Callable[[], Drive], *ids: str, jobs: int = 1) -> dict[str, CaseResult]:
    """Run cases with a drive of one's own."""

    async def body() -> Outcome:
        async with MockRelay(Options(config=dev(), port=0, http_port=0)) as relay:
            return await Runner(relay, Plan(chosen(ids), make, SETTINGS, jobs=jobs)).run()

    return {result.id: result for result in asyncio.run(body()).results}


def failure(program: str, timeout_s: float = PATIENCE_S) -> str:
    """What a case says of a drive program that is broken."""
    result = run(lambda: ProcessDrive(python(program), timeout_s), "1.1")["1.1"]
    assert result.message == "fail", said(result)
    assert result.close == "not_exercised"
    return result.findings[0].text


def test_a_program_speaks_json_lines() -> None:
    results = run(lambda: ProcessDrive(REFERENCE, PATIENCE_S), "2.1", "7.1", jobs=2)
    assert [(r.message, r.close) for r in results.values()] == [("pass", "pass")] * 2, "\n".join(
        map(said, results.values())
    )


def test_a_program_that_is_kept_running_is_reset_before_each_case() -> None:
    async def body() -> Outcome:
        pool = Pool(REFERENCE, PATIENCE_S)
        async with MockRelay(Options(config=dev(), port=0, http_port=0)) as relay:
            try:
                return await Runner(relay, Plan(chosen(("2.1", "7.1", "7.3")), pool.take, SETTINGS, jobs=1)).run()
            finally:
                await pool.end()

    results = asyncio.run(body()).results
    assert [(r.id, r.message, r.close) for r in results] == [(one, "pass", "pass") for one in ("2.1", "7.1", "7.3")]


def test_a_program_that_dies_is_told_with_its_exit_code_and_last_words() -> None:
    text = failure("import sys; sys.exit('no simulator booted')")
    assert text == "the drive program ended with exit code 1; on stderr: no simulator booted"


def test_a_program_that_dies_amid_a_case_fails_that_case() -> None:
    answer = """print('{"done": true}', flush=True)"""
    text = failure(f"input(); {answer}; input(); raise SystemExit(7)")
    assert text == "the drive program ended with exit code 7"


def test_a_program_that_is_not_there_says_so() -> None:
    result = run(lambda: ProcessDrive("/nowhere/drive", PATIENCE_S), "1.1")["1.1"]
    assert "exit code 127: is the command right?" in result.findings[0].text


def test_a_program_that_hangs_is_given_up_after_its_time() -> None:
    began = time.monotonic()
    text = failure("import time; time.sleep(600)", timeout_s=0.1)
    assert text == "the drive program did not answer hello within 0.1 s"
    assert time.monotonic() - began < 300, "the program sleeps for 600 s"


def test_a_program_that_ignores_the_end_of_stdin_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    answer = """print('{"error": "busy"}', flush=True)"""
    program = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); {answer}; time.sleep(600)"
    assert failure(program) == "the app says that hello failed: busy"
    with pytest.raises(ProcessLookupError):
        _wait_until_gone(int(pid.read_text()))


def _wait_until_gone(pid: int) -> None:
    """Raises ProcessLookupError once it is gone, which is to be long before it ends by itself."""
    end_s = time.monotonic() + 300
    while time.monotonic() < end_s:
        os.kill(pid, 0)
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
            raise ProcessLookupError  # ended, and only its parent has not looked yet
        time.sleep(0.01)


@pytest.mark.parametrize("line", ["hello!", "[1, 2]", "{", "\x1b[31mred", "7"])
def test_garbage_on_stdout_is_shown_and_explained(line: str) -> None:
    text = failure(f"print({line!r}, flush=True); input()")
    assert "printed what is no JSON object" in text
    assert "anything else to stderr" in text
    assert "\x1b" not in text


def test_an_answer_without_a_verdict_is_refused() -> None:
    text = failure("""input(); print('{"ok": true}', flush=True); input()""")
    assert "neither done, unsupported nor error" in text


def test_an_error_of_the_app_is_the_cases() -> None:
    text = failure("""input(); print('{"error": "not logged in"}', flush=True); input()""")
    assert text == "the app says that hello failed: not logged in"


def test_what_the_app_cannot_do_is_unsupported_and_no_failure() -> None:
    program = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"unsupported": "not wired up"}), flush=True)
"""
    result = run(lambda: ProcessDrive(python(program), PATIENCE_S), "8.4")["8.4"]
    assert (result.message, result.close) == ("unsupported", "not_exercised")
    assert result.findings[0].text == "the app cannot be told to connect: not wired up"


def test_an_answer_to_an_earlier_request_is_passed_over() -> None:
    async def body() -> object:
        program = """
import json, sys
for line in sys.stdin:
    number = json.loads(line)["id"]
    print(json.dumps({"id": number - 1, "error": "late"}), flush=True)
    print(json.dumps({"id": number, "done": {"n": number}}), flush=True)
"""
        drive = ProcessDrive(python(program), PATIENCE_S)
        await drive.start("1.1")
        try:
            return [await drive.act("hello"), await drive.act("close")]
        finally:
            await drive.stop()

    assert asyncio.run(body()) == [{"n": 1}, {"n": 2}]


# --- a command an action -----------------------------------------------------------------------------


def act(command: str, action: str, timeout_s: float = PATIENCE_S, **params: object) -> object:
    """One action by a command."""

    async def body() -> object:
        drive = CommandDrive(command, timeout_s)
        await drive.start("1.1")
        return await drive.act(action, **params)

    return asyncio.run(body())


def test_a_command_finds_its_parameters_in_the_environment() -> None:
    program = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('CERTIFY_')}))"
    found = act(python(program), "connect", ws_url="ws://x/ws/v1", identity={"token": "t"}, now_ms=7)
    assert found == {
        "CERTIFY_CASE": "1.1",
        "CERTIFY_ACTION": "connect",
        "CERTIFY_WS_URL": "ws://x/ws/v1",
        "CERTIFY_IDENTITY_TOKEN": "t",
        "CERTIFY_NOW_MS": "7",
    }


def test_a_command_may_print_what_it_likes() -> None:
    assert act("echo launched", "connect") == {}


def test_exit_code_69_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="cannot be told to typing: no keyboard"):
        act("echo no keyboard >&2; exit 69", "typing")


def test_another_exit_code_is_a_failure_with_its_last_words() -> None:
    with pytest.raises(DriveError, match="ended with exit code 3 for close: device offline"):
        act("echo device offline >&2; exit 3", "close")


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(DriveError, match=r"did not do close within 0\.3 s"):
        act("sleep 600", "close", timeout_s=0.3)
