"""RFC 6455 by the cases of the Autobahn test suite, run by ``kosoku`` against this relay's WebSocket connections.

What comes out is held case by case: a case that is not simply ``OK`` stands below with its reason, and one that
becomes ``OK`` must leave the list. Category 9 (performance) and all that belongs to compression run in the soak.
"""

from __future__ import annotations

import asyncio
from typing import Any

import kosoku
import pytest

from tests.autobahn.echo_server import echo_server

EXPECTED = {
    # UTF-8 is checked when a message is whole: RFC 6455 §8.1 asks for nothing earlier.
    **dict.fromkeys(("6.4.1", "6.4.2", "6.4.3", "6.4.4"), "NON_STRICT"),
    # Close codes of which the RFC says nothing.
    **dict.fromkeys(("7.1.6", "7.13.1", "7.13.2"), "INFORMATIONAL"),
}
"""What is not ``OK``. ``INFORMATIONAL`` cases have no right answer."""
PATIENCE_S = 120.0


async def results_of(*cases: str) -> dict[str, Any]:
    """The results by case."""
    async with asyncio.timeout(PATIENCE_S), echo_server() as (address, endpoint):
        try:
            results = await kosoku.run_fuzzingclient(address, list(cases), [], concurrency=16)
        except kosoku.FailureError as failure:
            # It holds the failed ones alone, which is enough to tell what is wrong.
            results = failure.results
        assert endpoint.driver.crashes == 0
    return {result.case_id: result for result in results}


def unexpected(results: dict[str, Any], expected: dict[str, str]) -> list[str]:
    """A line for each case whose outcome is another than the expected one."""
    lines = []
    for case, result in results.items():
        outcome, closing = str(result.behavior).rpartition(".")[2], str(result.behavior_close).rpartition(".")[2]
        wanted = expected.get(case, "OK")
        if outcome != wanted or closing not in ("OK", "INFORMATIONAL"):
            lines.append(f"{case}: {outcome} ({result.result}), closing {closing} ({result.result_close})")
    return lines


def test_every_case_of_framing_must_have_the_expected_outcome() -> None:
    """1 framing, 2 pings and pongs, 3 reserved bits, 4 opcodes, 5 fragments, 10 automatic fragmentation."""
    results = asyncio.run(results_of("1.*", "2.*", "3.*", "4.*", "5.*", "10.*"))
    assert len(results) == 16 + 11 + 7 + 10 + 20 + 1
    assert unexpected(results, EXPECTED) == []


def test_every_case_of_utf8_must_have_the_expected_outcome() -> None:
    """6, its 145 cases."""
    results = asyncio.run(results_of("6.*"))
    assert len(results) == 145
    assert unexpected(results, EXPECTED) == []


def test_every_case_of_closing_must_have_the_expected_outcome() -> None:
    """7, 7.1.5 included, where frames follow a close frame."""
    results = asyncio.run(results_of("7.*"))
    assert len(results) == 37
    assert unexpected(results, EXPECTED) == []


# The cases themselves leave a file of theirs open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_compression_must_not_be_negotiated() -> None:
    """12 and 13: no extension is accepted, so that their cases find nothing to test, and still close in order."""
    results = asyncio.run(results_of("12.1.1", "13.1.1"))
    assert [str(result.behavior) for result in results.values()] == ["Behavior.UNIMPLEMENTED"] * 2
