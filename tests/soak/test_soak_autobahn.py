"""All of Autobahn's cases, performance (9) included, for ``make soak`` alone."""

from __future__ import annotations

import asyncio
import os

from tests.autobahn.test_autobahn import EXPECTED, results_of, unexpected

if os.environ.get("HYPOTHESIS_PROFILE") == "soak":

    def test_every_case_but_those_of_compression_must_have_the_expected_outcome() -> None:
        results = asyncio.run(results_of("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"))
        assert len(results) == 301
        assert unexpected(results, EXPECTED) == []
