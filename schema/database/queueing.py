"""PGMQ: as an extension where the server has it, else as its own SQL."""

from typing import Any

import psycopg
from pgmq.install import get_embedded_install_sql

Connection = psycopg.Connection[tuple[Any, ...]]

_HAS_PGMQ = "select to_regprocedure('pgmq.create(text)') is not null"
_OFFERS_PGMQ = "select exists (select from pg_available_extensions where name = 'pgmq')"


def pgmq(conn: Connection) -> str:
    """What puts PGMQ in place here; nothing where it is."""
    if conn.execute(_HAS_PGMQ).fetchone() == (True,):
        return ""
    if conn.execute(_OFFERS_PGMQ).fetchone() == (True,):
        return "create extension pgmq"
    return get_embedded_install_sql()
