"""`pgfleet serve` as a program of its own, that can be killed and started again, and users who ask it all at once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from worlds.fleet import until
from worlds.network.ports import free_port

UNBOUND = {
    "PGFLEET_REQUESTS_PER_S": "100000",
    "PGFLEET_REQUESTS_BURST": "1000000",
    "PGFLEET_STRANGERS_BURST": "1000",
    "PGFLEET_LOG_LEVEL": "debug",
}


@dataclass
class Program:
    """Where it listens, and what its processes have written so far, once they have ended."""

    dsn: str
    port: int
    more: Mapping[str, str]
    written: str = ""
    _process: subprocess.Popen[str] = field(init=False, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self._process.pid)

    def start(self) -> None:
        command = [sys.executable, "-c", "from pgfleet.console import main; main()", "serve", "--port", str(self.port)]
        environment = {**os.environ, **UNBOUND, "DATABASE_URL": self.dsn, **self.more}
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        until(self._answers, within_s=60, what="the API")

    def end(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self._process.poll() is None:
            self._process.send_signal(sign)
        self.written += self._process.communicate(timeout=60)[1]

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._process.communicate()[1]
        try:
            return httpx.get(f"{self.url}/openapi.json", timeout=5).is_success
        except httpx.TransportError:
            return False


@contextmanager
def program(dsn: str, **more: str) -> Iterator[Program]:
    made = Program(dsn, free_port(), more)
    made.start()
    try:
        yield made
    finally:
        made.end()


@dataclass(frozen=True)
class Told:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def asked(port: int, line: str, key: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Told:
    """One request on a connection of its own.

    Raises:
        OSError, asyncio.IncompleteReadError: there is no answer.
    """
    reader, writer = await opened(port, line, key, body, headers)
    try:
        status, said = await head_of(reader)
        return Told(status, said, await reader.readexactly(int(said.get("content-length", 0))))
    finally:
        writer.close()


async def opened(
    port: int, line: str, key: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which something was asked."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    content = b"" if body is None else json.dumps(body).encode()
    more = {"Host": "here", "Authorization": f"Bearer {key}", **(headers or {})}
    if content:
        more |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in more.items()), "", ""]
    writer.write("\r\n".join(lines).encode() + content)
    return reader, writer


async def head_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers
