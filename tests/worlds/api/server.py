"""The HTTP API on a port of its own, in a thread of the test, with a login that may what `pgfleet serve` may."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from psycopg import sql

from pgfleet.producers.http.answering import Desk
from pgfleet.producers.http.application import Beside, nothing_beside
from pgfleet.producers.http.desk import desk_of
from pgfleet.producers.http.events.limits import PACE, Pace
from pgfleet.producers.http.serving import made, served
from pgfleet.producers.http.settings import read_serve_settings
from pgfleet.schema.identity import accounts, keys
from worlds.fleet import settings_for, until
from worlds.strangers import stranger_dsn

Connection = psycopg.Connection[tuple[Any, ...]]
# Tests ask as fast as they can.
QUICK = {"requests_per_s": 100_000, "requests_burst": 1_000_000, "strangers_per_s": 1000, "strangers_burst": 100_000}


@dataclass
class Api:
    """What a client sees, and the owner's session beside it."""

    url: str
    conn: Connection
    desk: Desk
    _keys: dict[str, str] = field(default_factory=dict)

    def key_of(self, user: str, role: str = "USER") -> str:
        """A key of a user, who is made at the first call."""
        if user not in self._keys:
            accounts.add(self.conn, f"{user}@example.org", username=user, role=role)
            self._keys[user] = keys.make(self.conn, user, hours=2).key
        return self._keys[user]

    def audited(self, *columns: str) -> list[Any]:
        """Rows of the audit, the oldest first."""
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        return self.conn.execute(sql.SQL("select {} from autoscaler.audit_logs order by id").format(listed)).fetchall()

    def as_user(self, user: str = "ada", role: str = "USER", **options: Any) -> httpx.Client:
        """A client with a key of that user."""
        return self.with_key(self.key_of(user, role), **options)

    def with_key(self, key: str | None, **options: Any) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, **options)


@contextmanager
def api_on(dsn: str, pace: Pace = PACE, beside: Beside = nothing_beside, **settings: Any) -> Iterator[Api]:
    """Serve a database until the end of the block."""
    serving = read_serve_settings(**{**QUICK, **settings})
    with (
        stranger_dsn(dsn, role="pgfleet_serve", queues=()) as own,
        psycopg.connect(dsn, autocommit=True) as conn,
        desk_of(settings_for(own), serving) as desk,
        served(made(desk, pace, beside), "127.0.0.1", 0, desk.ending) as server,
    ):
        running = threading.Thread(target=server.run, daemon=True)
        running.start()
        until(lambda: server.server.started)
        try:
            yield Api(server.url, conn, desk)
        finally:
            server.server.should_exit = True
            running.join(30)
