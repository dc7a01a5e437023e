"""Every check of docs/validation.md in its short form; in the long one under HYPOTHESIS_PROFILE=soak or ZENTALK_SOAK=1.

Seeds are fixed, so that an answer never changes but with the code.
"""

from __future__ import annotations

import pytest

from tests.validation.catalogue import CHECKS
from tests.validation.check import Check, is_long


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_what_is_measured_must_agree_with_theory(check: Check) -> None:
    outcome = check.run(is_long())
    assert outcome.agrees, outcome.why


def test_no_two_checks_may_share_a_name() -> None:
    assert len({check.id for check in CHECKS}) == len(CHECKS)
