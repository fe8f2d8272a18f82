"""Requests a second that one process of `pgfleet serve` answers, what each costs, and how long each takes.

Each POST is a row and a message afterwards, and each GET is checked to be what was asked for.
"""

import json
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psutil  # type: ignore[import-untyped]
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier, Literal

from bench import database
from bench.drain import process
from bench.figures import percentiles_ms
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.queue.kernel import Connection

# A connection and a user each: rows of one user at once wait for one another.
CLIENTS = 16
PAGE = 50
DEADLINE_S = 60
# What one principal may ask is not what is measured.
UNBOUND = {"PGFLEET_REQUESTS_PER_S": "1000000", "PGFLEET_REQUESTS_BURST": "1000000", "PGFLEET_LOG_LEVEL": "warning"}
ROWS = """
set session_replication_role = replica;
insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)
select gen_random_uuid(), 'user-' || u, 'active', 'h100', 1, 4, now() - n * interval '1 second'
from generate_series(0, %(users)s - 1) u, generate_series(1, %(page)s) n;
reset session_replication_role;
vacuum analyze public.reservations
"""
MADE = """
select count(*), count(q.msg_id), count(distinct q.msg_id)
from public.reservations r
left join pgmq.q_gpu_reservations q on q.message ->> 'reservation_id' = r.reservation_id::text
where r.reservation_id::text = any(%s)
"""


@dataclass(frozen=True)
class Way:
    """A sort of request: `made` writes one for a client, `check` looks at its answer."""

    number: int
    made: Callable[["Client"], bytes]
    check: Callable[["Client", Any], object]


@dataclass
class Client:
    """One user on one connection that is kept."""

    user: str
    key: str
    rows: list[str]
    port: int
    accepted: list[str] = field(default_factory=list)
    asked: str = ""
    _socket: socket.socket | None = None
    _left: bytes = b""

    def ask(self, request: bytes, check: Callable[["Client", Any], object]) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        status, body = self._answer(self._socket)
        assert status in {200, 202}, (status, body)
        check(self, json.loads(body))

    def head(self, line: str, length: int = 0) -> bytes:
        more = f"Content-Type: application/json\r\nContent-Length: {length}\r\n" if length else ""
        return f"{line} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {self.key}\r\n{more}\r\n".encode()

    def _answer(self, connection: socket.socket) -> tuple[int, bytes]:
        received = self._left
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _more(connection)
        lines = received[:end].decode().lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        while len(received) < end + 4 + length:
            received += _more(connection)
        self._left = received[end + 4 + length :]
        return int(lines[0].split()[1]), received[end + 4 : end + 4 + length]


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    assert received, "the server has closed the connection"
    return received


def _get(client: Client) -> bytes:
    client.asked = secrets.choice(client.rows)
    return client.head(f"GET /v1/reservations/{client.asked}")


def _is_row(client: Client, body: Any) -> None:
    assert body["reservation_id"] == client.asked, body


def _page(client: Client) -> bytes:
    return client.head(f"GET /v1/keys?limit={PAGE}")


def _is_page(_: Client, body: Any) -> None:
    assert len(body["items"]) == PAGE, len(body["items"])


