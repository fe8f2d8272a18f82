"""Checks of what rows stand on: numbers, references, partitions, and columns that nobody can fill."""

from psycopg import sql

from pgfleet.schema.database.things import there as things
from pgfleet.schema.database.things import wanted
from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.doctor.server import SCHEMAS
from pgfleet.schema.printable import plural
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
NUMBERS, REFERENCES, PARTITIONS, COLUMNS = "numbers", "references", "partitions", "columns"

_LAST = sql.SQL("select coalesce(max({column}), 0) from {table}")
_ORPHANS = "select count(*) from {child} c where {filled} and not exists (select from {parent} p where {joined})"
_SHOW_ORPHANS = (
    "restore them, or delete what refers to them: select c.* from {child} c "
    "where {filled} and not exists (select from {parent} p where {joined})"
)
_UNSORTED = sql.SQL("select count(*) from {table} where {column} < public.fleet_now() - interval '1 hour'")


def numbers(conn: Connection, _: Limits) -> list[Finding]:
    """Sequences behind their rows, as after a restore of rows alone: inserts fail until they have passed them."""
    rows = ask(conn, SQL["numbered_columns"], schemas=SCHEMAS)
    hidden = [row for row in rows if not row["may_read"]]
    if hidden:
        # To whom a sequence is closed it looks as if it had given out nothing.
        text = f"could not be examined: this login may not read {plural(len(hidden), 'sequence')}"
        return [Finding(NUMBERS, Severity.WARNING, text, "run pgfleet doctor as the owner of the database", "unable")]
    last = {_column(row): number for row in rows if (number := _last(conn, row)) > row["last_value"]}
    # Numbers are given out all the time: a sequence is behind only if it still is when the maximum is known.
    again = ask(conn, SQL["numbered_columns"], schemas=SCHEMAS) if last else []
    return [_behind(row, last[_column(row)]) for row in again if last.get(_column(row), 0) > row["last_value"]]


def _column(row: Row) -> str:
    return f"{row['schema_name']}.{row['table_name']}.{row['column_name']}"


def _last(conn: Connection, row: Row) -> int:
    names = {
        "column": sql.Identifier(row["column_name"]),
        "table": sql.Identifier(row["schema_name"], row["table_name"]),
    }
    return _one(conn, _LAST.format(**names))


def _behind(row: Row, last: int) -> Finding:
    text = f"{_column(row)} goes up to {last}, its sequence gives out {row['last_value'] + 1} next, which may be taken"
    sequence = sql.Identifier(row["sequence_schema"], row["sequence_name"]).as_string()
    remedy = sql.SQL("select setval({}, {})").format(sql.Literal(sequence), sql.Literal(last)).as_string()
    return Finding(NUMBERS, Severity.ERROR, text, remedy, "behind")


def references(conn: Connection, _: Limits) -> list[Finding]:
    """Rows that were deleted or restored while foreign keys were not looked at."""
    rows = [row for row in ask(conn, SQL["references"], schemas=SCHEMAS) if row["joined"]]
    return [_orphans(row, number) for row in rows if (number := _one(conn, sql.SQL(_ORPHANS.format(**row))))]


def _orphans(row: Row, number: int) -> Finding:
    text = f"{number} rows of {row['child']} refer to rows of {row['parent']} that are not there ({row['name']})"
    return Finding(REFERENCES, Severity.ERROR, text, _SHOW_ORPHANS.format(**row), "orphans")


def partitions(conn: Connection, _: Limits) -> list[Finding]:
    """Before any worker has tidied there are none; then rows go to the default partition."""
    return [finding for row in ask(conn, SQL["daily_tables"]) for finding in (*_unsorted(conn, row), *_no_day(row))]


def _unsorted(conn: Connection, row: Row) -> list[Finding]:
    if not row["has_default"]:
        return []
    if not row["takes_all"]:
        text = f"{row['table_name']}_default is detached: a row of a day without a partition is refused"
        remedy = "alter table {table_name} attach partition {table_name}_default default".format(**row)
        return [Finding(PARTITIONS, Severity.ERROR, text, remedy, "detached")]
    schema, _, table = row["table_name"].partition(".")
    names = {"table": sql.Identifier(schema, f"{table}_default"), "column": sql.Identifier(row["time_column"])}
    number = _one(conn, _UNSORTED.format(**names))
    if not number:
        return []
    text = f"{number} rows of {row['table_name']} are in no day's partition"
    return [Finding(PARTITIONS, Severity.WARNING, text, _TIDY.format(**row), "unsorted")]


_TIDY = (
    "an idle worker sorts them in: update public.retention set next_at = public.fleet_now() "
    "where table_name = '{table_name}'"
)


def _no_day(row: Row) -> list[Finding]:
    if row["has_tomorrow"] or not row["has_days"]:
        return []
    text = f"{row['table_name']} has no partition for tomorrow"
    return [
        Finding(PARTITIONS, Severity.WARNING, text, _TIDY.format(**row).replace("sorts them in", "makes it"), "day")
    ]


def columns(conn: Connection, _: Limits) -> list[Finding]:
    """A column of ours that has to be filled is in the list; another one was added by somebody."""
    known = {name for kind, name in wanted() if kind == "column"}
    tables = sorted({name.rpartition(".")[0] for name in known})
    rows = ask(conn, SQL["filling_columns"], tables=tables)
    return [*(_unfilled(row) for row in rows if row["name"] not in known), *_added(conn, set(tables))]


def _added(conn: Connection, tables: set[str]) -> list[Finding]:
    """What somebody put on a table of ours may refuse, change or swallow what the program writes."""
    there = {thing: found for thing, found in things(conn).items() if thing not in wanted()}
    names = [f"{kind} {name}" for (kind, name), found in there.items() if _stands_in_the_way(kind, name, found, tables)]
    if not names:
        return []
    text = f"no file of this version makes what may refuse or change its rows: {listed(sorted(names))}"
    return [Finding(COLUMNS, Severity.WARNING, text, "drop it, unless you know that you need it", "added")]


def _stands_in_the_way(kind: str, name: str, found: set[str], tables: set[str]) -> bool:
    if kind == "index":
        on = {each.partition(" USING ")[0].rpartition(" ")[2] for each in found if each.startswith("CREATE UNIQUE")}
        return bool(on & tables)
    table = name.rpartition(".")[0]
    if kind == "constraint" and table.startswith("pgmq.") and found == {_KEY_OF_A_QUEUE}:
        return False
    return kind in ("rule", "trigger", "constraint") and table in tables


# PGMQ's own, which the list leaves to it.
_KEY_OF_A_QUEUE = "PRIMARY KEY (msg_id)"


def _unfilled(row: Row) -> Finding:
    text = (
        f"{row['table_name']} has a column {row['column_name']} that must not be null and has no default: inserts fail"
    )
    remedy = f"alter table {row['table_name']} alter column {row['column_name']} drop not null"
    return Finding(COLUMNS, Severity.ERROR, text, remedy, "unfilled")


def _one(conn: Connection, query: sql.Composable) -> int:
    row = conn.execute(query.as_string(conn).encode()).fetchone()
    return int(row[0]) if row else 0
