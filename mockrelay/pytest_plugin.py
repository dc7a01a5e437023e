"""The pytest fixture ``mock_relay``: a Zentalk relay of its own for each test, served by one process-wide server.

    def test_app(mock_relay):
        alice = mock_relay.user("alice")
        start_my_app(alice.url)
        mock_relay.journal.wait_for(type="AUTH_RESPONSE", user="alice")

``@pytest.mark.mock_relay(clock="frozen", config={…}, seed=7, users=["alice"])`` sets the space up; markers of class
and module count too, the closest wins. Its law: a suite that does not use the fixture pays for nothing: only pytest is
imported here, no hook is called for each test until the fixture is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mockrelay.testing import RelayServer, RelaySpace

_OPTIONS = ("clock", "config", "seed", "users")
_REPORTER = "mockrelay-reporter"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "mock_relay(clock='real'|'frozen', config={...}, seed=int, users=[...]): how the mock_relay fixture is set up",
    )


@pytest.fixture(scope="session")
def mock_relay_server(pytestconfig: pytest.Config) -> Iterator[RelayServer]:
    """The one relay server of this process (of each worker with pytest-xdist), in a thread of its own."""
    from mockrelay.testing import RelayServer

    reporter = _Reporter()
    pytestconfig.pluginmanager.register(reporter, _REPORTER)
    try:
        with RelayServer() as server:
            yield server
    finally:
        pytestconfig.pluginmanager.unregister(reporter)


@pytest.fixture
def mock_relay(request: pytest.FixtureRequest, mock_relay_server: RelayServer) -> Iterator[RelaySpace]:
    """A relay for this test alone, with ``ws_url``, ``user(name)``, ``rules``, ``clock``, ``journal``, ``bots``.

    Without a ``seed`` it follows from the test's name, so that keys and addresses are the same at every run.
    """
    from mockrelay.testing import ControlError

    options = _options(request.node)
    options.setdefault("seed", _seed_of(request.node.nodeid))
    try:
        space = mock_relay_server.space(**options)
    except ControlError as error:
        pytest.fail(f"mark mock_relay: {error}", pytrace=False)
    try:
        yield space
    finally:
        space.close()


def _options(node: pytest.Item) -> dict[str, Any]:
    """What the markers say, the closest one winning."""
    options: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers("mock_relay"))):
        unknown = [name for name in marker.kwargs if name not in _OPTIONS]
        if marker.args or unknown:
            wrong = f"{unknown[0]!r} is none" if unknown else "name them"
            pytest.fail(f"mark mock_relay takes {', '.join(_OPTIONS)}: {wrong}", pytrace=False)
        options.update(marker.kwargs)
    return options


def _seed_of(nodeid: str) -> int:
    from zlib import crc32

    return crc32(nodeid.encode())


class _Reporter:
    """Adds the journal to the report of a test that failed."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """See pytest."""
        report = yield
        space = getattr(item, "funcargs", {}).get("mock_relay")
        if report.failed and report.when == "call" and space is not None:
            report.sections.append(("mock relay journal", _journal_of(space)))
        return report


def _journal_of(space: RelaySpace) -> str:
    from mockrelay.testing import ControlError

    try:
        return space.journal_text()
    except ControlError as error:
        return f"cannot be read: {error}"