def _post(client: Client) -> bytes:
    body = json.dumps({"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}).encode()
    return client.head("POST /v1/reservations", len(body)) + body


def _is_accepted(client: Client, body: Any) -> None:
    client.accepted.append(body["id"])


def measure(*, reads: int = 6_000, pages: int = 3_000, writes: int = 4_000, rounds: int = 3) -> dict[str, Any]:
    """Medians of the rates of each way, alternating; then how long each takes at half of its rate."""
    ways = {
        "get": Way(reads, _get, _is_row),
        "page": Way(pages, _page, _is_page),
        "post": Way(writes, _post, _is_accepted),
    }
    with database.temporary() as dsn, open_session(dsn, autocommit=True) as conn, _login(conn, dsn) as own:
        known = _people(conn)
        with _serving(own) as (port, server):
            clients = [Client(user, key, rows, port) for user, key, rows in known]
            for way in ways.values():
                _closed(clients, way, CLIENTS * 20)
            found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, way in ways.items():
                    found[name].append(_timed(conn, server, clients, way))
            figures: dict[str, Any] = {"bench": "api"}
            for name, rates in found.items():
                figures |= _told(name, rates)
                half = figures[f"{name}_per_s"] / 2
                figures |= percentiles_ms(f"{name}_at_half", _paced(clients, ways[name], half))
            _verify(conn, clients)
        return {**figures, "where": database.where(dsn)}


def _told(name: str, rates: list[tuple[float, float, float]]) -> dict[str, int]:
    per_s, api_us, postgres_us = (round(median(each)) for each in zip(*rates, strict=True))
    return {f"{name}_per_s": per_s, f"{name}_api_cpu_us": api_us, f"{name}_postgres_cpu_us": postgres_us}


def _timed(conn: Connection, server: psutil.Process, clients: list[Client], way: Way) -> tuple[float, float, float]:
    """Requests a second, and microseconds of CPU of each: of the process that answers, and of Postgres."""
    before = sum(server.cpu_times()[:2]), database.server_cpu_s(conn)
    took_s = _closed(clients, way, way.number)
    after = sum(server.cpu_times()[:2]), database.server_cpu_s(conn)
    api, postgres = ((late - early) / way.number * 1e6 for early, late in zip(before, after, strict=True))
    return way.number / took_s, api, postgres


def _closed(clients: list[Client], way: Way, number: int) -> float:
    """Each client asks as soon as it is answered; the seconds until all have been."""
    each = number // len(clients)

    def work(client: Client) -> None:
        for _ in range(each):
            client.ask(way.made(client), way.check)

    return _at_once(clients, work)


def _paced(clients: list[Client], way: Way, per_s: float) -> list[float]:
    """Milliseconds from when each should have been asked, whatever held up the one before."""
    each = way.number // len(clients) // 2
    step_s, begin_s = len(clients) / per_s, time.perf_counter() + 0.1
    waited: list[float] = []

    def work(client: Client) -> None:
        first_s = begin_s + clients.index(client) / per_s
        for number in range(each):
            due_s = first_s + number * step_s
            time.sleep(max(0.0, due_s - time.perf_counter()))
            client.ask(way.made(client), way.check)
            waited.append((time.perf_counter() - due_s) * 1000)

    _at_once(clients, work)
    return waited


def _at_once(clients: list[Client], work: Callable[[Client], None]) -> float:
    failed: list[BaseException] = []

    def guarded(client: Client) -> None:
        try:
            work(client)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=guarded, args=(client,)) for client in clients]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    return time.perf_counter() - began_s


def _verify(conn: Connection, clients: list[Client]) -> None:
    """What was accepted is a row and one message each."""
    ids = [row_id for client in clients for row_id in client.accepted]
    made = conn.execute(MADE, (ids,)).fetchone()
    assert made == (len(ids), len(ids), len(ids)), (made, len(ids))
    assert len(set(ids)) == len(ids)


def _people(conn: Connection) -> list[tuple[str, str, list[str]]]:
    conn.execute("select public.switch_row_level_security(false)")
    for statement in ROWS.strip().split(";\n"):
        conn.execute(statement.encode(), {"users": CLIENTS, "page": PAGE} if "%(" in statement else None)
    known = []
    for number in range(CLIENTS):
        user = f"user-{number}"
        accounts.add(conn, f"{user}@example.org", username=user)
        made = [keys.make(conn, user, hours=2) for _ in range(PAGE)]
        rows = conn.execute(
            "select reservation_id::text from public.reservations where user_id = %s", (user,)
        ).fetchall()
        known.append((user, made[0].key, [row_id for (row_id,) in rows]))
    return known


@contextmanager
def _login(conn: Connection, dsn: str) -> Iterator[str]:
    """The DSN of a login with the rights of `pgfleet serve` and no more."""
    name, password = f"bench_{uuid.uuid4().hex[:8]}", secrets.token_urlsafe(16)
    conn.execute(
        SQL("create role {} login password {} in role pgfleet_serve").format(Identifier(name), Literal(password))
    )
    try:
        yield make_conninfo(dsn, user=name, password=password)
    finally:
        conn.execute(SQL("drop role {}").format(Identifier(name)))


@contextmanager
def _serving(dsn: str) -> Iterator[tuple[int, psutil.Process]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [sys.executable, "-c", "from pgfleet.console import main; main()", "serve", "--port", str(port)]
    environment: Mapping[str, str] = {"DATABASE_URL": dsn, **UNBOUND}
    with process(command, environment) as server:
        deadline_s = time.monotonic() + DEADLINE_S
        while not _listens(port):
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < deadline_s, "the server does not listen"
            time.sleep(0.05)
        yield port, psutil.Process(server.pid)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
