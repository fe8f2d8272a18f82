"""Checks of Hopsworks: clusters that do not answer, accounts that are not as they should be."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
HOPSWORKS = "hopsworks"
WORKER = "pgfleet worker assignment"


def hopsworks(conn: Connection, limits: Limits) -> list[Finding]:
    unanswered = [_unanswered(row, limits) for row in ask(conn, SQL["unanswered_clusters"])]
    teams = [_team(row) for row in ask(conn, SQL["split_teams"])]
    return [*unanswered, *_accounts(ask(conn, SQL["wrong_accounts"])), *teams]


def _unanswered(row: Row, limits: Limits) -> Finding:
    """A refused key is an operator's to replace; whether the others answer again is looked at by the worker."""
    handle, name = typed(row["name"], row["id"]), printable(row["name"])
    reason = printable(row["reason"].removeprefix("Hopsworks ").removeprefix(f"{row['name']}: "))
    since = f"{name} is left alone for {row['open_s']:.0f} s ({row['kind']})"
    text = f"{since}: {reason}; messages that wait: {row['waiting']}"
    severity = Severity.ERROR if row["open_s"] > limits.outage_s else Severity.WARNING
    if row["kind"] == "api_key":
        return Finding(HOPSWORKS, Severity.ERROR, text, f"pgfleet hopsworks rekey {handle}")
    if row["is_overdue"]:
        return Finding(HOPSWORKS, severity, f"{text}; nobody looks whether it answers again", WORKER)
    return Finding(HOPSWORKS, severity, text, f"see pgfleet hopsworks show {handle}, and that server")


def _team(row: Row) -> Finding:
    """A member follows the owner by itself, as soon as it can."""
    members = listed(
        f"{printable(who)} on {printable(name)}" for who, name in zip(row["who"], row["places"], strict=True)
    )
    owner, there = printable(row["owner"]), printable(row["owner_place"])
    text = f"the team of {owner} is split: the owner is on {there}, {members}"
    taken = f"{row['owner_place_status']}, {row['current_users']} of {row['max_users']} seats taken"
    remedy = f"a running assignment worker moves them when {there} has a seat ({taken}): {WORKER}"
    return Finding(HOPSWORKS, Severity.WARNING, text, remedy)


def _accounts(rows: list[Row]) -> list[Finding]:
    if not rows:
        return []
    text = f"{len(rows)} accounts are not as they should be: {listed(printable(row['who']) for row in rows)}"
    return [Finding(HOPSWORKS, Severity.WARNING, text, "pgfleet users show USER says what is wrong")]
