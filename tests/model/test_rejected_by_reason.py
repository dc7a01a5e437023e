"""Messages that a client refuses by itself are counted by reason, and those that no client can send are refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.model.support import mapping, run
from zentalk_sim.experiment import loader
from zentalk_sim.experiment.consistency import most_ciphertext_bytes
from zentalk_sim.experiment.distributions import ConstantSize
from zentalk_sim.experiment.runner import simulate
from zentalk_sim.files.yaml import FileFaults
from zentalk_sim.report.results import Results
from zentalk_sim.trace.digest import Digest
from zentalk_sim.trace.tables import SCHEMAS, TableWriter


def sized(size_bytes: int, **changes: Any) -> Results:
    """A small run with messages of that size, which no file could ask for where it is too large."""
    experiment = loader.from_mapping(mapping(duration="20s", **changes))
    messages = replace(experiment.workload.messages, size=ConstantSize(value_bytes=size_bytes))
    experiment = replace(experiment, workload=replace(experiment.workload, messages=messages))
    return simulate(experiment, {schema.name: TableWriter(schema, None) for schema in SCHEMAS})


@pytest.mark.requirement("R-1.6")
def test_what_is_too_large_must_not_be_told_as_a_full_queue() -> None:
    counts = sized(most_ciphertext_bytes() + 1).counts
    assert counts["messages.rejected"] == counts["messages.rejected.too_large"] == counts["messages.sent"] > 5
    assert "messages.rejected.queue_full" not in counts


@pytest.mark.requirement("R-1.6")
def test_the_largest_message_that_a_file_may_ask_for_is_sent() -> None:
    counts = sized(most_ciphertext_bytes(), population={"devices": 2, "networks": {"lan": 1}}).counts
    assert counts["messages.rejected"] == 0
    assert counts["messages.acked"] > 0


@pytest.mark.requirement("R-11.4")
def test_a_full_queue_must_be_told_as_one() -> None:
    outcome = run(
        client={"queue": {"max_messages": 2, "max_unacked": 2}},
        faults=[{"at": "30s", "do": "partition", "fraction": 1.0}],
        workload={"messages": {"rate_per_device": "60/min"}},
    )
    counts = outcome.counts
    assert counts["messages.rejected.queue_full"] == counts["messages.rejected"] > 50
    assert counts["messages.rejected.too_large"] == 0


def test_the_digest_must_tell_runs_apart_by_the_reasons_of_rejections(monkeypatch: pytest.MonkeyPatch) -> None:
    digested: list[dict[str, int]] = []
    monkeypatch.setattr(Digest, "counts", lambda self, counts: digested.append(dict(counts)))
    sized(most_ciphertext_bytes() + 1)
    run(
        client={"queue": {"max_messages": 1, "max_unacked": 1}},
        faults=[{"at": "30s", "do": "partition", "fraction": 1.0}],
    )
    assert digested[0]["messages.rejected.too_large"] > 0
    assert digested[1]["messages.rejected.queue_full"] == digested[1]["messages.rejected"] > 0


@pytest.mark.requirement("R-1.6")
@pytest.mark.parametrize(
    ("size", "largest"),
    [
        ("786322B", "786322B"),
        ("1MiB", "1MiB"),
        ("10GiB", "10GiB"),
        ("{kind: uniform, low: 1B, high: 2MiB}", "2MiB"),
        ("{kind: lognormal, median: 1kB, max: 1MB}", "1MB"),
    ],
)
def test_a_size_that_no_client_can_send_is_refused_with_the_limit(size: str, largest: str) -> None:
    with pytest.raises(FileFaults) as caught:
        loader.from_text(f"name: x\nworkload: {{messages: {{size: {size}}}}}\n", "f.yaml")
    assert str(caught.value) == (
        f"f.yaml:2:23: `workload.messages.size` reaches {largest}, which no client can send: a frame holds 1MiB "
        "(`frames.max_bytes`, R-1.6), and so a ciphertext of at most 786,321 bytes"
    )


def test_the_largest_size_is_taken() -> None:
    loader.from_text("name: x\nworkload: {messages: {size: 786321B}}\n", "f.yaml")


class TestResets:
    """`reset_connections` with a fraction strikes somebody, and says whom."""

    def reset(self, fraction: float, at: str = "30s") -> tuple[int, str]:
        outcome = run(duration="1m", faults=[{"at": at, "do": "reset_connections", "fraction": fraction}])
        (span,) = outcome.results.faults
        return outcome.counts["connections.lost.reset"], span.label

    def test_a_small_fraction_must_strike_one(self) -> None:
        assert self.reset(0.01) == (1, "1 of 6 connections reset")

    def test_a_fraction_is_told(self) -> None:
        assert self.reset(0.5) == (3, "3 of 6 connections reset")

    def test_all_of_them_are_told_as_before(self) -> None:
        assert self.reset(1.0) == (6, "connections reset")

    def test_where_none_is_open_it_says_so(self) -> None:
        assert self.reset(0.5, at="0s") == (0, "connections reset (none was open)")
