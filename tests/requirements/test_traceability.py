"""Every requirement has a test or a reason, and the document says so."""

from __future__ import annotations

import pytest
from traceability import DOCUMENT, collect, document, faults


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    """What the tests' marks say, read once; nobody changes it."""
    return collect()


def test_every_requirement_must_have_a_test_or_a_reason(found: dict[str, list[str]]) -> None:
    assert faults(found) == []


def test_the_document_must_be_what_the_marks_say(found: dict[str, list[str]]) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(found), "run: python tests/requirements/traceability.py"


def test_a_requirement_without_a_test_must_be_named(found: dict[str, list[str]]) -> None:
    others = {name: tests for name, tests in found.items() if name != "R-6.2"}
    assert any(line.startswith("R-6.2 ") for line in faults(others))


def test_a_mark_that_names_nothing_must_be_named(found: dict[str, list[str]]) -> None:
    assert any("R-99.1" in line for line in faults({**found, "R-99.1": ["tests/x.py::test_x"]}))
