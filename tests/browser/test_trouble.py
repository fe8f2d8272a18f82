from collections.abc import Callable

import psycopg
from playwright.sync_api import expect

from pgfleet.schema.identity import accounts, keys
from worlds.api.program import program
from worlds.fleet import PATIENCE_S
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


def test_the_main_way_needs_no_mouse(site_key: tuple[str, str], opened: Callable[[str], Window]) -> None:
    url, key = site_key
    window = opened(url)
    page = window.page
    window.to("/sign-in")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.get_by_label("API key").focus()
    page.keyboard.insert_text(key)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/")

    page.get_by_role("link", name="Reserve", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/reserve")
    page.get_by_label("Name", exact=True).focus()
    page.keyboard.insert_text("by keyboard")
    page.keyboard.press("Enter")

    expect(page.locator("h1")).to_have_text("by keyboard")
    assert window.complaints == []
