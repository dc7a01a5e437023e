"""What figures cannot show is said: nobody to write to, a fault before anything was measured, why a client refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report.synthetic import SECOND, START_US, empty_run
from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.html import render
from zentalk_sim.report.narrative import what_happened
from zentalk_sim.report.results import CheckResult, FaultSpan, Results, ThresholdResult, results_table
from zentalk_sim.report.summary import found_words, summarise


def asked(**sections: Any) -> Results:
    """A run in which two devices were connected and nothing more, of an experiment with these sections."""
    results, _ = empty_run()
    results.experiment = sections
    results.counts = {"connections.attempted": 2, "connections.authenticated": 2}
    return results


class TestSilence:
    """A run without a message says why."""

    @pytest.mark.parametrize(
        ("sections", "why"),
        [
            ({"population": {"devices": 1, "devices_per_user": 1}}, "there is one user alone, who has nobody to write"),
            ({"population": {"devices": 3, "devices_per_user": 3}}, "there is one user alone, who has nobody to write"),
            ({"population": {"devices": 2, "devices_per_user": [0, 1]}}, "there is one user alone"),
            ({"population": {"devices": 9, "contacts": 0}}, "the users have no contacts (`population.contacts` is 0)"),
        ],
    )
    def test_the_reason_is_told_by_page_and_table(self, sections: dict[str, Any], why: str) -> None:
        results = asked(**sections)
        summary = summarise(results)
        assert [told for told in what_happened(results, summary) if told.startswith(f"No message was sent: {why}")]
        assert f"Note: No message was sent: {why}"[:60] in results_table(summary)

    def test_a_silence_that_was_asked_for_is_told_by_the_page_alone(self) -> None:
        results = asked(population={"devices": 1}, workload={"messages": {"rate_per_device": "0/min"}})
        assert what_happened(results, summarise(results))[1:] == ["No message was sent: the workload has none."]
        assert "notes" not in summarise(results)

    def test_nobody_connected_is_a_reason(self) -> None:
        results = asked(population={"devices": 9})
        results.counts = {"connections.attempted": 2}
        assert summarise(results)["notes"] == ["No message was sent: no device was ever connected."]

    @pytest.mark.parametrize("each", [2, [1, 1]])
    def test_no_reason_is_made_up(self, each: object) -> None:
        results = asked(population={"devices": 3, "devices_per_user": each, "contacts": 10})
        assert what_happened(results, summarise(results))[1:] == ["No message was sent."]
        assert "notes" not in summarise(results)

    def test_where_a_message_was_sent_there_is_nothing_to_say(self) -> None:
        results = asked(population={"devices": 1})
        results.counts["messages.sent"] = 1
        assert "notes" not in summarise(results)


class TestEarlyFaults:
    """A fault wholly in the warm-up leaves nothing in the metrics; a threshold on them that holds says nothing."""

    def run(self, *faults: FaultSpan) -> Results:
        results = asked()
        results.counts["messages.sent"] = 1
        results.warm_up_us = 5 * SECOND
        results.faults = list(faults)
        results.metrics = {"reconnect_time_s": Histogram()}
        results.thresholds = [ThresholdResult("reconnect_time_s: count == 0", True, 0)]
        return results

    def test_it_is_pointed_out(self) -> None:
        results = self.run(FaultSpan("relay-0 crashed", START_US + SECOND, START_US + 5 * SECOND))
        summary = summarise(results)
        told = "Wholly in the warm-up of 5 s lies relay-0 crashed at 1 s: what it began then is in the counts and left "
        told += "out of the metrics, whose thresholds say nothing of it."
        assert summary["notes"] == [told]
        assert told in what_happened(results, summary)
        assert "relay-0 crashed <span class=faint>(in the warm-up)</span>" in render(results, summary, {}, [])
        assert "Note: Wholly in the warm-up of 5 s lies relay-0 crashed at 1 s" in results_table(summary)
        assert max(map(len, results_table(summary).splitlines())) <= 100

    @pytest.mark.parametrize(
        ("start_s", "end_s"),
        [(1, 6), (1, None), (5, 5), (6, 6)],
        ids=["reaches out of it", "lasts", "at its very end", "after it"],
    )
    def test_another_is_not(self, start_s: int, end_s: int | None) -> None:
        end_us = None if end_s is None else START_US + end_s * SECOND
        assert "notes" not in summarise(self.run(FaultSpan("a fault", START_US + start_s * SECOND, end_us)))

    def test_of_many_three_are_named(self) -> None:
        times_us = [START_US + number * SECOND // 10 for number in range(12)]
        resets = [FaultSpan("reset", at_us, at_us) for at_us in times_us]
        (note,) = summarise(self.run(*resets))["notes"]
        assert note.startswith("Wholly in the warm-up of 5 s lie reset at 0 s; reset at 0.1 s; reset at 0.2 s and 9 ")


class TestRejections:
    """What a client refuses by itself is told by reason."""

    @pytest.mark.requirement("R-11.4")
    @pytest.mark.parametrize(
        ("reasons", "words"),
        [
            ({"too_large": 9}, "9 rejected by the client itself (too large for a frame)"),
            ({"queue_full": 9}, "9 rejected by the client itself (its queue full)"),
            (
                {"queue_full": 2, "too_large": 7},
                "9 rejected by the client itself (2 its queue full, 7 too large for a frame)",
            ),
            ({}, "9 rejected by the client itself."),
        ],
    )
    def test_the_reason_is_told(self, reasons: dict[str, int], words: str) -> None:
        results = asked()
        results.counts |= {"messages.sent": 9, "messages.rejected": 9}
        results.counts |= {f"messages.rejected.{reason}": count for reason, count in reasons.items()}
        summary = summarise(results)
        assert [told for told in what_happened(results, summary) if words in told]
        assert ("messages rejected, too large" in results_table(summary)) == ("too_large" in reasons)


@pytest.mark.parametrize(
    ("threshold", "value", "words"),
    [
        ("delivery_latency_ms: p99 < 2s", 363.5, "0.3635 s"),
        ("delivery_latency_ms.push: p99 < 2 s", 363.5, "0.3635 s"),
        ("delivery_latency_ms: p99 < 500ms", 363.5, "363.5 ms"),
        ("reconnect_time_s: p50 >= 500ms", 1.5, "1,500 ms"),
        ("reconnect_time_s: max < 1m", 90, "1.5 min"),
        ("reconnect_time_s: max < 1m30s", 90, "90 s"),
        ("reconnect_time_s: max != 0", 90, "90 s"),
        ("reconnect_time_s: count == 0", 3, "3"),
        ("reconnect_time_s: censored < 5", 3, "3"),
        ("queue_depth: max < 20", 7, "7"),
        ("clients.gave_up: == 0", 1234, "1,234"),
        ("of another version: p99 < 2s", 3.5, "3.5"),
        ("reconnect_time_s: p99 < 2s", "text", "text"),
        ("reconnect_time_s: p99 < 2s", None, "–"),
    ],
)
def test_what_was_found_must_have_the_unit_of_its_bound(threshold: str, value: Any, words: str) -> None:
    assert found_words(threshold, value) == words


def test_table_and_page_tell_what_was_found_with_its_unit() -> None:
    results = asked()
    results.thresholds = [ThresholdResult("delivery_latency_ms: p99 < 2s", True, 363.5)]
    results.checks = [CheckResult("ledgers", True, 0)]
    summary = summarise(results)
    assert "held    delivery_latency_ms: p99 < 2s  (found 0.3635 s)" in results_table(summary)
    assert "0.3635 s" in render(results, summary, {}, [])


def test_rules_stand_in_the_table_of_faults() -> None:
    lazy = {"match": {"type": "PING", "every": 3}, "action": {"do": "delay", "ms": 20}, "times": 4, "comment": "<lazy>"}
    results = asked(faults=[{"do": "reset_connections", "at": "1s"}, lazy, {"match": {}, "action": {"do": "drop"}}])
    results.counts |= {"faults.fired.delay": 4}
    page = render(results, summarise(results), {}, [])
    rows = "<tr><td>&lt;lazy&gt;</td><td>type PING, every 3</td><td>do delay, ms 20, at most 4 times</td><td class=n>4"
    assert rows in page
    assert "<tr><td>faults.2</td><td>everywhere</td><td>do drop</td><td class=n>0</td></tr>" in page
    assert "reset_connections</td>" not in page, "what never came about has no row"
