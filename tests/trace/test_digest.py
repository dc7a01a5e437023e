"""The digest tells runs apart by what happened, not by how their rows were handed over."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.trace import digest as module
from zentalk_sim.trace.digest import Digest, first_difference

VALUES = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(max_size=8), st.booleans(), st.none())
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=6)


def digest_of(messages: list[tuple[Any, ...]], connections: list[tuple[Any, ...]] = [], **counts: int) -> str:  # noqa: B006
    made = Digest()
    for row in messages:
        made.row("messages", row)
    for row in connections:
        made.row("connections", row)
    made.counts(counts)
    return made.hexdigest()


def test_the_digest_of_a_known_run_never_changes() -> None:
    found = digest_of([("m1", 5, None), ("m2", 6, True)], [("alice", 1)], sent=2)
    inner = {
        "messages": (2, b'["m1",5,null]\n["m2",6,true]\n'),
        "connections": (1, b'["alice",1]\n'),
        "counts": (1, b'["sent",2]\n'),
    }
    outer = "".join(
        f'["{kind}",{n},"{hashlib.sha256(text).hexdigest()}"]\n' for kind, (n, text) in sorted(inner.items())
    )
    assert found == hashlib.sha256(outer.encode()).hexdigest()


@given(ROWS, ROWS)
def test_equal_digests_mean_equal_rows(a: list[tuple[Any, ...]], b: list[tuple[Any, ...]]) -> None:
    # True and 1 are equal in Python but not to the digest, hence the comparison of types too.
    same = [[(type(v), v) for v in row] for row in a] == [[(type(v), v) for v in row] for row in b]
    assert (digest_of(a) == digest_of(b)) == same
    assert (first_difference(a, b) is None) == same


@given(ROWS, ROWS)
def test_interleaving_and_batches_must_not_show(messages: list[tuple[Any, ...]], others: list[tuple[Any, ...]]) -> None:
    mixed = Digest()
    for number in range(max(len(messages), len(others))):
        for kind, rows in (("connections", others), ("messages", messages)):
            if number < len(rows):
                mixed.row(kind, rows[number])
                mixed.hexdigest()
    assert mixed.hexdigest() == digest_of(messages, others)


def test_many_rows_are_hashed_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"m{i}", i) for i in range(1000)]
    whole = digest_of(rows)
    monkeypatch.setattr(module, "BATCH_ROWS", 7)
    assert digest_of(rows) == whole


def test_the_order_within_a_kind_must_show() -> None:
    assert digest_of([("a",), ("b",)]) != digest_of([("b",), ("a",)])
    assert digest_of([("a",)]) != digest_of([], [("a",)])


def test_the_order_of_counts_must_not_show() -> None:
    assert digest_of([], a=1, b=2) == digest_of([], b=2, a=1)
    assert digest_of([], a=1, b=2) != digest_of([], a=2, b=1)


@pytest.mark.parametrize(("value", "name"), [(0.5, "float"), (b"key", "bytes"), ((1,), "tuple")])
def test_floats_and_bytes_are_refused(value: Any, name: str) -> None:
    made = Digest()
    made.row("messages", ("m1", value))
    with pytest.raises(TypeError, match=f"messages rows, value 1: {name}"):
        made.hexdigest()


def test_rows_of_one_kind_have_one_length() -> None:
    made = Digest()
    made.row("messages", (1, 2))
    made.row("messages", (1,))
    with pytest.raises(ValueError, match="'messages' differ in length"):
        made.hexdigest()


def test_the_first_difference_is_named() -> None:
    a = [("m1", 5, "push"), ("m2", 6, "push"), ("m3", 7, "push")]
    b = [("m1", 5, "push"), ("m2", 9, "fetch"), ("m3", 8, "push")]
    found = first_difference(a, b, ["message_id", "shown_us", "via"])
    assert found is not None
    assert (found.index, found.columns) == (1, ["shown_us", "via"])
    assert str(found) == "row 1 differs in shown_us, via:\n  a: ('m2', 6, 'push')\n  b: ('m2', 9, 'fetch')"
    assert first_difference(iter(a), iter(a)) is None


def test_a_missing_row_is_a_difference() -> None:
    found = first_difference([("m1",)], [("m1",), ("m2",)])
    assert str(found) == "row 1 stands only in the second: ('m2',)"
    assert str(first_difference([("m1",)], [])) == "row 0 stands only in the first: ('m1',)"
