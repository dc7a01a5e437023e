"""docs/validation.md must have the rows of the catalogue; its figures are from when it was last written."""

from __future__ import annotations

import re
from itertools import groupby

import pytest

from tests.validation.catalogue import CHECKS
from tests.validation.document import (
    DOCUMENT,
    FACES_HEADER,
    FACES_TITLE,
    HEADER,
    document,
    kept_sections,
    linked,
    rows_of,
    table,
    tally,
)
from tests.validation.prose import SECTIONS

REMEDY = "write it anew: python -m tests.validation.document"


def sections() -> dict[str, list[list[str]]]:
    """Title → the rows of its table."""
    kept = kept_sections(DOCUMENT.read_text(encoding="utf-8"))
    return {title: rows_of(section) for title, section in kept.items()}


@pytest.mark.parametrize("section", list(SECTIONS))
def test_each_section_must_have_the_rows_of_the_catalogue(section: str) -> None:
    expected = [
        [check.what, check.theory, check.parameters, linked(check.file)] for check in CHECKS if check.section == section
    ]
    assert expected
    rows = sections()[section]
    assert [[row[0], row[1], row[3], row[5]] for row in rows] == expected, REMEDY
    for row in rows:
        assert len(row) == len(HEADER), REMEDY
        assert row[2], REMEDY
        assert row[4], REMEDY


def test_the_document_must_tell_of_no_disagreement() -> None:
    assert "disagrees" not in DOCUMENT.read_text(encoding="utf-8")


def test_the_sections_must_follow_the_catalogue_and_end_with_the_faces() -> None:
    order = [section for section, _ in groupby(CHECKS, key=lambda check: check.section)]
    assert list(SECTIONS) == order
    assert list(sections())[: len(order) + 1] == [*order, FACES_TITLE], REMEDY


def test_both_experiments_must_be_compared_figure_by_figure() -> None:
    rows = sections()[FACES_TITLE]
    assert {row[0] for row in rows} == {"steady", "reset"}, REMEDY
    assert all(len(row) == len(FACES_HEADER) for row in rows)
    for experiment in ("steady", "reset"):
        figures = [row[1] for row in rows if row[0] == experiment]
        assert "delivery latency, p50" in figures, REMEDY
        assert "KS distance of delivery latency" in figures, REMEDY


def test_every_file_named_must_exist() -> None:
    for target in re.findall(r"\]\((\.\./[^)]+)\)", DOCUMENT.read_text(encoding="utf-8")):
        assert (DOCUMENT.parent / target).is_file(), target


def test_a_bar_within_a_cell_must_not_split_it() -> None:
    assert table(("a",), [("|N|",)]).splitlines()[2] == r"| \|N\| |"


def test_a_document_must_be_kept_as_it_is_by_what_replaces_one_section() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert document(kept_sections(text)) == text, REMEDY


def test_the_tally_counts_estimates_outside_their_interval_and_no_published_figures() -> None:
    rows = [
        ["a", "4", "3.99 ± 0.18", "", "", ""],
        ["b", "11.11 ms", "12.00 ± 0.50 ms", "", "", ""],
        ["c", "≈ 2.0 s", "2.5 ± 0.1 s", "", "", ""],
        ["d", "b + rt", "**disagrees**: (0, 1)", "", "", ""],
    ]
    assert " ".join(tally(rows).split()) == (
        "3 of 4 checks agree. Of the 2 that estimate a mean, theory lies outside the printed 99 % interval in 1; "
        "chance alone would have it so in 0.0."
    )
