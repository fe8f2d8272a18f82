"""Chromium as the system has it, which writes down what a page complains of, and a fleet with a worker."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pgfleet.console.sandbox.box import Box
from worlds.fleet import PATIENCE_S, worker_process
from worlds.web.site import Site, site_on

CHROMIUM = "/usr/bin/chromium"


@dataclass
class Window:
    """One page that somebody has open; `complaints` are errors of its scripts, of the console and of its policy."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def sign_in(self, key: str) -> None:
        """As the link of `pgfleet up` does."""
        self.page.goto(f"{self.url}/sign-in#key={key}")
        self.page.wait_for_url(f"{self.url}/")

    def to(self, path: str) -> None:
        self.page.goto(self.url + path)


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
def window(chromium: Browser, site: Site) -> Iterator[Window]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    made = Window(page, site.api.url)

    def heard(message: Any) -> None:
        if message.type in ("error", "warning"):
            made.complaints.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: made.complaints.append(str(error)))
    yield made
    context.close()
