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
