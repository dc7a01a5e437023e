"""One relay and one browser a module; a space and a page a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from mockrelay.http.inspector_routes import inspector_url
from mockrelay.testing import RelaySpace
from tests.inspector.inspector_support import PATIENCE_S, LiveRelay, chromium, opened, watched

expect.set_options(timeout=1000 * PATIENCE_S)


@pytest.fixture(scope="module")
def relay() -> Iterator[LiveRelay]:
    found = LiveRelay()
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def space(relay: LiveRelay) -> Iterator[RelaySpace]:
    found = relay.space("alice", "bob")
    yield found
    found.close()


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    """A watched page that shows nothing yet."""
    with watched(browser) as page:
        yield page


@pytest.fixture
def page(blank: Page, space: RelaySpace) -> Page:
    """The space's inspector."""
    return opened(blank, inspector_url(space.http_url, space.admin_token))
