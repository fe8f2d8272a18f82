"""However many have a page open, it is rendered once for all who are shown the same."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import htpy as h
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from structlog.testing import capture_logs

from pgfleet.console.web.live import board
from pgfleet.console.web.live.board import LEAST_S, OTHERS_S, Board
from pgfleet.console.web.live.stream import Stream
from pgfleet.console.web.live.views import Shared
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.site import site
from pgfleet.producers.http.application import Ground
from web.test_live import NEW, stream, told
from worlds.api.server import api_on
from worlds.fleet import new_id, until
from worlds.web.site import Site


def showing(show: Callable[[View], Screen], least_s: float = LEAST_S) -> Callable[[Ground], Iterable[BaseRoute]]:
    """The site, and the stream of one more page."""
    page = Page("/counted", "C", "reservations.read", show, machines=frozenset({"reservation"}), every_s=3600)

    def beside(ground: Ground) -> Iterable[BaseRoute]:
        live = Stream(page, Board(ground, least_s))

        async def answered(request: Request) -> Response:
            return await live(request)

        return [Route("/live/counted", answered), *site(ground)]

    return beside


def test_what_two_see_alike_is_rendered_once_for_each_move(dsn: str) -> None:
    rendered: list[str] = []

    def counted(view: View) -> Screen:
        rendered.append(view.username)
        return Screen("Counted", [Part("count", h.p[f"rendering {len(rendered)}"])])

    with api_on(dsn, beside=showing(counted)) as api:
        seen = Site(api)
        browsers = [seen.signed_in(user, "DEVOPS") for user in ("ops", "eve")]
        with stream(browsers[0], "/counted") as one, stream(browsers[1], "/counted") as other:
            first = [told(each, "part-count") for each in (one, other)]
            api.conn.execute(NEW.encode(), (new_id(), "ada", "moves"))
            second = [told(each, "part-count") for each in (one, other)]
        seen.close()

    assert [f"rendering {number}" in each for number, both in ((1, first), (2, second)) for each in both] == [True] * 4
    assert len(rendered) == 2


def test_of_somebody_else_s_row_a_move_is_followed_as_well_and_later(dsn: str) -> None:
    """Its places and counts may be others then; nothing else would render the page again for an hour."""
    rendered: list[float] = []

    def counted(_: View) -> Screen:
        rendered.append(time.monotonic())
        return Screen("Counted", [Part("count", h.p[f"rendering {len(rendered)}"])])

    with api_on(dsn, beside=showing(counted)) as api:
        seen = Site(api)
        browser = seen.signed_in("ada")
        with stream(browser, "/counted") as hers:
            told(hers, "part-count")
            # When the feed is followed from is not known before: then all is rendered once more.
            time.sleep(OTHERS_S)
            before, moved_at = len(rendered), time.monotonic()
            api.conn.execute(NEW.encode(), (new_id(), "eve", "moves"))
            until(lambda: len(rendered) > before)
        seen.close()

    assert rendered[before] - moved_at >= OTHERS_S


def test_what_is_rendered_by_itself_is_not_counted_against_who_looks(dsn: str) -> None:
    """Somebody with many pages open may still press a button."""
    with api_on(dsn, beside=showing(_now, least_s=0), requests_per_s=0.001, requests_burst=5) as api:
        seen = Site(api)
        browser = seen.signed_in("ops", "DEVOPS")
        with stream(browser, "/counted") as one:
            told(one, "part-count")
            for number in range(10):
                api.conn.execute(NEW.encode(), (new_id(), "ada", f"moves {number}"))
                told(one, "part-count")
        seen.close()


def _now(view: View) -> Screen:
    return Screen("Counted", [Part("count", h.p[view.now.isoformat()])])


def test_a_fault_of_ours_is_told_in_the_log_and_the_page_goes_on(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "AGAIN_S", 0.1)
    show, faults = Shared.show, iter([ZeroDivisionError("a mistake of ours")])

    def faulty(shared: Shared, *given: Any) -> None:
        if (fault := next(faults, None)) is not None:
            raise fault
        show(shared, *given)

    monkeypatch.setattr(Shared, "show", faulty)
    with capture_logs() as logs, api_on(dsn, beside=showing(_now)) as api:
        seen = Site(api)
        browser = seen.signed_in("ops", "DEVOPS")
        with stream(browser, "/counted") as one:
            told(one, "part-count")
        seen.close()

    (line,) = (line for line in logs if line["event"] == "web.not_rendered")
    assert str(line["exc_info"]) == "a mistake of ours"
