"""A hub on the loop of a test, streams of it as a client reads them, and who listens."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from pgfleet.producers.http.events.hub import Hub
from pgfleet.producers.http.events.limits import BOUNDS, Bounds, Pace
from pgfleet.producers.http.events.streams import stream
from pgfleet.schema.asking import Role
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.filters import ALL, Filters
from pgfleet.schema.identity.principal import Principal, Proof
from worlds.fleet import PATIENCE_S

T = TypeVar("T")
ADA = Principal("ada", Role.USER, Proof.KEY)
OPERATOR = Principal("eve", Role.DEVOPS, Proof.KEY)
# Comes back at once, and looks at nobody anew.
QUICK = Pace(beat_s=0.05, check_s=3600, life_s=3600)


def always() -> bool:
    return True


@dataclass
class Client:
    """What one has received, as a browser understands it."""

    events: list[dict[str, Any]] = field(default_factory=list)
    last_id: str | None = None
    beats: int = 0
    retry_ms: int | None = None
    ended: dict[str, Any] | None = None

    @property
    def rows(self) -> list[str]:
        return [event["subject"] for event in self.events]

    @property
    def cursor(self) -> Cursor:
        assert self.last_id is not None
        return Cursor.parse(self.last_id)

    def take(self, frame: bytes) -> None:
        for block in frame.decode().split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in block.split("\n"))
            self.last_id = lines.get("id", self.last_id)
            self.beats += block.startswith(": ")
            self.retry_ms = int(lines["retry"]) if "retry" in lines else self.retry_ms
            if lines.get("event") == "end":
                self.ended = json.loads(lines["data"])
            elif "data" in lines:
                self.events.append(json.loads(lines["data"]))


@asynccontextmanager
async def hub_of(dsn: str, bounds: Bounds = BOUNDS, pace: Pace = QUICK) -> AsyncIterator[Hub]:
    with Pool(partial(open_session, dsn, autocommit=True), 2) as pool:
        hub = Hub(dsn, pool, bounds, pace)
        try:
            yield hub
        finally:
            await hub.stop()


@asynccontextmanager
async def listening(
    hub: Hub,
    principal: Principal = OPERATOR,
    cursor: Cursor | None = None,
    filters: Filters = ALL,
    still_valid: Callable[[], bool] = always,
) -> AsyncIterator[Client]:
    """A client that reads all that comes; where it begins now, from when it knows where."""
    client = Client()
    frames = await stream(hub, principal, cursor, filters, still_valid)

    async def read() -> None:
        async for frame in frames:
            client.take(frame)

    reading = asyncio.create_task(read())
    try:
        await until(lambda: client.last_id is not None or cursor is not None or reading.done())
        yield client
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def until(condition: Callable[[], T]) -> T:
    """As `worlds.fleet.until`, on a loop."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := condition()):  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.005)
        return found


def on_a_loop(call: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        return await call()

    return asyncio.run(run())
