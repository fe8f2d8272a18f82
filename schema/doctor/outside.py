"""Checks of what is outside: what does not answer, and what has no place for rows that wait."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.kinds import queues as kinds_by_queue
from pgfleet.schema.printable import printable, second
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.outage import recent
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
OUTAGES, PLACES = "outages", "places"

_BY_ITSELF = "a worker asks again by itself, and all that waits goes on with the first answer"


def outages(conn: Connection, limits: Limits) -> list[Finding]:
    """All but Hopsworks clusters, which have a check of their own."""
    found = (row for row in recent(conn) if row["ended_at"] is None)
    return [_outage(row, limits) for row in found if not row["dependency"].startswith("hopsworks:")]


def _outage(row: Row, limits: Limits) -> Finding:
    what = row["dependency"] if row["calls"] == "read" else f"{row['dependency']} {row['calls']}"
    since = f"since {second(row['began_at'])} ({row['lasted_s']:.0f} s)"
    text = f"{what} is out {since}: {row['code']}: {printable(row['reason'])}; messages that wait: {row['waiting']}"
    severity = Severity.ERROR if row["lasted_s"] > limits.outage_s else Severity.WARNING
    return Finding(OUTAGES, severity, text, _remedy(row))


def _remedy(row: Row) -> str:
    if row["is_overdue"]:
        return f"nobody asks whether it answers again: pgfleet worker {kinds_by_queue().get(row['queue'], 'KIND')}"
    if "credentials" in row["reason"]:
        return f"give the worker credentials that are let in; {_BY_ITSELF}"
    if row["code"].endswith("_REFUSES") or row["reason"].startswith("the operator has to let"):
        return f"give the worker the right that the reason names; {_BY_ITSELF}"
    return f"see whether it is reached from where the worker runs; {_BY_ITSELF}"


def places(conn: Connection, limits: Limits) -> list[Finding]:
    rows = ask(conn, SQL["placeless"], placeless_s=limits.placeless_s)
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        by_reason.setdefault(row["shown"], []).append(f"{row['what']} {printable(row['id'])}")
    return [_placeless(shown, waiting, limits) for shown, waiting in by_reason.items()]


def _placeless(shown: str, waiting: list[str], limits: Limits) -> Finding:
    text = f"{len(waiting)} wait for more than {limits.placeless_s / 60:g} min: {printable(shown)} ({listed(waiting)})"
    return Finding(PLACES, Severity.WARNING, text, f"{_place(shown.partition(':')[0])}; each is tried again by itself")


def _place(code: str) -> str:
    """What gives a place to rows that wait for this reason."""
    if code.endswith("_UNREACHABLE"):
        return "see why these are not answered, where others are"
    if code in ("NO_SCHEDULER", "SCHEDULING_GATED"):
        return "see whether the cluster's scheduler runs, and what keeps it from these pods"
    return "raise the quota or give the right that the reason names"
