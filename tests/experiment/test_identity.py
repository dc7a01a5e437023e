"""What is known by one name must be one experiment: the order of the networks counts, that of other keys does not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.model.support import mapping
from zentalk_sim.experiment import loader, sweep, writer
from zentalk_sim.experiment.compare import CompareError, compare
from zentalk_sim.experiment.identity import identity_bytes
from zentalk_sim.experiment.runner import default_folder, run_experiment
from zentalk_sim.experiment.sweep_cell import cell_key

_ONE = {"lan": 1, "wifi": 2}
_OTHER = {"wifi": 2, "lan": 1}
_SWEPT = """\
name: swept
duration: 5s
population: {devices: 4, networks: {%s}}
"""


def _experiment(networks: dict[str, int], seed: int = 4) -> loader.Experiment:
    changes = {"duration": "5s", "population": {"devices": 12, "contacts": 2, "networks": networks}, "seed": seed}
    return loader.from_mapping(mapping(**changes))


def test_networks_in_another_order_are_another_experiment(tmp_path: Path) -> None:
    """Must be: devices are dealt in that order, so that the digests differ, and no folder or cell may serve both."""
    one, other = (_experiment(networks) for networks in (_ONE, _OTHER))
    assert default_folder(one) != default_folder(other)
    assert cell_key(writer.to_mapping(one)) != cell_key(writer.to_mapping(other))
    runs = [run_experiment(found, out=tmp_path / name, plots=False) for found, name in ((one, "one"), (other, "other"))]
    assert runs[0].results.digest != runs[1].results.digest
    # What the folders hold tells them apart, too: they are no two runs of one experiment and seed.
    assert compare([tmp_path / "one", tmp_path / "other"])
    run_experiment(one, out=tmp_path / "again", plots=False)
    with pytest.raises(CompareError, match="the same experiment with the same seed"):
        compare([tmp_path / "one", tmp_path / "again", tmp_path / "other"])


def test_the_order_of_other_keys_does_not_count() -> None:
    whole = writer.to_mapping(_experiment(_ONE))
    turned = {key: whole[key] for key in reversed(whole)}
    turned["relay"] = {key: turned["relay"][key] for key in reversed(turned["relay"])}
    assert identity_bytes(turned) == identity_bytes(whole)
    assert default_folder(loader.from_mapping(turned)) == default_folder(_experiment(_ONE))


def test_a_sweep_of_networks_in_another_order_is_another_sweep(tmp_path: Path) -> None:
    plans = []
    for name, networks in (("one", "lan: 1, wifi: 2"), ("other", "wifi: 2, lan: 1")):
        (tmp_path / f"{name}.yaml").write_text(_SWEPT % networks)
        plans.append(sweep.plan(tmp_path / f"{name}.yaml", seeds="1-2"))
    assert plans[0].folder != plans[1].folder
    assert not {cell.key for cell in plans[0].cells} & {cell.key for cell in plans[1].cells}
    # One after the other into one folder is refused, as any other experiment is.
    assert msgspec.json.encode(plans[0].identity) != msgspec.json.encode(plans[1].identity)
    assert plans[0].identity != plans[1].identity
