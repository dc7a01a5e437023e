"""All checks, in the order of the document."""

from __future__ import annotations

from tests.validation import aws_study, links, pacing, queues, silence, storm
from tests.validation.check import Check

CHECKS: list[Check] = [*queues.CHECKS, *links.CHECKS, *silence.CHECKS, *pacing.CHECKS, *storm.CHECKS, *aws_study.CHECKS]
