"""The dashboard's routes, beside those of the API: pages, their streams, forms, and what is loaded with them."""

from collections.abc import Awaitable, Callable, Iterable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pgfleet.console.web import assets, safety
from pgfleet.console.web.acting import Actions, form_of
from pgfleet.console.web.entering.oidc import BACK, Begins, Returns
from pgfleet.console.web.entering.session import ended
from pgfleet.console.web.entering.sign_in import OIDC, SignIn
from pgfleet.console.web.failing import page_of, sent_on
from pgfleet.console.web.found import pages
from pgfleet.console.web.live.board import Board
from pgfleet.console.web.live.stream import Stream
from pgfleet.console.web.look.buttons import ACTIONS
from pgfleet.console.web.page import Page
from pgfleet.console.web.visiting import SIGN_IN, Shown, around_of
from pgfleet.producers.http.application import Ground
from pgfleet.producers.http.problem import problem

A_YEAR_S = 365 * 86_400
Answering = Callable[[Request], Awaitable[Response]]


def site(ground: Ground) -> Iterable[BaseRoute]:
    """All that `made` of `producers/http/serving.py` serves beside the API."""
    board, listed = Board(ground), pages()
    shown = [Route(page.path, _endpoint(Shown(page, listed, ground))) for page in _in_order(listed)]
    live = [
        Route(f"/live{page.path}", _endpoint(Stream(page, board)), methods=["GET"])
        for page in _in_order(listed)
        if page.machines
    ]
    return [
        *assets.routes(),
        Route(SIGN_IN, _endpoint(SignIn(ground)), methods=["GET", "POST"]),
        Route(OIDC, _endpoint(Begins(ground)), methods=["GET"]),
        Route(BACK, _endpoint(Returns(ground)), methods=["GET"]),
        Route("/sign-out", _endpoint(lambda request: ended(request, ground)), methods=["POST"]),
        Route("/theme", _endpoint(lambda request: _theme(request, ground)), methods=["POST"]),
        Route(f"{ACTIONS}/{{operation}}", _endpoint(Actions(ground)), methods=["POST"]),
        *live,
        *shown,
        Route("/{rest:path}", _endpoint(_nothing), methods=["GET", "HEAD", "POST"]),
    ]


def _in_order(listed: Iterable[Page]) -> list[Page]:
    """Those with a name in their path after those without: `/reservations/new` is no id."""
    return sorted(listed, key=lambda page: page.path.count("{"))


def _endpoint(answer: Answering) -> Answering:
    """As a function, which Starlette awaits: of an object it would not know that it can be."""

    async def called(request: Request) -> Response:
        return await answer(request)

    return called


async def _theme(request: Request, ground: Ground) -> Response:
    form = form_of(await request.body())
    response = sent_on(safety.local_path(form.get("back")))
    if safety.is_own_form(request, ground.desk.serving):
        theme = form.get("theme", "")
        response.set_cookie(
            safety.THEME,
            theme if theme in ("light", "dark") else "",
            A_YEAR_S if theme else 0,
            httponly=True,
            samesite="lax",
        )
    return response


async def _nothing(request: Request) -> Response:
    """Of the API it is for the API to say."""
    if request.url.path.startswith("/v1"):
        raise HTTPException(404)
    return page_of(problem(404, "not-found", "There is no page at this address."), around_of(request))
