from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from worlds.fleet import new_id, until
from worlds.web.site import Browser, Site

NEW = """
  insert into public.reservations (
    reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at, name)
  values (%s, %s, 'pending', 'h100', 1, 1, now(), %s)
"""
# Sessions of the dashboard's login, not the test's own.
END_ITS = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename <> current_user"


@contextmanager
def stream(browser: Browser, path: str) -> Iterator[Iterator[str]]:
    """Its messages, each as its lines; a silence of half a minute is an error."""
    with browser.http.stream("GET", f"/live{path}") as answer:
        assert answer.status_code == 200
        yield messages(answer.iter_lines())


def messages(lines: Iterator[str]) -> Iterator[str]:
    message: list[str] = []
    for line in lines:
        if line:
            message.append(line)
        elif message:
            yield "\n".join(message)
            message = []


def told(found: Iterator[str], word: str) -> str:
    return next(message for message in found if word in message)


def test_what_moves_comes_to_each_page_that_shows_it_and_as_each_may_see_it(site: Site) -> None:
    ops, ada, bob = site.signed_in("ops", "DEVOPS"), site.signed_in("ada"), site.signed_in("bob")

    with (
        stream(ops, "/reservations") as of_ops,
        stream(ada, "/reservations") as of_ada,
        stream(bob, "/reservations") as of_bob,
    ):
        first = [told(each, "part-list") for each in (of_ops, of_ada, of_bob)]
        site.api.conn.execute(NEW.encode(), (new_id(), "ada", "adas own"))
        shown = [told(each, "adas own") for each in (of_ops, of_ada)]
        site.api.conn.execute(NEW.encode(), (new_id(), "bob", "bobs own"))
        seen_by_bob = told(of_bob, "bobs own")

    assert all("adas own" not in message for message in first)
    assert all('<hx-partial hx-target="#part-list"' in message for message in shown)
    assert "adas own" not in seen_by_bob


def test_a_page_of_one_row_hears_nothing_of_others(site: Site) -> None:
    ada, mine, other = site.signed_in("ada"), new_id(), new_id()
    for row_id, name in ((mine, "mine"), (other, "other")):
        site.api.conn.execute(NEW.encode(), (row_id, "ada", name))

    with stream(ada, f"/reservations/{mine}") as found:
        told(found, "part-state")
        for row_id in (other, mine):
            site.api.conn.execute(
                "update public.reservations set status = 'cancelled' where reservation_id = %s", (row_id,)
            )
        message = told(found, "part-state")

    assert "cancelled" in message


def test_a_page_says_that_the_database_is_away_and_goes_on_by_itself(site: Site, dsn: str, server_dsn: str) -> None:
    ada, name = site.signed_in("ada"), psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]

    with stream(ada, "/") as found, psycopg.connect(server_dsn, autocommit=True) as admin:
        told(found, "part-types")
        admin.execute(f"alter database {name} allow_connections false".encode())
        admin.execute(END_ITS.encode(), (name,))
        away = told(found, "event: stale")
        page = ada.get("/reservations")
        admin.execute(f"alter database {name} allow_connections true".encode())
        back = told(found, "event: fresh")

    assert away
    assert page.status_code == 503
    assert 'http-equiv="refresh"' in page.text
    assert "tries again by itself" in page.text
    assert back
    assert until(lambda: ada.get("/reservations").status_code == 200)


def test_whoever_has_no_session_hears_nothing(site: Site) -> None:
    assert site.browser().get("/live/").status_code == 401
