"""examples/ci: the workflow for client teams; its shell steps are run here as they stand, one after the other."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
WORKFLOW: Any = YAML(typ="safe", pure=True).load(ROOT / "examples" / "ci" / "github-actions.yml")
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["relay"]["steps"]
PATIENCE_S = 120
INSTALL = 'python -m pip install --quiet "$ZENTALK_SIM"'
"""The one step that is not run here: what it installs is what is tested."""
OWN_TESTS = """
import json, os, urllib.request
asked = urllib.request.Request(os.environ["MOCKRELAY_HTTP_URL"] + "/admin/users")
asked.add_header("Authorization", "Bearer " + os.environ["MOCKRELAY_ADMIN_TOKEN"])
names = [user["name"] for user in json.load(urllib.request.urlopen(asked))]
start = json.load(open(os.environ["MOCKRELAY_START"]))
assert names == [user["name"] for user in start["users"]] == ["alice", "bob"]
assert start["ws_url"] == os.environ["MOCKRELAY_WS_URL"]
"""


def run_steps(folder: Path, **changes: str) -> list[tuple[str, int, str]]:
    """Run the shell steps after the installation as the runner does.

    That is with ``bash -e``, and with what a step writes to GITHUB_ENV set for those after it. Returns names, exit
    codes and output; after a failure there are steps with ``if: always()`` alone.
    """
    given = folder / "github_env"
    given.touch()
    found: list[tuple[str, int, str]] = []
    for step in STEPS:
        has_failed = any(code for _, code, _ in found)
        if "run" not in step or step["run"] == INSTALL or (has_failed and step.get("if") != "always()"):
            continue
        lines = [line.partition("=") for line in given.read_text().splitlines()]
        environment = {
            **os.environ,
            **WORKFLOW["env"],
            **changes,
            **{name: value for name, _, value in lines},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_ENV": str(given),
        }
        script = folder / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "-e", str(script)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        found.append((step["name"], done.returncode, done.stdout))
    return found


def test_the_workflow_must_run_an_apps_tests_and_leave_reports_and_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "own_tests.py").write_text(OWN_TESTS)
    found = run_steps(
        tmp_path,
        APP_TESTS="python own_tests.py",
        APP_DRIVE="python -m mockrelay.certify.reference",
        CERTIFY_FLAGS="--case 1.1",
    )
    assert [code for _, code, _ in found] == [0, 0, 0, 0], found
    assert [step["run"] for step in STEPS if "pip" in step.get("run", "")] == [INSTALL]
    left = tmp_path / "zentalk"
    for report in (left / "check.junit.xml", left / "certify" / "web.junit.xml"):
        assert ET.parse(report).getroot().tag == "testsuites"
    assert STEPS[-1]["with"]["path"] == left.name
    start = json.loads((tmp_path / "relay" / "start.json").read_text())
    secrets = [start["admin_token"], *(user["token"] for user in start["users"])]
    for path in left.rglob("*"):
        if path.is_file():
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            assert not any(secret.encode() in data for secret in secrets), path
    assert {"session.jsonl.gz", "session.har", "relay.log"} <= {path.name for path in left.iterdir()}


def test_what_tells_of_a_failure_must_run_after_one() -> None:
    always = [step["name"] for step in STEPS if step.get("if") == "always()" and "run" in step]
    assert always == ["Stop the mock relay, and see what the app did", "Certify the app"]
    assert STEPS[-1]["if"] == "always()"


def test_every_action_named_must_be_pinned_to_a_version() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert all(name.startswith("actions/") and "@v" in name for name in used)
    assert len(used) == 3


@pytest.mark.parametrize("page", ["testing-your-app.md", "certify.md"])
def test_the_pages_about_ci_must_lead_to_the_workflow(page: str) -> None:
    assert "(../examples/ci/github-actions.yml)" in (ROOT / "docs" / page).read_text()
