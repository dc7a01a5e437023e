"""Records of messages leave memory for the disk and come back: nothing that a run finds may depend on it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.model.support import mapping
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.experiment.runner import simulate
from zentalk_sim.model.message_spill import MessageSpill
from zentalk_sim.model.recorder import COLD_US, MOST_IN_MEMORY, Recorder, Sent
from zentalk_sim.model.world import World
from zentalk_sim.protocol.timers import NEVER
from zentalk_sim.report.results import Results
from zentalk_sim.trace.tables import SCHEMAS, TableWriter

ALICE, BOB = "0x" + "a" * 40, "0x" + "b" * 40
PHONE, TABLET = "phone", "tablet"


class Book:
    """A recorder that keeps few messages in memory, told what happens a millisecond after what was before."""

    def __init__(self, most_in_memory: int) -> None:
        self.messages, connections, timeseries = (TableWriter(schema, None) for schema in SCHEMAS)
        self.recorder = Recorder(self.messages, connections, timeseries, 0)
        self.recorder.most_in_memory = most_in_memory
        self.now = 1_000_000
        self.count = 0

    def tick(self) -> int:
        self.now += 1_000
        return self.now

    def send(self) -> str:
        """Alice writes to Bob, who has two devices."""
        self.count += 1
        message_id = f"message {self.count}"
        self.recorder.sent(message_id, ALICE, BOB, (PHONE, TABLET), 128, self.tick())
        self.recorder.transmitted(message_id)
        return message_id

    def accept(self, message_id: str) -> None:
        """The relay stores it and says so."""
        self.recorder.fact(self.tick(), "copies.stored", 2, message_id, None, None)
        self.recorder.acked(message_id, self.tick())

    def show(self, message_id: str, device_id: str = PHONE) -> None:
        self.recorder.pushed(message_id, device_id, self.tick())
        self.recorder.shown(message_id, device_id, "push", self.tick())

    def confirm(self, message_id: str, device_id: str = PHONE) -> None:
        self.recorder.fact(self.tick(), "copies.confirmed", 1, message_id, device_id, None)

    def read(self, message_id: str, device_id: str = PHONE) -> None:
        self.recorder.fact(self.tick(), "messages.read", 1, message_id, device_id, None)

    def drop(self, message_id: str, device_id: str = TABLET) -> None:
        self.recorder.fact(self.tick(), "copies.dropped.expired", 1, message_id, device_id, None)

    def deliver(self) -> str:
        """A message from its sending to its end on both devices."""
        message_id = self.send()
        self.accept(message_id)
        for device_id in (PHONE, TABLET):
            self.show(message_id, device_id)
            self.confirm(message_id, device_id)
        return message_id

    def in_memory(self) -> list[str]:
        return list(self.recorder._sent)

    def close(self) -> list[dict[str, Any]]:
        """The run ends: the rows of its messages."""
        self.recorder.finish(self.recorder.copies_pending, [])
        rows: list[dict[str, Any]] = self.messages.to_arrow().to_pylist()
        return rows


def row_of(rows: Iterable[dict[str, Any]], message_id: str, device_id: str = PHONE) -> dict[str, Any]:
    (found,) = [row for row in rows if row["message_id"] == message_id and row["device"] == device_id]
    return found


def test_what_is_over_must_leave_memory_and_what_is_under_way_must_stay() -> None:
    book = Book(most_in_memory=10)
    waiting = book.send()
    book.accept(waiting)
    over = [book.deliver() for _ in range(12)]
    assert waiting in book.in_memory()
    assert over[0] not in book.in_memory()
    assert over[-1] in book.in_memory()
    assert len(book.in_memory()) <= 10
    book.close()


def test_a_message_for_an_absent_device_must_leave_memory_when_it_is_cold() -> None:
    book = Book(most_in_memory=10)
    waiting = [book.send() for _ in range(12)]
    assert book.in_memory() == waiting
    book.now += COLD_US
    for _ in range(12):
        book.send()
    assert not set(waiting[:6]) & set(book.in_memory())
    book.close()


def test_a_late_receipt_must_count_as_it_would_have_in_memory() -> None:
    """Shown, confirmed and read after the record has gone to disk: row, latency and ledger."""
    book = Book(most_in_memory=10)
    late = book.send()
    book.accept(late)
    sent_us = book.recorder._sent[late].sent_us
    book.now += COLD_US
    for _ in range(12):
        book.deliver()
    assert late not in book.in_memory()
    before = book.recorder.metrics["delivery_latency_ms"].count
    book.show(late)
    shown_us = book.now
    book.confirm(late)
    book.read(late)
    book.drop(late)
    assert book.recorder.metrics["delivery_latency_ms"].count == before + 1
    assert book.recorder.metrics["delivery_latency_ms"].max == shown_us - sent_us
    assert book.recorder.copies_pending == 0
    rows = book.close()
    found = row_of(rows, late)
    assert (found["sent_us"], found["shown_us"], found["received_us"]) == (sent_us, shown_us, shown_us + 1_000)
    assert (found["read_us"], found["outcome"], found["via"]) == (shown_us + 2_000, "shown", "push")
    assert row_of(rows, late, TABLET)["outcome"] == "dropped_expired"


def test_a_second_showing_must_not_count_again() -> None:
    book = Book(most_in_memory=10)
    late = book.deliver()
    for _ in range(12):
        book.deliver()
    assert late not in book.in_memory()
    before = book.recorder.metrics["delivery_latency_ms"].count
    book.show(late)
    assert book.recorder.metrics["delivery_latency_ms"].count == before
    book.close()


def test_a_message_given_up_and_stored_after_all_must_be_counted() -> None:
    book = Book(most_in_memory=10)
    given_up = book.send()
    book.recorder.settled(given_up, "failed")
    for _ in range(12):
        book.deliver()
    assert given_up not in book.in_memory()
    book.accept(given_up)
    rows = book.close()
    assert book.recorder.counts["messages.failed_but_stored"] == 1
    assert row_of(rows, given_up)["acked_us"] is not None


def test_rows_must_come_in_the_order_of_sending_though_some_were_brought_back() -> None:
    book = Book(most_in_memory=10)
    sent = [book.deliver() for _ in range(40)]
    for index in (3, 30, 0, 17):
        book.read(sent[index])
    rows = book.close()
    assert [row["message_id"] for row in rows] == [message_id for message_id in sent for _ in range(2)]
    assert [sent.index(row["message_id"]) for row in rows if row["read_us"] is not None] == [0, 3, 17, 30]


def test_the_messages_can_be_looked_through_while_some_are_on_disk() -> None:
    book = Book(most_in_memory=10)
    sent = [book.deliver() for _ in range(40)]
    book.read(sent[5])
    found = list(book.recorder.messages_sent())
    assert [message.id for message in found] == sent
    assert [message.id for message in found if message.copies[PHONE].read_us != NEVER] == [sent[5]]
    book.close()


def test_a_fact_of_a_message_that_nobody_sent_must_be_passed_over() -> None:
    book = Book(most_in_memory=10)
    for _ in range(20):
        book.deliver()
    book.read("a stranger's")
    assert len(book.close()) == 40


def live_through(book: Book, seed: int) -> None:
    """Whatever may befall 300 messages, in any order, of the new ones more than of the old ones."""
    draw = random.Random(seed)
    acts: list[Callable[[str], object]] = [
        book.accept,
        book.show,
        book.confirm,
        book.read,
        book.drop,
        book.recorder.transmitted,
        lambda message_id: book.show(message_id, TABLET),
        lambda message_id: book.confirm(message_id, TABLET),
        lambda message_id: book.recorder.settled(message_id, "failed"),
        lambda message_id: book.recorder.settled(message_id, "rejected"),
    ]
    sent: list[str] = []
    for _ in range(300):
        sent.append(book.send())
        for _ in range(draw.randrange(8)):
            age = draw.randrange(len(sent)) if draw.random() < 0.1 else min(draw.randrange(6), len(sent) - 1)
            draw.choice(acts)(sent[-1 - age])
        if draw.random() < 0.01:
            book.now += COLD_US


@pytest.mark.parametrize("seed", range(4))
def test_rows_counts_and_digest_must_not_depend_on_what_memory_holds(seed: int) -> None:
    books = [Book(most_in_memory) for most_in_memory in (MOST_IN_MEMORY, 40, 2)]
    found = []
    for book in books:
        live_through(book, seed)
        assert (book.recorder._spill is None) == (book is books[0])
        rows = book.close()
        metrics = {name: metric.to_dict() for name, metric in book.recorder.metrics.items()}
        found.append((rows, book.recorder.counts, book.recorder.censored, metrics, book.recorder.digest.hexdigest()))
    assert found[0] == found[1] == found[2]


def test_a_run_must_find_the_same_with_few_messages_in_memory() -> None:
    """Devices are away for half a minute and fetch what waited; half of what is shown is read, seconds later."""
    experiment = from_mapping(
        mapping(
            population={"devices_per_user": 2},
            workload={"reads": {"probability": 0.5}},
            faults=[{"at": "40s", "do": "device_offline", "fraction": 0.5, "for": "30s"}],
        )
    )
    spilled: list[bool] = []

    def with_little_memory(experiment: Any, recorder: Recorder, **more: Any) -> World:
        recorder.most_in_memory = 8
        world = World(experiment, recorder, **more)
        world.kernel.call_at(world.start_us + 110_000_000, lambda: spilled.append(recorder._spill is not None))
        return world

    found: list[tuple[Results, list[dict[str, Any]]]] = []
    for world_of in (World, with_little_memory):
        tables = {schema.name: TableWriter(schema, None) for schema in SCHEMAS}
        results = simulate(experiment, tables, world_of=world_of)
        found.append((results, tables["messages"].to_arrow().to_pylist()))
    assert spilled == [True]
    (in_memory, rows), (on_disk, other_rows) = found
    assert len(rows) > 100
    assert rows == other_rows
    assert in_memory.digest == on_disk.digest
    assert in_memory.counts == on_disk.counts
    assert in_memory.metrics == on_disk.metrics


def test_memory_must_not_grow_with_the_number_of_messages() -> None:
    """1 000 further messages take less than 100 kB; in memory they would take some 800 kB."""
    book = Book(most_in_memory=100)
    tracemalloc.start()
    try:
        for _ in range(1_000):
            book.deliver()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1_000):
            book.deliver()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000
    assert len(book.in_memory()) <= 100
    book.recorder.finish(0, [])


def test_a_small_run_must_make_no_file() -> None:
    book = Book(most_in_memory=100)
    for _ in range(100):
        book.deliver()
    assert book.recorder._spill is None
    book.close()


def test_a_full_disk_must_be_reported_with_place_and_remedy() -> None:
    spill = MessageSpill()
    spill._database.execute("PRAGMA spill.max_page_count = 8")
    messages = [Sent(number, f"message {number}", ALICE, BOB, 128, 0) for number in range(2_000)]
    with pytest.raises(OSError, match=r"full; .*SQLITE_TMPDIR") as caught:
        spill.put(messages)
    assert caught.value.filename == "the folder for temporary files"
    spill.close()


def test_a_crash_must_leave_no_file_behind(tmp_path: Path) -> None:
    code = """
import os
from zentalk_sim.model.message_spill import MessageSpill
from zentalk_sim.model.recorder import Sent
spill = MessageSpill()
spill._database.execute("PRAGMA spill.cache_size = 4")
spill.put([Sent(number, f"message {number}", "a", "b", 128, 0) for number in range(20_000)])
assert spill.get("message 7").number == 7
os._exit(9)
"""
    environment = {**os.environ, "SQLITE_TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=False)
    assert done.returncode == 9
    assert not list(tmp_path.iterdir())
