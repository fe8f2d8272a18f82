"""A window of a real browser, which writes down what a page complains of."""

from dataclasses import dataclass, field

from playwright.sync_api import Browser, ConsoleMessage, Page

from worlds.fleet import PATIENCE_S


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

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


def window_of(browser: Browser, url: str) -> Window:
    """A new one, that shares no cookie with another."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_S * 1000)
    made = Window(context.new_page(), url)
    made.page.on("console", made.hear)
    made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
    return made
