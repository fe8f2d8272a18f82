"""PGMQ: as an extension where the server has it, else as its own SQL."""

import re
from typing import Any

import psycopg
from pgmq.install import get_embedded_install_sql

Connection = psycopg.Connection[tuple[Any, ...]]

_HAS_PGMQ = "select to_regprocedure('pgmq.create(text)') is not null"
_OFFERS_PGMQ = "select exists (select from pg_available_extensions where name = 'pgmq')"

_FUNCTION = r"(?ims)^create (?:or replace )?function {name}\(([^()]*)\)\s*returns.*?\bas\s+(\$\w*\$).*?\2[^;]*;"


def pgmq(conn: Connection) -> str:
    """What puts PGMQ in place here; nothing where it is."""
    if conn.execute(_HAS_PGMQ).fetchone() == (True,):
        return ""
    if conn.execute(_OFFERS_PGMQ).fetchone() == (True,):
        return "create extension pgmq"
    return get_embedded_install_sql()


def of_pgmq(called: str) -> list[str]:
    """What makes one of its functions where it was installed as SQL, by how it is called: `pgmq.send(text,jsonb)`."""
    name, _, types = called.rstrip(")").partition("(")
    found = re.finditer(_FUNCTION.format(name=re.escape(name)), get_embedded_install_sql())
    return [each[0] for each in found if _types(each[1]) == types]


def _types(arguments: str) -> str:
    """Those of `queue_name TEXT, msg JSONB`, in the words of the catalog."""
    return ",".join(" ".join(each.split()[1:]).lower() for each in arguments.split(","))
