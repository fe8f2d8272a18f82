"""The examination that `pgfleet doctor` makes: every check in turn, in a transaction of its own that only reads."""

from collections.abc import Sequence

import psycopg

from pgfleet.schema.doctor import brake, disks, forgotten, nodes, outside, program, rows, server, silence
from pgfleet.schema.doctor import hopsworks as accounts
from pgfleet.schema.doctor.findings import LIMITS, Check, Finding, Limits, Severity
from pgfleet.schema.doctor.ground import sessions, storage
from pgfleet.schema.doctor.motion import feed, history, told, work
from pgfleet.schema.errors import FleetError
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.whole import join_by_hash

# What is missing comes before everything that can't be looked at without it.
CHECKS = (
    Check(program.VERSIONS, "", program.versions),
    Check(program.SCHEMA, "nothing is missing", program.absent, unable=Severity.ERROR),
    Check(program.MIGRATIONS, "the files that were applied are those of this program", program.checksums),
    Check(program.SETTINGS, "the search_path is set, and what is committed is on disk", program.settings),
    Check(sessions.SERVER, "it takes writes, fires triggers, and vacuums", sessions.server),
    Check(sessions.RIGHTS, "all belongs to one owner", sessions.rights),
    Check(server.TRANSACTIONS, "no old transaction holds anything back", server.transactions),
    Check(server.BLOAT, "the tables of the queues are as large as their messages", server.bloat),
    Check(brake.BRAKE, "nothing is paused", brake.held_back),
    Check(work.WORKERS, "periodic work is sent in time", work.workers),
    Check(work.HOUSE, "what grows is tidied", work.house),
    Check(history.MOVES, "machines make the moves that their files say", history.moves),
    Check(history.HISTORY, "every row is where its history says", history.history),
    Check(feed.FEED, "every committed move is told", feed.feed),
    Check(told.SUBSCRIPTIONS, "whoever wants events takes them", told.subscriptions),
    Check(work.STATES, "no row is in a state for too long", work.states),
    Check(rows.GPU_COUNTERS, "as many GPUs are counted as are held", rows.gpu_counters),
    Check(rows.STUCK, "what has ended is gone", rows.stuck),
    Check(nodes.NODES, "they take pods and were seen lately, and every pod has its row", nodes.nodes),
    Check(rows.SEATS, "as many seats are counted as are taken", rows.seats),
    Check(outside.OUTAGES, "all that is called outside answers", outside.outages),
    Check(outside.PLACES, "no quota and no rule keeps rows waiting", outside.places),
    Check(accounts.HOPSWORKS, "its clusters answer", accounts.hopsworks),
    Check(disks.DISKS, "snapshots are counted as they are", disks.disks),
    Check(forgotten.TICKETS, "every live row has its message", forgotten.tickets),
    Check(work.MESSAGES, "each ticket is there once", work.messages),
    Check(rows.QUEUES, "no open dead letters, and what is due is consumed", rows.queues),
    Check(silence.SILENCE, "no silent node is held back", silence.silence),
    Check(rows.CLOCKS, "nodes' clocks are right to ten seconds", rows.clocks),
    Check(server.INDEXES, "all are valid", server.indexes),
    Check(server.SEQUENCES, "integer keys have numbers left", server.sequences),
    Check(storage.NUMBERS, "no number is given out twice", storage.numbers),
    Check(storage.REFERENCES, "what rows refer to is there", storage.references),
    Check(storage.PARTITIONS, "each day has its own", storage.partitions),
    Check(storage.COLUMNS, "none stands in the way of inserts", storage.columns),
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
            join_by_hash(conn)
            found = check.find(conn, limits)
    except psycopg.Error as error:
        if conn.closed:
            raise
        return [_unable(check, error)]
    except _UNFORESEEN as error:
        return [_unforeseen(check, error)]
    return found or [Finding(check.name, Severity.OK, check.healthy)]


_NOT_THERE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)


# What a row that is not as it should be may lead to: the other checks are made all the same.
_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, FleetError)


def _unforeseen(check: Check, error: Exception) -> Finding:
    text = f"could not be examined: {type(error).__name__}: {error}"
    severity = Severity.ERROR if check.unable is Severity.ERROR else Severity.WARNING
    return Finding(check.name, severity, text, "put right what the other checks say, then look again", "unable")


def _unable(check: Check, error: psycopg.Error) -> Finding:
    why = f"could not be examined: {error.diag.message_primary or 'the database refused it'}"
    if isinstance(error, _NOT_THERE):
        return Finding(check.name, check.unable, why, "pgfleet migrate", "unable")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Finding(check.name, Severity.WARNING, why, "run pgfleet doctor as the owner of the database", "unable")
    return Finding(check.name, Severity.WARNING, why, "run pgfleet doctor again, when there is less load", "unable")
