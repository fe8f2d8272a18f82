"""What a worker would only fail without, or do harm: rights in the database, and the name of its fleet.

Looked for when it starts.
"""

from collections.abc import Sequence

import psycopg
from psycopg.sql import Identifier

from pgfleet.schema.database.needed import SCHEMAS
from pgfleet.schema.errors import FleetError
from pgfleet.schema.kinds import queues as kinds_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named

SQL = named(__package__)


class RightsMissing(FleetError):
    """The login may not do what its worker does; the message lists what to grant."""


class WrongFleet(FleetError):
    """The database is of a fleet with another name than the settings have."""


def check_fleet(conn: Connection, mine: str) -> None:
    """Raises WrongFleet unless this is the name on all that the database has made outside; the first one is kept."""
    try:
        row = conn.execute(SQL["note_fleet"], {"mine": mine}).fetchone()
    except psycopg.errors.DatabaseError as error:
        if error.sqlstate != "PF006":
            raise
        raise WrongFleet(_wrong(mine, f"{error.diag.message_primary}. {error.diag.message_hint}".rstrip("."))) from None
    theirs = row[0] if row else mine
    if theirs != mine:
        whose = f"the fleet {theirs}" if theirs else "a fleet without a name"
        raise WrongFleet(_wrong(mine, f"this database is of {whose}"))


def _wrong(mine: str, why: str) -> str:
    return f"PGFLEET_FLEET is {mine or 'not set'}, but {why}. Each fleet has a database of its own."


def check_rights(conn: Connection, queues: Sequence[str]) -> None:
    """Raises RightsMissing unless the login may work on these queues and our tables."""
    kinds = [f"pgfleet_worker_{name}" for queue, name in kinds_of().items() if queue in queues]
    given = {
        "roles": ["pgfleet_worker", *kinds],
        "queues": [f"q_{queue}" for queue in queues],
        "schemas": list(SCHEMAS),
    }
    lacking = conn.execute(SQL["lacking"], given).fetchall()
    lacking = sorted({*lacking, *_lost(conn, given["roles"])})
    if lacking:
        roles = " and ".join(kinds) or "pgfleet_worker"
        login = Identifier(conn.info.user).as_string(conn)
        grants = "\n".join(f"  grant {rights} on {name} to {login};" for name, rights in lacking)
        raise RightsMissing(
            f"The login {conn.info.user} lacks rights that its worker needs. As the owner of the database run:\n"
            f"{grants}\n"
            f"or, for all workers: select public.grant_fleet_roles(); and grant {roles} to the login."
        )


def _lost(conn: Connection, roles: list[str]) -> list[tuple[str, str]]:
    """What was taken from the roles themselves, and the login has not from elsewhere."""
    row = conn.execute(SQL["may_ask"]).fetchone()
    if row is None or not row[0]:
        return [("function public.lacking_rights(text)", "execute")]
    return conn.execute(SQL["lost"], {"roles": roles}).fetchall()
