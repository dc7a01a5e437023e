"""The fixture ``mock_relay`` as a suite uses it: pytest runs pytest."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# Imported here, so that pytest's in-process runs do not load (and forget) what is compiled again and again.
import mockrelay.server
import mockrelay.testing  # noqa: F401

pytest_plugins = ["pytester"]
INSTALLED = any(point.value == "mockrelay.pytest_plugin" for point in entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", "mockrelay.pytest_plugin")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _strict(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", *arguments)


def test_each_test_must_have_a_relay_of_its_own(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from tests.plugin.plugin_support import app

        urls = []

        @pytest.mark.parametrize("number", [1, 2, 3])
        def test_alone(mock_relay, number):
            urls.append(mock_relay.ws_url)
            assert len(set(urls)) == number
            assert len({url.split("/spaces/")[0] for url in urls}) == 1, "one server serves them all"
            assert mock_relay.journal.entries() == []
            alice, bob = mock_relay.user("alice"), mock_relay.user("bob")
            with app(alice) as of_alice, app(bob) as of_bob:
                of_alice.message(bob.address)
                assert of_bob.until("MESSAGE_NEW")["from"] == alice.address
            mock_relay.verify(type="MESSAGE_SEND", user="alice")
        """,
    )
    result.assert_outcomes(passed=3)


def test_the_marker_must_set_clock_config_seed_and_users(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        pytestmark = pytest.mark.mock_relay(clock="frozen", seed=7)
        seen = []

        @pytest.mark.mock_relay(config={"integrity": "require"}, users=["alice"])
        def test_merged(mock_relay):
            assert mock_relay.control("GET", "/admin/clock")["mode"] == "frozen"
            assert mock_relay.control("GET", "/admin/config")["integrity"] == "require"
            assert [user["name"] for user in mock_relay.control("GET", "/admin/users")] == ["alice"]
            seen.append(mock_relay.user("alice").address)

        @pytest.mark.mock_relay(clock="real")
        def test_the_closest_wins(mock_relay):
            assert mock_relay.control("GET", "/admin/clock")["mode"] == "real"
            assert mock_relay.user("alice").address == seen[0], "the same seed and name"
        """,
    )
    result.assert_outcomes(passed=2)


def test_without_a_seed_it_must_follow_from_the_tests_name(pytester: pytest.Pytester) -> None:
    source = """
        def test_one(mock_relay):
            print("address", mock_relay.user("alice").address)

        def test_other(mock_relay):
            print("address", mock_relay.user("alice").address)
        """
    runs = [[line for line in run(pytester, source, "-s").outlines if "address" in line] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len({line.split("address")[1] for line in runs[0]}) == 2


def test_a_failure_must_show_the_misses_and_the_journal(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from tests.plugin.plugin_support import app

        def test_fails(mock_relay):
            bob = mock_relay.user("bob")
            with app(mock_relay.user("alice")) as alice:
                alice.message(bob.address)
                alice.until("MESSAGE_ACK")
            mock_relay.verify(event="frame_in", type="MESSAGE_SEND", user="bob")

        def test_passes(mock_relay):
            mock_relay.user("alice")
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*VerificationFailed: expected exactly 1 journal entry matching*found 0",
            '*user: wanted "bob", got "alice"',
            "*- mock relay journal -*",
            "*frame_in MESSAGE_SEND*alice*",
        ]
    )
    assert len([line for line in result.outlines if "mock relay journal" in line]) == 1


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("clok='frozen'", "takes clock, config, seed, users: 'clok' is none"),
        ("'frozen'", "takes clock, config, seed, users: name them"),
        ("config={'integrety': 'require'}", "*`integrity`*"),
        ("clock='stopped'", "*clock*"),
    ],
)
def test_a_wrong_marker_must_be_told_in_one_line(pytester: pytest.Pytester, marker: str, said: str) -> None:
    result = run(
        pytester,
        f"""
        import pytest

        @pytest.mark.mock_relay({marker})
        def test_it(mock_relay):
            pass
        """,
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*mark mock_relay*{said}*"])
    assert "Traceback" not in result.stdout.str()


def test_it_must_work_under_xdist(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from tests.plugin.plugin_support import app

        @pytest.mark.parametrize("number", range(4))
        def test_alone(mock_relay, number):
            with app(mock_relay.user("alice")):
                mock_relay.journal.wait_for(type="AUTH_RESPONSE", user="alice")

        def test_fails(mock_relay):
            mock_relay.user("alice")
            mock_relay.verify(type="MESSAGE_SEND")
        """
    )
    result = pytester.runpytest_subprocess(*PLUGIN, "-n", "2", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*- mock relay journal -*", "*add_user*"])


def test_an_asynchronous_test_must_keep_its_own_loop(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import asyncio
        import pytest
        from websockets.asyncio.client import connect

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_async(mock_relay):
            waiting = asyncio.create_task(mock_relay.journal.wait_for_async(type="AUTH_CHALLENGE"))
            async with connect(mock_relay.user("alice").url, subprotocols=["zentalk.v1"], proxy=None) as ws:
                assert "AUTH_CHALLENGE" in await ws.recv()
                assert (await waiting)[0]["event"] == "frame_out"

        def test_no_loop_is_left_in_this_thread(mock_relay):
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_suite_that_does_not_use_it_must_pay_for_nothing(pytester: pytest.Pytester) -> None:
    script = (
        "import pytest, sys\nbefore = set(sys.modules)\nimport mockrelay.pytest_plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded == "['mockrelay', 'mockrelay.pytest_plugin']\n"
    pytester.makepyfile(
        """
        import sys

        def test_unused(pytestconfig):
            assert "mockrelay.pytest_plugin" in sys.modules
            assert not {"mockrelay.server", "mockrelay.testing", "nacl"} & set(sys.modules)
            assert not pytestconfig.pluginmanager.has_plugin("mockrelay-reporter")
        """
    )
    pytester.runpytest_subprocess(*PLUGIN, "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_help_must_list_fixture_and_marker(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*PLUGIN, "--fixtures", "--markers", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*pytest.mark.mock_relay(clock='real'|'frozen'*"])
    result = pytester.runpytest_inprocess(*PLUGIN, "--fixtures", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["mock_relay *", "*A relay for this test alone*"])
