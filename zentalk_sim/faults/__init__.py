"""Fault rules: what goes wrong, when, and how often; one language for the mock relay and the simulator.

A rule is ``{"match", "action", "times"?, "comment"?}``. ``rules`` reads it, ``matching`` says what it matches (the
journal uses the same matches), ``ruleset`` decides which rule fires at an event, ``verdicts`` says what a face must
then do, ``corruption`` spoils bytes. Nothing here reads a clock or draws randomness of its own.
"""

from __future__ import annotations

from zentalk_sim.faults.corruption import corrupt
from zentalk_sim.faults.matching import Difference, FaultEvent, Matcher, Miss, matching, nearest_misses
from zentalk_sim.faults.reading import RuleFaults
from zentalk_sim.faults.rules import Match, Rule, parse_journal_match, parse_match, parse_rule, parse_rules, to_builtins
from zentalk_sim.faults.ruleset import Firing, Ruleset, RulesetState
from zentalk_sim.faults.verdicts import Verdict, completed

__all__ = [
    "Difference",
    "FaultEvent",
    "Firing",
    "Match",
    "Matcher",
    "Miss",
    "Rule",
    "RuleFaults",
    "Ruleset",
    "RulesetState",
    "Verdict",
    "completed",
    "corrupt",
    "matching",
    "nearest_misses",
    "parse_journal_match",
    "parse_match",
    "parse_rule",
    "parse_rules",
    "to_builtins",
]
