"""``zsim new``: a file that runs as it is, and names every other key with its default."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pytest

from zentalk_sim.experiment import keys, loader
from zentalk_sim.experiment.fault_schema import Fault
from zentalk_sim.faults.rules import _MATCH_READERS
from zentalk_sim.faults.verdicts import ACTIONS
from zentalk_sim.files import yaml
from zentalk_sim.network.profile import LinkProfile

TEMPLATE = (
    files("zentalk_sim.experiment").joinpath("template.yaml").read_text(encoding="utf-8").replace("NAME", "lunch")
)
_COMMENTED_KEY = re.compile(r"#((?:  )*[a-z_]+:)")
"""A key with its default: the `#` stands at the line's start, before the key's own indentation."""


def uncommented() -> str:
    """The template with every key taken out of its comment; prose stays."""
    return "\n".join(_COMMENTED_KEY.sub(r"\1", line, count=1) for line in TEMPLATE.splitlines())


def named(tree: Any) -> set[str]:
    """The paths of a mapping's keys."""
    if not isinstance(tree, dict):
        return set()
    return set(tree) | {f"{key}.{path}" for key, child in tree.items() for path in named(child)}


def test_the_file_loads_and_asks_something() -> None:
    experiment = loader.from_text(TEMPLATE)
    assert experiment.name == "lunch"
    assert experiment.question.endswith("?")
    assert experiment.faults
    assert experiment.thresholds


def test_every_key_behind_a_comment_has_its_default() -> None:
    assert loader.from_text(uncommented()) == loader.from_text(TEMPLATE)


def test_every_key_of_an_experiment_is_named() -> None:
    written = named(yaml.parse(uncommented(), "template").plain())
    every = named(loader.from_text(TEMPLATE).to_mapping())
    # A distribution stands in one line, profiles in a comment of their own.
    missing = {
        path
        for path in every - written
        if not path.startswith("network.") and path.rpartition(".")[0] in written | {""} and path != "network"
    }
    assert missing - {f"workload.messages.size.{key}" for key in ("kind", "value")} == set()
    assert "sweep" in written


def test_every_key_of_a_link_profile_is_named_with_its_default() -> None:
    lines = TEMPLATE.splitlines()
    begin = lines.index("# network:")
    end = next(at for at in range(begin, len(lines)) if not lines[at].startswith("#"))
    block = "\n".join(line.removeprefix("# ") for line in lines[begin:end])
    tree = yaml.parse(block, "network").plain()
    assert set(tree["network"]["tunnel"]) == {keys.key_of(name) for name in LinkProfile.__struct_fields__}
    assert loader.from_mapping({"name": "x", **tree}).network["tunnel"] == LinkProfile()


def test_every_word_of_a_rule_is_shown_and_each_rule_loads() -> None:
    lines = [line.strip().removeprefix("# ") for line in TEMPLATE.splitlines() if "- {match: {" in line]
    loaded = loader.from_text("name: x\npopulation: {devices: 10}\nfaults:\n  " + "\n  ".join(lines))
    assert len(loaded.rules) == len(lines) > 8
    words = "\n".join(lines)
    assert [do for do in ACTIONS if not re.search(rf"\b{do}\b", words)] == []
    assert [name for name in _MATCH_READERS if f"{name}:" not in words] == []


@pytest.mark.parametrize("kind", Fault.__args__, ids=lambda kind: kind.__struct_config__.tag)
def test_every_fault_is_shown_in_a_line_that_loads(kind: Any) -> None:
    tag = kind.__struct_config__.tag
    line = next(line for line in TEMPLATE.splitlines() if f"do: {tag}," in line)
    text = line.strip().removeprefix("# ")
    loaded = loader.from_text(
        f"name: x\nduration: 3m\nrelay: {{nodes: 2}}\npopulation: {{networks: {{wifi: 1, lte: 1}}}}\nfaults:\n  {text}"
    )
    assert type(loaded.faults[0]) is kind
