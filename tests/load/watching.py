"""Open pages of the dashboard, all in one thread: what came to each of them, and when its last byte was here."""

import asyncio
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from worlds.api.program import head_of, opened

FORM = {"Sec-Fetch-Site": "same-origin"}


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


def signed_in(api: HasUrl, key: str) -> str:
    """The cookie of a session that begins with a key."""
    with httpx.Client(base_url=api.url, timeout=60, trust_env=False) as http:
        answer = http.post("/sign-in", data={"key": key}, headers=FORM)
        assert answer.status_code == 303, answer.text
        return "; ".join(f"{name}={value}" for name, value in http.cookies.items())


@dataclass(eq=False)
class Open:
    """One page that somebody has open; like a browser, it comes back when it is cut off.

    Attributes:
        mark: what a change is known by; the group is its number.
        seen: when each number was first here, in seconds of the clock.
        told: events with a name, and when they came.
        times: how often the stream was opened.
    """

    path: str
    cookie: str
    mark: re.Pattern[bytes]
    seen: dict[int, float] = field(default_factory=dict)
    told: list[tuple[str, float]] = field(default_factory=list)
    messages: int = 0
    received: int = 0
    times: int = 0

    async def look(self, port: int) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._until_cut_off(port)
            await asyncio.sleep(1)

    async def _until_cut_off(self, port: int) -> None:
        reader, writer = await opened(port, f"GET /live{self.path}", "", headers={"Cookie": self.cookie})
        try:
            status, _ = await head_of(reader)
            assert status in {200, 503}, (self.path, status)
            self.times += status == 200
            while status == 200 and (message := await _chunk(reader)):
                self._take(message, time.time())
        finally:
            writer.close()

    def _take(self, message: bytes, now: float) -> None:
        self.messages += 1
        self.received += len(message)
        if message.startswith(b"event: "):
            self.told.append((message[7 : message.index(b"\n")].decode(), now))
        for found in self.mark.finditer(message):
            self.seen.setdefault(int(found[1]), now)

    def has_heard(self, event: str, since: float) -> bool:
        return any(name == event and at >= since for name, at in self.told)


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    """One message, whole; empty at the end of the stream."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:size]
