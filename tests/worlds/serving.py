"""A login with what the API's role is given for nodes and nothing else, and how it speaks for somebody."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from pgfleet.schema.asking import Role
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.identity.speaking import speaking_for
from worlds.database import Connection
from worlds.strangers import stranger_dsn

SCHEMAS = "public, hopsworks, autoscaler, clusters"
LISTED = "select thing, may from public.rights_of_heartbeat where who = 'serve'"


@contextmanager
def serving_dsn(dsn: str) -> Iterator[str]:
    """The connection string of a login that is a member of pgfleet_api, and may what is listed for `serve`."""
    with stranger_dsn(dsn, role="pgfleet_api", queues=()) as own:
        login = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(own)["user"]))
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute(sql.SQL(f"grant usage on schema {SCHEMAS} to {{}}").format(login))
            for thing, may in owner.execute(LISTED).fetchall():
                owner.execute(sql.SQL(f"grant {may} on {thing} to {{}}").format(login))
        yield own


@contextmanager
def speaking_as(conn: Connection, role: Role = Role.DEVOPS, name: str = "ada") -> Iterator[Connection]:
    with speaking_for(conn, Principal(name, role, Proof.KEY)):
        yield conn
