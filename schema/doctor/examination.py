"""The examination that `pgfleet doctor` makes: every check in turn, in a transaction of its own that only reads."""

from collections.abc import Sequence

import psycopg

from pgfleet.schema.doctor import disks, forgotten, program, rows, server
from pgfleet.schema.doctor import hopsworks as accounts
from pgfleet.schema.doctor.findings import LIMITS, Check, Finding, Limits, Severity
from pgfleet.schema.queue.kernel import Connection

# What is missing comes before everything that can't be looked at without it.
CHECKS = (
    Check(program.VERSIONS, "", program.versions),
    Check(program.SCHEMA, "nothing is missing", program.absent, unable=Severity.ERROR),
    Check(program.MIGRATIONS, "the files that were applied are those of this program", program.checksums),
    Check(program.SETTINGS, "the search_path is set, and what is committed is on disk", program.settings),
    Check(server.TRANSACTIONS, "no old transaction holds anything back", server.transactions),
    Check(server.BLOAT, "the tables of the queues are as large as their messages", server.bloat),
    Check(rows.GPU_COUNTERS, "as many GPUs are counted as are held", rows.gpu_counters),
    Check(rows.SEATS, "as many seats are counted as are taken", rows.seats),
    Check(accounts.HOPSWORKS, "its clusters answer", accounts.hopsworks),
    Check(disks.DISKS, "snapshots are counted as they are", disks.disks),
    Check(forgotten.TICKETS, "every live row has its message", forgotten.tickets),
    Check(rows.QUEUES, "no open dead letters, and what is due is consumed", rows.queues),
    Check(server.INDEXES, "all are valid", server.indexes),
    Check(server.SEQUENCES, "integer keys have numbers left", server.sequences),
)

# In a transaction, so that nothing stays behind in the sessions of a pooler. A doctor must not queue for a lock.
_READ_ONLY = "set transaction read only; set local statement_timeout = '30s'; set local lock_timeout = '5s'"


def examine(conn: Connection, limits: Limits = LIMITS, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """What checks say, in their order; a check that finds nothing says that it is well.

    The connection commits by itself. A check that the database refuses is a finding, too.

    Raises:
        psycopg.OperationalError: the connection was lost.
    """
    return [finding for check in checks for finding in _run(conn, check, limits)]


def _run(conn: Connection, check: Check, limits: Limits) -> list[Finding]:
    try:
        with conn.transaction():
            conn.execute(_READ_ONLY)
            found = check.find(conn, limits)
    except psycopg.Error as error:
        if conn.closed:
            raise
        return [_unable(check, error)]
    return found or [Finding(check.name, Severity.OK, check.healthy)]


_NOT_THERE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)


def _unable(check: Check, error: psycopg.Error) -> Finding:
    why = f"could not be examined: {error.diag.message_primary or 'the database refused it'}"
    if isinstance(error, _NOT_THERE):
        return Finding(check.name, check.unable, why, "pgfleet migrate")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Finding(check.name, Severity.WARNING, why, "run pgfleet doctor as the owner of the database")
    return Finding(check.name, Severity.WARNING, why, "run pgfleet doctor again, when there is less load")
