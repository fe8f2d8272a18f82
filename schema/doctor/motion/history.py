"""Checks of machines: the moves that they may make, and whether rows are where their histories say."""

import re

from psycopg import sql

from pgfleet.schema.database.things import wanted
from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row, as_rows

SQL = named(__package__)
MOVES, HISTORY = "moves", "history"

_GUARDED = re.compile(r" ON (?P<table>\S+) .*\.log_moves?\('(?P<machine>\w+)', '(?P<key>\w+)'\)")
# The last that the history of each row says, against what the row says; of one that was pruned (103) nothing is left.
_ELSEWHERE = sql.SQL(
    "select t.{key}::text as row_id, t.status::text as status, h.to_status as moved_to"
    " from {table} t left join lateral (select h.to_status from public.status_history h"
    " where h.machine = {machine} and h.row_id = t.{key}::text order by h.history_id desc limit 1) h on true"
    " where h.to_status is distinct from t.status::text"
    " and (h.to_status is not null or t.status_since > public.fleet_now()"
    " - (select r.keep from public.retention r where r.table_name = 'public.status_history'))"
    " order by 1 limit 1000"
)


def guarded() -> dict[str, tuple[str, str]]:
    """The table and the key of each machine, by its triggers in the list of what has to be there."""
    triggers = [what for (kind, _), found in wanted().items() if kind == "trigger" for what in found]
    found = [match for trigger in triggers if (match := _GUARDED.search(trigger))]
    return {match["machine"]: (match["table"], match["key"]) for match in found}


def moves(conn: Connection, _: Limits) -> list[Finding]:
    """Those that are missing are in the list of what is missing."""
    known = [name for kind, name in wanted() if kind == "move"]
    return [_extra(row) for row in ask(conn, SQL["extra_moves"], machines=list(guarded()), known=known)]


def _extra(row: Row) -> Finding:
    text = f"a {row['machine']} may move from {row['from_status']} to {row['to_status']}, which no file says"
    return Finding(MOVES, Severity.WARNING, printable(text), row["remedy"], "extra")


def history(conn: Connection, _: Limits) -> list[Finding]:
    elsewhere = [
        finding for machine, (table, key) in guarded().items() for finding in _elsewhere(conn, machine, table, key)
    ]
    return [*elsewhere, *_broken(ask(conn, SQL["broken_histories"], machines=list(guarded())))]


def _elsewhere(conn: Connection, machine: str, table: str, key: str) -> list[Finding]:
    names = {"machine": sql.Literal(machine), "table": sql.Identifier(*table.split(".")), "key": sql.Identifier(key)}
    with conn.cursor(row_factory=as_rows) as cursor:
        rows = cursor.execute(_ELSEWHERE.format(**names)).fetchall()
    if not rows:
        return []
    said = (f"{printable(row['row_id'])} is {row['status']}, its history says {row['moved_to']}" for row in rows)
    text = f"{len(rows)} rows of {table} are not where their history says, moved behind its trigger: {listed(said)}"
    return [Finding(HISTORY, Severity.ERROR, text, _put_back(machine, table, key, rows[0]), "elsewhere")]


def _put_back(machine: str, table: str, key: str, row: Row) -> str:
    """Both ways are told: only a person knows which of the two is true."""
    given = {"row_id": row["row_id"], "status": row["status"], "moved_to": row["moved_to"] or "(new)"}
    values = {name: sql.Literal(value) for name, value in given.items()}
    names = {"machine": sql.Literal(machine), "table": sql.Identifier(*table.split(".")), "key": sql.Identifier(key)}
    note = sql.SQL(
        "insert into public.status_history (machine, row_id, from_status, to_status, reason, actor) values"
        " ({machine}, {row_id}, {moved_to}, {status}, 'put right by hand', current_user)"
    )
    back = sql.SQL(
        "begin; set local session_replication_role = replica; update {table} set status = {moved_to}"
        " where {key} = {row_id}; commit"
    )
    noted, moved_back = (part.format(**names, **values).as_string() for part in (note, back))
    return f"if the row is right: {noted}; if its history is: {moved_back}" if row["moved_to"] else noted


def _broken(rows: list[Row]) -> list[Finding]:
    if not rows:
        return []
    text = f"{len(rows)} gaps in histories, of which entries were deleted: {listed(map(_gap, rows))}"
    remedy = "restore public.status_history from a backup beside it; the rows themselves are right"
    return [Finding(HISTORY, Severity.WARNING, text, remedy, "gap")]


def _gap(row: Row) -> str:
    before = row["before"] or "nothing"
    return f"{row['machine']} {printable(row['row_id'])} moves from {row['from_status']} after {before}"
