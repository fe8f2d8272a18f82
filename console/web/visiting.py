"""A visit: the cookie of a session becomes the proof that the API wants, and what its desk answers becomes a page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from pgfleet.console.web import safety
from pgfleet.console.web.failing import html, page_of, sent_on
from pgfleet.console.web.look.frame import Around, framed
from pgfleet.console.web.page import Page, Screen, View
from pgfleet.producers.http.answering import Asked, Found
from pgfleet.producers.http.application import Ground, asked_in
from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.health.metrics import ENDPOINT
from pgfleet.producers.http.problem import problem

SIGN_IN = "/sign-in"
READS = ("GET", "HEAD")


def around_of(request: Request) -> Around:
    headers = request.headers
    query = f"?{request.url.query}" if request.url.query else ""
    here = request.url.path + query if request.method in READS else "/"
    return Around(safety.theme_in(headers), safety.said_in(headers), here)


async def proven(request: Request, ground: Ground) -> Asked | None:
    """The request as the API takes it, with the session's key as its proof; None where there is no session.

    Nothing else of it is proof: a browser adds no Authorization header by itself. A field of a filter that is left
    empty is no condition.
    """
    asked = await asked_in(request, ground.desk)
    key = safety.session_in(asked.headers)
    if key is None:
        return None
    kept = {name: asked.headers[name] for name in ("cookie", "user-agent") if name in asked.headers}
    query = b"&".join(each for each in asked.query.split(b"&") if not each.endswith(b"="))
    return replace(asked, query=query, headers={**kept, "authorization": f"Bearer {key}"})


async def answered(ground: Ground, endpoint: Endpoint, asked: Asked) -> Response:
    """What the desk answers: proof, limits, permission and audit are the API's own."""
    call: Callable[[], Found] = partial(ground.desk.answer, endpoint, asked)
    found = await ground.crowd.in_thread(call)
    if isinstance(found, Response):
        return found
    raise TypeError(f"{endpoint.name} is answered later, and no page waits for that")


def to_sign_in(request: Request, ground: Ground) -> Response:
    """Where somebody without a session goes, and comes back from; one that has ended is dropped."""
    here = around_of(request).here
    response = sent_on(SIGN_IN if here == "/" else f"{SIGN_IN}?next={quote(here, safe='')}")
    safety.drop_session(response, secure=safety.is_https(request, ground.desk.serving))
    return response


@dataclass(frozen=True)
class Shown:
    """One page's address; `live` is where its stream is, if it has one."""

    page: Page
    menu: tuple[Page, ...]
    ground: Ground

    async def __call__(self, request: Request) -> Response:
        if request.method not in READS:
            refused = problem(
                405, "method-not-allowed", "This is a page, and only read.", headers={"Allow": "GET, HEAD"}
            )
            return page_of(refused, around_of(request))
        around = around_of(request)
        endpoint = self.page.endpoint(partial(self._written, around=around))
        request.scope[ENDPOINT] = endpoint.name
        asked = await proven(request, self.ground)
        if asked is None:
            return to_sign_in(request, self.ground)
        found = await answered(self.ground, endpoint, asked)
        if found.status_code == HTTPStatus.UNAUTHORIZED:
            return to_sign_in(request, self.ground)
        if found.status_code != HTTPStatus.OK:
            return page_of(found, around, asked=endpoint)
        response = html(bytes(found.body), headers=_limits(found.headers))
        if around.said is not None and not self.page.is_fragment:
            response.delete_cookie(safety.SAID, path="/")
        return response

    def _written(self, view: View, screen: Screen, around: Around) -> bytes:
        if self.page.is_fragment:
            return "".join(part.html() for part in screen.parts).encode("utf-8", "replace")
        live = f"/live{around.here}" if self.page.machines else None
        return framed(self.page, screen.title, screen.parts, view.call.principal, self.menu, around, live)


def _limits(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith(("ratelimit", "server-timing"))}
