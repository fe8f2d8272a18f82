"""Chromium as the system has it, and a fleet with a worker."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from pgfleet.console.sandbox.box import Box
from worlds.fleet import worker_process
from worlds.web.site import Site, site_on
from worlds.web.window import Window, window_of

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def site(dsn: str, box: Box) -> Iterator[Site]:
    """The dashboard, with a worker of reservations and the cluster of its sandbox."""
    with site_on(dsn) as running, worker_process(dsn, box):
        yield running


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Callable[[str], Window]]:
    """Opens windows, which are closed at the end."""
    windows: list[Window] = []

    def open_one(url: str) -> Window:
        windows.append(window_of(chromium, url))
        return windows[-1]

    yield open_one
    for window in windows:
        window.page.context.close()


@pytest.fixture
def window(opened: Callable[[str], Window], site: Site) -> Window:
    return opened(site.api.url)
