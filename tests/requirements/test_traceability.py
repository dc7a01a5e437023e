"""Every requirement has a test or a reason, and the document says so."""

from __future__ import annotations

from traceability import DOCUMENT, collect, document, faults


def test_every_requirement_must_have_a_test_or_a_reason() -> None:
    assert faults(collect()) == []


def test_the_document_must_be_what_the_marks_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(collect()), "run: python tests/requirements/traceability.py"


def test_a_requirement_without_a_test_must_be_named() -> None:
    found = collect()
    del found["R-6.2"]
    assert any(line.startswith("R-6.2 ") for line in faults(found))


def test_a_mark_that_names_nothing_must_be_named() -> None:
    assert any("R-99.1" in line for line in faults({**collect(), "R-99.1": ["tests/x.py::test_x"]}))
