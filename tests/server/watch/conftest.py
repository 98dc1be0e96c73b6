"""One browser for all pages."""

from collections.abc import Iterator

import pytest

from tests.support.browser import Browser, chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium; each tab has storage of its own."""
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started
