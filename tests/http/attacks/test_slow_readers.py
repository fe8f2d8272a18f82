"""Streams that nobody reads: they keep little, delay nobody, are cut off, and are taken up again without a gap."""

import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from pgfleet.producers.http.health.metrics import STREAMS
from pgfleet.producers.http.limits.patience import PatientProtocol
from worlds.api.server import Api
from worlds.fleet import until
from worlds.network.raw import connected, head

MIB = 1024 * 1024
SLOW = 8
# More than the system's own buffers hold.
MADE = """
  insert into public.reservations
    (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at, current_detailed_status)
  select format('r%%s', n), 'ada', 'pending', 't4', 1, 4, now(), repeat('x', 8000) from generate_series(1, %s) n
"""
MANY = 1200


@dataclass
class Reader:
    """A stream on a connection of its own, read when the test says so."""

    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)

    def read(self) -> bool:
        """Whether there may be more."""
        try:
            more = self.connection.recv(MIB)
        except ConnectionResetError:
            return False
        self.received += more
        return bool(more)

    @property
    def blocks(self) -> list[dict[str, str]]:
        """Those that are here to their end."""
        whole = bytes(self.received).partition(b"\r\n\r\n")[2]
        text = b"".join(_chunks(whole)).decode()
        return [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.split("\n\n")[:-1]]

    @property
    def ids(self) -> list[str]:
        return [block["id"] for block in self.blocks if "id" in block]

    @property
    def events(self) -> list[str]:
        """Their positions."""
        return [block["id"] for block in self.blocks if "id" in block and "data" in block]


def _chunks(body: bytes) -> Iterator[bytes]:
    while b"\r\n" in body:
        size, _, body = body.partition(b"\r\n")
        if len(body) < int(size, 16) + 2:
            return
        yield body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]


@contextmanager
def opened(api: Api, *, after: str | None = None, receive_bytes: int | None = None) -> Iterator[Reader]:
    """A stream that has begun."""
    back = [] if after is None else [f"Last-Event-ID: {after}"]
    with connected(api.url, receive_bytes=receive_bytes) as connection:
        reader = Reader(connection)
        connection.sendall(head("GET /v1/events", f"Authorization: Bearer {api.key_of('ada')}", *back))
        while not reader.ids:
            assert reader.read(), bytes(reader.received)
        yield reader


def read_to(reader: Reader, position: str) -> None:
    while f"id: {position}\n".encode() not in reader.received:
        assert reader.read()


def last_position(api: Api) -> str:
    row = api.conn.execute(
        "select format('%s.%s.%s', timeline, xact_id, history_id) from public.status_history order by history_id desc"
    ).fetchone()
    assert row is not None
    return str(row[0])


def streams_open() -> float:
    return next(iter(STREAMS.collect())).samples[0].value


def test_streams_that_nobody_reads_keep_little_and_delay_nobody(api: Api) -> None:
    """Who reads has all of it while the others are still there; each of those would be 10 MB."""
    with ExitStack() as held, opened(api) as quick:
        for _ in range(SLOW):
            held.enter_context(opened(api, receive_bytes=4096))
        tracemalloc.start()
        held.callback(tracemalloc.stop)
        api.conn.execute(MADE, (MANY,))
        read_to(quick, last_position(api))
        received = len(quick.received)
        _, most = tracemalloc.get_traced_memory()

    assert received > MANY * 8000
    assert most < 5 * received, f"{most / MIB:.0f} MiB"


def test_a_stream_that_nobody_reads_is_cut_off_and_goes_on_by_its_last_id(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a gap or a double, though what was on its way is lost in the middle of an event."""
    monkeypatch.setattr(PatientProtocol, "taken_s", 0.3)
    with opened(api, receive_bytes=4096) as slow:
        api.conn.execute(MADE, (MANY,))
        until(lambda: streams_open() == 0, what="the end of the stream")
        while slow.read():
            pass

    with opened(api, after=slow.ids[-1]) as again:
        read_to(again, last_position(api))

    listed = api.conn.execute(
        "select format('%s.%s.%s', timeline, xact_id, history_id) from public.status_history order by history_id"
    ).fetchall()
    assert 0 < len(slow.events) < MANY
    assert slow.events + again.events == [position for (position,) in listed]
