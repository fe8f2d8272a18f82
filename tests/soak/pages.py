"""Pages and streams of events that stay open meanwhile, all in one thread; each comes back when it is cut off."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from load.watching import Open, signed_in
from soak.fleet import OPERATOR, PEOPLE, Fleet
from worlds.api.program import head_of, opened

LOOKS = [(OPERATOR, "/"), (OPERATOR, "/queues"), (OPERATOR, "/fleet"), (PEOPLE[0], "/reservations"), (PEOPLE[1], "/")]
STREAMS = [OPERATOR, PEOPLE[0]]
NOTHING = re.compile(rb"(?!)(\d)")


@dataclass(frozen=True)
class Address:
    """Where the API is, for those who open a page."""

    url: str
    port: int


@dataclass
class Stream:
    """One stream of events, and what has come so far."""

    key: str
    received: int = 0

    async def look(self, port: int) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await opened(port, "GET /v1/events", self.key)
                try:
                    await head_of(reader)
                    while some := await reader.read(65536):
                        self.received += len(some)
                finally:
                    writer.close()
            await asyncio.sleep(1)


@dataclass
class Pages:
    pages: list[Open] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)

    @property
    def received(self) -> int:
        return sum(page.received for page in self.pages) + sum(stream.received for stream in self.streams)

    @property
    def messages(self) -> int:
        return sum(page.messages for page in self.pages)

    def forget(self) -> None:
        """What names came and when is of no use here, and would grow."""
        for page in self.pages:
            page.told.clear()

    async def look(self, port: int, ended: asyncio.Event) -> None:
        tasks = [
            *(asyncio.create_task(page.look(port)) for page in self.pages),
            *(asyncio.create_task(stream.look(port)) for stream in self.streams),
        ]
        await ended.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def pages(fleet: Fleet) -> Iterator[Pages]:
    where = Address(fleet.url, fleet.port)
    cookies = {user: signed_in(where, fleet.api_keys[user]) for user, _ in LOOKS}
    made = Pages(
        [Open(path, cookies[user], NOTHING) for user, path in LOOKS],
        [Stream(fleet.api_keys[user]) for user in STREAMS],
    )
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(made.look(fleet.port, ended),), name="pages")
    thread.start()
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
