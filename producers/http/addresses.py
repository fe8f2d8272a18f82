"""Which endpoint an address is of: only those of its noun are looked at, as a path is compared with each in turn."""

import re
from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

# As RFC 9112, 3.2.2, has it: who takes us for a proxy.
_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class WithoutHost:
    """An ASGI middleware: of an address with scheme and host only the path counts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (found := _ABSOLUTE.match(scope["path"])):
            scope = {**scope, "path": scope["path"][found.end() :] or "/", "raw_path": None}
        await self.app(scope, receive, send)


class ByNoun(BaseRoute):
    """Routes `/v1/<noun>...`, in their order."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, list[Route]] = {}
        for route in routes:
            self._routes.setdefault(noun_of(route.path), []).append(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http":
            for route in self._routes.get(noun_of(scope["path"]), ()):
                match, child = route.matches(scope)
                if match is Match.FULL:
                    return match, child
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["endpoint"](scope, receive, send)


def noun_of(path: str) -> str:
    """`reservations` of `/v1/reservations/1/extend`, and of `/v1/reservations:dry-run`."""
    _, _, after = path.removeprefix("/").partition("/")
    return after.partition("/")[0].partition(":")[0]
