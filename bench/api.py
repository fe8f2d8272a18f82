"""Requests a second that one process of `pgfleet serve` answers, what each costs, and how long each takes.

Each POST is a row and a message afterwards, and each GET is checked to be what was asked for.
"""

import json
import re
import secrets
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from statistics import median
from typing import Any

import psutil  # type: ignore[import-untyped]
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier, Literal

from bench import database
from bench.asking import Client, Way, closed, paced
from bench.drain import process
from bench.figures import percentiles_ms
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.queue.kernel import Connection

# A connection and a user each: rows of one user at once wait for one another.
CLIENTS = 16
PAGE = 50
_RESERVATION = re.compile(rb'"reservation_id":"([^"]+)"')
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


@dataclass(frozen=True, slots=True)
class Timed:
    """Requests a second, and microseconds of CPU of each: of the process that answers, of Postgres, of who asks."""

    per_s: float
    api_cpu_us: float
    postgres_cpu_us: float
    client_cpu_us: float


COLUMNS = [column.name for column in fields(Timed)]


def _get(client: Client) -> bytes:
    client.asked = secrets.choice(client.rows)
    return client.head(f"GET /v1/reservations/{client.asked}")


def _is_row(client: Client, body: bytes) -> None:
    assert _ids(body) == [client.asked], body


def _page(client: Client) -> bytes:
    return client.head(f"GET /v1/reservations?limit={PAGE}")


def _is_page(client: Client, body: bytes) -> None:
    """Of the client's own rows alone."""
    assert len(_ids(body)) == body.count(f'"user_id":"{client.user}"'.encode()) == PAGE, body


def _ids(body: bytes) -> list[str]:
    return [found.decode() for found in _RESERVATION.findall(body)]


def _post(client: Client) -> bytes:
    body = json.dumps({"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}).encode()
    return client.head("POST /v1/reservations", len(body)) + body


def _is_accepted(client: Client, body: bytes) -> None:
    client.accepted.append(json.loads(body)["id"])


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
                closed(clients, way, CLIENTS * 20)
            found: dict[str, list[Timed]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, way in ways.items():
                    found[name].append(timed(conn, server, clients, way))
            figures: dict[str, Any] = {"bench": "api"}
            for name, each in found.items():
                figures |= _told(name, each)
                half = figures[f"{name}_per_s"] / 2
                figures |= percentiles_ms(f"{name}_at_half", paced(clients, ways[name], half))
            _verify(conn, clients)
        return {**figures, "where": database.where(dsn)}


def _told(name: str, timed: list[Timed]) -> dict[str, int]:
    columns = zip(*map(astuple, timed), strict=True)
    return {f"{name}_{column}": round(median(each)) for column, each in zip(COLUMNS, columns, strict=True)}


def timed(conn: Connection, server: psutil.Process, clients: list[Client], way: Way) -> Timed:
    before = sum(server.cpu_times()[:2]), database.server_cpu_s(conn), time.process_time()
    took_s = closed(clients, way, way.number)
    after = sum(server.cpu_times()[:2]), database.server_cpu_s(conn), time.process_time()
    return Timed(
        way.number / took_s, *((late - early) / way.number * 1e6 for early, late in zip(before, after, strict=True))
    )


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
