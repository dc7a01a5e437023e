"""YAML 1.2 with positions: what is read, what is refused, and where the fault is said to be."""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.files.yaml import MAX_NODES, FileFaults, dump, load, parse, parse_value


def faults(text: str | bytes) -> list[str]:
    with pytest.raises(FileFaults) as caught:
        parse(text, "f.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("12:30:45", "12:30:45"),
        ("2001-01-01", "2001-01-01"),
        ("1e6", 1e6),
        ("1_000", "1_000"),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("-3", -3),
        ("+.5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("30s", "30s"),
        ("|-\n  1", "1"),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    read = parse(f"key: {text}\n", "f.yaml").plain()["key"]
    assert read == value
    assert type(read) is type(value)


def test_a_directive_for_yaml_1_1_changes_nothing() -> None:
    assert parse("%YAML 1.1\n---\na: on\n", "f.yaml").plain() == {"a": "on"}


def test_every_key_and_value_has_its_line_and_column() -> None:
    tree = parse("a: 1\nb:\n  - x\n  - {c: 2}\n", "f.yaml")
    assert str(tree.keys["b"]) == "f.yaml:2:1"
    assert str(tree.data["b"].data[0].origin) == "f.yaml:3:5"
    assert str(tree.data["b"].data[1].data["c"].origin) == "f.yaml:4:9"


def test_anchors_may_be_used() -> None:
    tree = parse("a: &x {k: [1, 2]}\nb: *x\n", "f.yaml")
    assert tree.plain() == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}}


def test_duplicate_keys_are_refused_all_at_once() -> None:
    assert faults("a: 1\nb: {x: 1, x: 2}\na: 3\n") == [
        "f.yaml:2:11: key `x` is given twice, first in line 2; keep one",
        "f.yaml:3:1: key `a` is given twice, first in line 1; keep one",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: !!python/object:os.system x", "f.yaml:1:4: tag `python/object:os.system` is not allowed"),
        ("a: !mine 1", "f.yaml:1:4: tag `!mine` is not allowed"),
        ("a: {z: 1}\n<<: {z: 1}", "f.yaml:2:1: merge keys (`<<`) are not part of YAML 1.2"),
        ("? [1]\n: 2", "f.yaml:1:3: a key must be a text"),
        ("a: .inf", "f.yaml:1:4: `.inf` is not a finite number"),
        ("a: .nan", "f.yaml:1:4: `.nan` is not a finite number"),
        ("a: 1e999", "f.yaml:1:4: number `1e999` is too large"),
        ("a: " + "9" * 500, "f.yaml:1:4: a number this long is not allowed"),
        ("a: [1,\nb: 2", "is no YAML"),
        ("a: 1\nb:\n\t- 2", "f.yaml:3:1: is no YAML: found character '\\t' that cannot start any token; indent with"),
        ("a: *nope", "f.yaml:1:4: is no YAML: found undefined alias 'nope'"),
        ("a: &a [*a]", "f.yaml:1:4: an alias stands inside its own anchor"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: is no YAML"),
        ("[" * 70 + "]" * 70, "is nested deeper than 64 levels"),
        ("[" * 20_000, "f.yaml:1:65: is nested deeper than 64 levels"),
        ("a: b\x07", "f.yaml:1:5: character U+0007 is not allowed"),
    ],
)
def test_what_is_no_plain_data_is_refused_at_its_place(text: str, fault: str) -> None:
    assert any(fault in line for line in faults(text)), faults(text)


def test_a_bomb_of_aliases_is_refused_before_it_unfolds() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert f"unfolds to more than {MAX_NODES} values; use fewer aliases" in faults("\n".join(lines))[-1]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"a: b\nc: \xe9\n", "f.yaml:2:4: is no UTF-8 text; save the file as UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "f.yaml:1:1: is a binary file, not a YAML text"),
        (b"a: \x00", "f.yaml:1:4: is a binary file, not a YAML text"),
        ("a: 1".encode("utf-16"), "f.yaml:1:1: is a binary file, not a YAML text"),
    ],
)
def test_what_is_no_text_is_refused_at_its_place(data: bytes, fault: str) -> None:
    assert faults(data) == [fault]


def test_a_byte_order_mark_is_no_matter() -> None:
    assert parse(b"\xef\xbb\xbfa: 1\n", "f.yaml").plain() == {"a": 1}


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "is a folder; name the file in it")):
        with pytest.raises(FileFaults) as caught:
            load(path)
        assert str(caught.value) == f"{path}: {why}"
    large = tmp_path / "large.yaml"
    large.write_bytes(b"# " + b"x" * (4 << 20))
    with pytest.raises(FileFaults, match="is larger than 4 MiB"):
        load(large)


def test_an_options_value_has_the_option_as_its_place() -> None:
    tree = parse_value("{a: [1, 2]}", "-S x={a: [1, 2]}")
    assert tree.plain() == {"a": [1, 2]}
    assert str(tree.data["a"].origin) == "-S x={a: [1, 2]}"
    with pytest.raises(FileFaults, match=r"-S x=\[: the value cannot be read"):
        parse_value("[", "-S x=[")


SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text() | st.floats(allow_nan=False)
PLAIN = st.recursive(
    SCALARS.filter(lambda value: not isinstance(value, float) or math.isfinite(value)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_is_dumped_reads_back_equal(data: Any) -> None:
    assert parse(dump(data), "f.yaml").plain() == data


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_makes_the_reader_fail_otherwise(data: bytes) -> None:
    try:
        parse(data, "f.yaml").plain()
    except FileFaults as error:
        assert all(str(fault).startswith("f.yaml") for fault in error.faults)


def test_a_folded_text_must_hold_no_trace_of_its_folding() -> None:
    """The parser marks folds with BEL."""
    assert parse("text: >-\n  one\n  two\n\n  three\n", "f.yaml").plain() == {"text": "one two\nthree"}


def test_a_minus_is_standard_input_and_may_be_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("a: ä\nb: [\n".encode())))
    for _ in range(2):
        with pytest.raises(FileFaults, match=r"^-:3:1: "):
            load("-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("a: ä\n".encode())))
    assert load("-").plain() == load(Path("-")).plain() == {"a": "ä"}
