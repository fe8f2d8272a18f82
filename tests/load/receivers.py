"""Receivers of events in a process of their own: what came, when, and what was answered is in a file for each.

A line of it: seconds since 1970, the answer's status, the webhook-id, and the numbers of the moves with commas.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TextIO

from worlds.fleet import REPOSITORY

SLOW_S = 3.0
NUMBER = re.compile(rb'"specversion":"1.0","id":"(\d+)"')
WEBHOOK_ID = re.compile(rb"webhook-id: (\S+)", re.IGNORECASE)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Delivery:
    """A batch, and whether it was taken."""

    at: float
    status: int
    webhook_id: str
    numbers: list[int]


@dataclass(frozen=True)
class Receivers:
    """`urls` by what each is called: `quick-1`, `slow-1`, `half-1`."""

    folder: Path
    urls: dict[str, str]

    def deliveries(self, name: str) -> list[Delivery]:
        """All of them, in the order in which they came; not the line that is being written."""
        found = []
        for line in (self.folder / name).read_text(encoding="ascii").split("\n")[:-1]:
            at, status, webhook_id, numbers = line.split(" ")
            found.append(Delivery(float(at), int(status), webhook_id, [int(number) for number in numbers.split(",")]))
        return found

    def lines(self) -> int:
        """How many deliveries there were, to all of them."""
        return sum((self.folder / name).read_bytes().count(b"\n") for name in self.urls)


@contextmanager
def receivers(folder: Path, names: list[str]) -> Iterator[Receivers]:
    command = [sys.executable, __file__, str(folder), *names]
    environment = {"PYTHONPATH": str(REPOSITORY / "tests")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        try:
            yield Receivers(folder, {name: f"http://127.0.0.1:{port}/hook" for name, port in ports.items()})
        finally:
            process.kill()


async def receive(name: str, file: TextIO) -> int:
    """Take what comes; the port."""
    numbers = count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(_of(LENGTH, head)))
                at = time.time()
                status = 500 if name.startswith("half") and next(numbers) % 2 else 200
                if name.startswith("slow"):
                    await asyncio.sleep(SLOW_S)
                moves = b",".join(NUMBER.findall(body)).decode()
                file.write(f"{at} {status} {_of(WEBHOOK_ID, head).decode()} {moves}\n")
                file.flush()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    port: int = server.sockets[0].getsockname()[1]
    return port


def _of(pattern: re.Pattern[bytes], head: bytes) -> bytes:
    found = pattern.search(head)
    assert found is not None, head
    return found[1]


async def main(folder: Path, names: list[str]) -> None:
    files = {name: (folder / name).open("w", encoding="ascii") for name in names}
    ports = {name: await receive(name, file) for name, file in files.items()}
    print(json.dumps(ports), flush=True)  # noqa: T201  # for whoever has started it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
