"""`/livez` and `/readyz`, for whoever asks: they need no proof, cost no session and are in no audit."""

from http import HTTPStatus

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgfleet.producers.http.health.readiness import Readiness


def probes(readiness: Readiness) -> list[Route]:
    """Coroutines, as what is none would be run in a thread of those who answer."""

    async def livez(_: Request) -> Response:
        await anyio.lowlevel.checkpoint()
        return _said([])

    async def readyz(_: Request) -> Response:
        await anyio.lowlevel.checkpoint()
        # Why is for the port of operators: it may name hosts and logins.
        return _said([lack.what for lack in readiness.lacks()])

    return [Route("/livez", livez), Route("/readyz", readyz)]


def _said(lacking: list[str]) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if lacking else HTTPStatus.OK
    text = "\n".join(dict.fromkeys(lacking or ["ok"])) + "\n"
    return Response(text, status, {"Cache-Control": "no-store"}, "text/plain; charset=utf-8")
