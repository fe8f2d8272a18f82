"""What nodes and pools have said, in tables by days or in hypertables of TimescaleDB (194)."""

from enum import Enum

import psycopg

from pgfleet.schema.database.dsn import redact
from pgfleet.schema.database.sessions import connect
from pgfleet.schema.errors import FleetError
from pgfleet.schema.rows.named import named

SQL = named(__package__)


class Engine(Enum):
    """In what telemetry lies."""

    TIMESCALEDB = "timescaledb"
    PLAIN = "plain"


def put_telemetry(dsn: str, engine: Engine) -> list[str]:
    """Put all telemetry there, in one transaction, however long that takes; returns the tables that were elsewhere.

    Raises:
        FleetError: it can't be put there; nothing was changed.
    """
    # A table is written anew, and that has no time limit; nor is anybody left waiting behind one that waits.
    with connect(dsn, longest_s=None) as conn:
        try:
            conn.execute(SQL["long_but_not_in_line"])
            return [table for (table,) in conn.execute(SQL["put_telemetry"], {"engine": engine.value})]
        except psycopg.Error as error:
            hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
            why = error.diag.message_primary or redact(str(error))
            raise FleetError(f"Telemetry stays where it is: {why}.{hint}") from error
