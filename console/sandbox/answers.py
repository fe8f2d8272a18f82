"""HTTP answers with JSON bodies."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

JSON_HEADERS = {"Content-Type": "application/json"}


def answer(document: Any, code: int = 200) -> web.Response:
    return encoded(orjson.dumps(document), code)


def encoded(raw: bytes, code: int = 200) -> web.Response:
    return web.Response(body=raw, status=code, headers=JSON_HEADERS)
