"""Logins of senders: with the least that lets `pgmq.send` work, and perhaps a role of ours."""

import secrets
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from worlds.database import Connection

QUEUES = ("gpu_reservations", "disk_operations", "cluster_assignments", "node_heartbeats")
LEAST = """
  grant usage on schema pgmq to {name};
  grant insert, select (msg_id) on {queue} to {name};
  grant usage on sequence {sequence} to {name};
"""


@contextmanager
def stranger_dsn(dsn: str, *, role: str | None = None, queues: Sequence[str] = QUEUES) -> Iterator[str]:
    """The connection string of a login that may send to these queues, and is a member of this role."""
    name, password = f"stranger-{uuid.uuid4().hex[:8]}", secrets.token_urlsafe(16)
    login = sql.Identifier(name)
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {} login password {}").format(login, sql.Literal(password)))
        try:
            for queue in queues:
                names = {
                    "name": login,
                    "queue": sql.Identifier("pgmq", f"q_{queue}"),
                    "sequence": sql.Identifier("pgmq", f"q_{queue}_msg_id_seq"),
                }
                owner.execute(sql.SQL(LEAST).format(**names))
            if role is not None:
                owner.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), login))
            place = f"{name}:{password}@{urlsplit(dsn).netloc.rpartition('@')[2]}"
            yield urlsplit(dsn)._replace(netloc=place).geturl()
        finally:
            owner.execute(sql.SQL("drop owned by {} cascade").format(login))
            owner.execute(sql.SQL("drop role {}").format(login))


@contextmanager
def own_login(conn: Connection, user: str) -> Iterator[Connection]:
    """A session of a user's own login, which is gone afterwards: logins are of the server, not of a database."""
    login = sql.Identifier(user)
    conn.execute(sql.SQL("create role {} login in role pgfleet_user").format(login))
    try:
        with psycopg.connect(conn.info.dsn, user=user, autocommit=True) as own:
            yield own
    finally:
        conn.execute(sql.SQL("drop role {}").format(login))


@contextmanager
def stranger_on(dsn: str, *, role: str | None = None, queues: Sequence[str] = QUEUES) -> Iterator[Connection]:
    """A session of such a login."""
    with (
        stranger_dsn(dsn, role=role, queues=queues) as own,
        psycopg.connect(own, autocommit=True) as conn,
    ):
        yield conn
