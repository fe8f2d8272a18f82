"""Public SSH keys as GitHub serves them: the same made-up keys for a user every time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re

from aiohttp import web

PREFIX = "/ssh-keys/"
FILE = re.compile(r"^([A-Za-z0-9](?:[A-Za-z0-9-]{0,38}))\.keys$")
KEYS_PER_USER = 2


async def ssh_keys(path: str, slow_s: float) -> web.Response:
    """`nobody...` is unknown, `nokeys...` has none, `slow...` is answered after `slow_s`."""
    found = FILE.match(path.removeprefix(PREFIX))
    user = found[1].lower() if found else ""
    if not user or user.startswith("nobody"):
        return web.Response(text="Not Found", status=404)
    if user.startswith("nokeys"):
        return web.Response(text="")
    if user.startswith("slow"):
        await asyncio.sleep(slow_s)
    return web.Response(text="".join(_key(user, number) + "\n" for number in range(KEYS_PER_USER)))


def _key(user: str, number: int) -> str:
    public = hashlib.sha256(f"{user}/{number}".encode()).digest()
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", public))
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"
