from collections.abc import Callable

import psycopg
from playwright.sync_api import Page, expect

from pgfleet.schema.identity import accounts, keys
from web.test_live import NEW
from worlds.api.program import program
from worlds.fleet import PATIENCE_S, new_id
from worlds.web.site import Site
from worlds.web.window import Window

expect.set_options(timeout=PATIENCE_S * 1000)


def test_a_page_says_that_the_server_is_away_and_is_live_again_when_it_is_back(
    dsn: str, conn: psycopg.Connection[tuple[object, ...]], opened: Callable[[str], Window]
) -> None:
    accounts.add(conn, "ada@example.org", username="ada")
    with program(dsn) as served:
        window = opened(served.url)
        window.sign_in(keys.make(conn, "ada", hours=1).key)
        freshness = window.page.locator("#freshness")
        expect(freshness).to_be_hidden()

        served.end()
        expect(freshness).to_contain_text("does not answer")
        served.start()

        expect(freshness).to_be_hidden()


# What a browser tells a page that is behind others, and when it comes to the front.
BEHIND = "Object.defineProperty(Document.prototype, 'hidden', {get: () => !window.isSeen, configurable: true})"
TO_THE_FRONT = "window.isSeen = true; document.dispatchEvent(new Event('visibilitychange'))"
BEHIND_AGAIN = "window.isSeen = false; document.dispatchEvent(new Event('visibilitychange'))"
# A browser has six connections to a server; the pages that are open share them.
MANY = 8


def test_more_pages_than_a_browser_has_connections_may_be_open_behind_the_one_that_is_seen(
    site: Site, window: Window
) -> None:
    window.sign_in(site.api.key_of("ops", "DEVOPS"))
    window.page.context.add_init_script(BEHIND)
    pages = [_opened(window) for _ in range(MANY)]

    for page in pages:
        page.evaluate(TO_THE_FRONT)
        name = f"seen {new_id()}"
        site.api.conn.execute(NEW.encode(), (new_id(), "ops", name))
        expect(page.locator("#main")).to_contain_text(name)
        page.evaluate(BEHIND_AGAIN)


def _opened(window: Window) -> Page:
    page = window.page.context.new_page()
    page.goto(f"{window.url}/reservations")
    return page
