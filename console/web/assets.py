"""What the browser loads beside pages: a style, scripts, an icon; each at an address that its content names."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"


@cache
def files() -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}


@cache
def address(name: str) -> str:
    """Where a file is; another content has another address, so that nobody keeps an old one."""
    return f"/static/{sha256(files()[name]).hexdigest()[:12]}/{name}"


def routes() -> list[Route]:
    return [_route(name) for name in files()]


def _route(name: str) -> Route:
    content, kind = files()[name], TYPES[Path(name).suffix]

    async def answer(_: Request) -> Response:
        headers = {"Cache-Control": FOR_EVER, "X-Content-Type-Options": "nosniff"}
        return Response(content, headers=headers, media_type=kind)

    return Route(address(name), answer, methods=["GET"])
