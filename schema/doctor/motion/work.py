"""Checks of whether work goes on: workers that run, tables that are tidied, rows that move, messages that are sane."""

from psycopg import sql
from psycopg.types.json import Jsonb

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.kinds import queues as kinds_by_queue
from pgfleet.schema.printable import minute, plural, printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row, as_rows
from pgfleet.schema.tickets import NUDGE

SQL = named(__package__)
WORKERS, HOUSE, STATES, MESSAGES = "workers", "house", "states", "messages"


_NOW_DUE = "update public.periodic set next_at = public.fleet_now() where name = {quoted}"
_TIDY_NOW = "update public.retention set next_at = public.fleet_now() where table_name = {quoted}"


def workers(conn: Connection, limits: Limits) -> list[Finding]:
    """Any idle worker of a queue sends its periodic work within seconds."""
    absent = [_absent(row) for row in ask(conn, SQL["overdue_work"], late_s=limits.periodic_late_s)]
    return [*absent, *(_distant(row) for row in ask(conn, SQL["distant_work"]))]


def _absent(row: Row) -> Finding:
    kind = kinds_by_queue().get(row["queue"])
    text = (
        f"no {kind or row['queue']} worker runs: its periodic work ({row['tasks']}) is overdue for "
        f"{row['late_s'] / 60:.0f} min"
    )
    remedy = f"pgfleet worker {kind}" if kind else "this version of pgfleet has no worker for it"
    return Finding(WORKERS, Severity.WARNING, text, remedy, "none")


def _distant(row: Row) -> Finding:
    text = f"{row['name']} is not due before {row['next_at']}, which is later than it comes back"
    return Finding(WORKERS, Severity.ERROR, text, _NOW_DUE.format(**row), "distant")


def house(conn: Connection, _: Limits) -> list[Finding]:
    """Tables that grow, as nobody can tidy them."""
    return [_untidy(row) for row in ask(conn, SQL["untidy_tables"])]


def _untidy(row: Row) -> Finding:
    again = _TIDY_NOW.format(**row)
    if row["problem"] is None:
        text = f"{row['table_name']} is not tidied before {row['next_at']}"
        return Finding(HOUSE, Severity.WARNING, text, again, "distant")
    text = f"{row['table_name']} has not been tidied since {row['since']}: {printable(row['problem'])}"
    return Finding(HOUSE, Severity.ERROR, text, f"put that right; then, to have it tried at once: {again}", "failing")


def states(conn: Connection, _: Limits) -> list[Finding]:
    by_state: dict[tuple[str, str], list[Row]] = {}
    for row in ask(conn, SQL["slow_rows"]):
        by_state.setdefault((row["what"], row["status"]), []).append(row)
    return [_slow(*state, rows) for state, rows in by_state.items()]


def _slow(what: str, status: str, rows: list[Row]) -> Finding:
    since, shown = rows[0]["since"], printable(rows[0]["shown"] or "nothing is known")
    ids = listed(printable(row["row_id"]) for row in rows)
    text = f"{len(rows)} {what}s have been {status} for too long, the first since {minute(since)}: {ids}; {shown}"
    kind = {"snapshot": "disk"}.get(what, what)
    remedy = f"pgfleet watch {printable(rows[0]['row_id'])} says what it waits for" if what == "reservation" else ""
    sees = f"a running {kind} worker goes on with it: pgfleet worker {kind}"
    return Finding(STATES, Severity.ERROR, text, f"{remedy}; {sees}" if remedy else sees, "slow")


# A row has one ticket, and as many nudges as somebody sends; the longest that a message is put off is as long as a
# deleted disk is kept.
_TWICE = sql.SQL(
    "select min(msg_id) as first, array_agg(msg_id order by msg_id) as ids from {queue}"
    " where message ? 'ticket' and message -> 'ticket' <> {nudge} group by message having count(*) > 1"
    " order by 1 limit 100"
)
# What fails goes to the dead letters after a few attempts, unless its row may never be given up.
_FAILING = sql.SQL(
    "select msg_id, message ->> 'action' as action from {queue}"
    " where jsonb_typeof(headers #> '{{pgfleet,attempts}}') = 'number'"
    " and (headers #>> '{{pgfleet,attempts}}')::numeric > {most}"
    " order by 1 limit 100"
)
FAILED_MOST = 20
_DISTANT = sql.SQL(
    "select msg_id, vt::text as vt from {queue} where vt > public.fleet_now() + interval '40 days' order by 1 limit 100"
)

_DELETE = "delete from {} where msg_id = any({})"
_LET_DUE = "update {} set vt = public.fleet_now() where msg_id = any({})"


def messages(conn: Connection, _: Limits) -> list[Finding]:
    names = [row["queue_name"] for row in ask(conn, SQL["fleet_tables"])]
    return [
        finding for name in names for finding in (*_twice(conn, name), *_failing(conn, name), *_put_off(conn, name))
    ]


def _twice(conn: Connection, queue: str) -> list[Finding]:
    rows = _ask(conn, _TWICE, queue, nudge=sql.Literal(Jsonb(NUDGE)))
    if not rows:
        return []
    late = [msg_id for row in rows for msg_id in row["ids"][1:]]
    text = f"{queue}: {len(rows)} rows have their ticket more than once: {listed(map(str, late))}"
    remedy = f"each but the first does nothing; to be rid of them: {_remedy(_DELETE, queue, late)}"
    return [Finding(MESSAGES, Severity.WARNING, text, remedy, "twice")]


def _failing(conn: Connection, queue: str) -> list[Finding]:
    rows = _ask(conn, _FAILING, queue, most=sql.Literal(FAILED_MOST))
    if not rows:
        return []
    shown = listed(f"{row['msg_id']} ({printable(row['action'] or '?')})" for row in rows)
    text = f"{queue}: {plural(len(rows), 'message')} failed more than {FAILED_MOST} times and are tried again: {shown}"
    return [Finding(MESSAGES, Severity.WARNING, text, "the worker's log says why: message.retry", "failing")]


def _put_off(conn: Connection, queue: str) -> list[Finding]:
    rows = _ask(conn, _DISTANT, queue)
    if not rows:
        return []
    ids = [row["msg_id"] for row in rows]
    text = f"{queue}: {len(ids)} messages are not due for 40 days and more: {listed(map(str, ids))}"
    return [Finding(MESSAGES, Severity.WARNING, text, _remedy(_LET_DUE, queue, ids), "distant")]


def _ask(conn: Connection, query: sql.SQL, queue: str, **given: sql.Literal) -> list[Row]:
    with conn.cursor(row_factory=as_rows) as cursor:
        return cursor.execute(query.format(queue=sql.Identifier("pgmq", f"q_{queue}"), **given)).fetchall()


def _remedy(statement: str, queue: str, ids: list[int]) -> str:
    return statement.format(f"pgmq.q_{queue}", f"'{{{','.join(map(str, ids))}}}'")
