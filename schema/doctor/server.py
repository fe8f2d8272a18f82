"""Checks of the server's own bookkeeping: old transactions, tables that grew, indexes, sequences."""

from collections.abc import Mapping
from typing import Any

from pgfleet.schema.doctor.findings import Finding, Limits, Severity
from pgfleet.schema.kinds import queues
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
TRANSACTIONS, BLOAT, INDEXES, SEQUENCES = "transactions", "bloat", "indexes", "sequences"
SCHEMAS = ["public", "hopsworks", "autoscaler", "clusters", "pgmq"]


def transactions(conn: Connection, limits: Limits) -> list[Finding]:
    return [finding for row in ask(conn, SQL["old_transactions"]) if (finding := holder(row, limits))]


def holder(row: Mapping[str, Any], limits: Limits) -> Finding | None:
    """A replica and a slot have no age in time: theirs is counted in transactions."""
    timed = row["age_s"] is not None
    age = (row["age_s"] if timed else row["age_xids"]) or 0
    old, very_old = (limits.old_s, limits.very_old_s) if timed else (limits.old_xids, limits.very_old_xids)
    if age <= old:
        return None
    severity = Severity.ERROR if age > very_old else Severity.WARNING
    since = f"open for {age:.0f} s" if timed else f"{age} transactions old"
    what, remedy = _WHAT_TO_DO[row["kind"]]
    harm = "it keeps others away from tables" if row["kind"] == "locks" else "vacuum can't remove what died since"
    text = f"{what.format(**row)}, {since}: {harm}"
    return Finding(TRANSACTIONS, severity, text, remedy.format(**row))


_WHAT_TO_DO = {
    "session": ("transaction of {name}, pid {pid}, {state}", "select pg_terminate_backend({pid})"),
    "locks": ("locks of {name}, pid {pid}, {state}", "select pg_terminate_backend({pid})"),
    "replica": (
        "snapshot of replica {name}, pid {pid}",
        "end the long query on the replica, or turn its hot_standby_feedback off",
    ),
    "prepared": ("prepared transaction {name}", "rollback prepared {quoted}"),
    "slot": (
        "xmin of replication slot {name}, {state}",
        "if its replica is gone: select pg_drop_replication_slot({quoted})",
    ),
}


def bloat(conn: Connection, limits: Limits) -> list[Finding]:
    """Queue tables whose claims have to walk over many dead rows, or through much empty space."""
    rows = ask(conn, SQL["queue_sizes"], tables=[f"q_{queue}" for queue in queues()])
    swollen = [row for row in rows if _is_full_of_dead(row, limits) or _is_large(row, limits)]
    held = " (an old transaction holds it back: see above)" if swollen and transactions(conn, limits) else ""
    return [_swollen(row, limits, held) for row in swollen]


def _swollen(row: Row, limits: Limits, held: str) -> Finding:
    size = f"{row['bytes'] / 1024 / 1024:.0f} MB"
    text = f"{row['name']} has {row['dead']} dead rows and {row['live']} live ones in {size}"
    remedy = f"vacuum {row['name']}{held}"
    if not _is_full_of_dead(row, limits):
        remedy += f"; if it stays as large, with its workers stopped: vacuum full {row['name']}"
    return Finding(BLOAT, Severity.WARNING, text, remedy)


def _is_full_of_dead(row: Row, limits: Limits) -> bool:
    return bool(row["dead"] > limits.dead_rows and row["dead"] > limits.dead_ratio * row["live"])


def _is_large(row: Row, limits: Limits) -> bool:
    return bool(row["bytes"] > limits.large_bytes and row["live"] < limits.few_rows)


def indexes(conn: Connection, _: Limits) -> list[Finding]:
    """Those that a concurrent build left behind when it failed: they cost writes and serve no read."""
    return [_invalid(row) for row in ask(conn, SQL["invalid_indexes"], schemas=SCHEMAS)]


def _invalid(row: Row) -> Finding:
    verb = "drop" if row["is_left"] else "reindex"
    return Finding(INDEXES, Severity.ERROR, f"{row['name']} is not valid", f"{verb} index concurrently {row['name']}")


def sequences(conn: Connection, limits: Limits) -> list[Finding]:
    return [_filling(row) for row in ask(conn, SQL["filling_sequences"], schemas=SCHEMAS, share=limits.used_share)]


def _filling(row: Row) -> Finding:
    text = f"{row['table_name']}.{row['column_name']} has used {row['last_value'] / row['most']:.0%} of its numbers"
    # An identity's sequence follows its column; a serial's does not.
    remedy = f"alter table {row['table_name']} alter column {row['column_name']} type bigint"
    own = "" if row["is_identity"] else f"; alter sequence {row['sequence_name']} as bigint"
    return Finding(SEQUENCES, Severity.WARNING, text, f"{remedy}{own} (rewrites the table, which is locked meanwhile)")
