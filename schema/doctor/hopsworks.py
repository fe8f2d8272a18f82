"""Checks of Hopsworks: clusters that do not answer, accounts that are not as they should be."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, ask, listed
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
HOPSWORKS = "hopsworks"
WORKER = "pgfleet worker assignment"


def hopsworks(conn: Connection, _: Limits) -> list[Finding]:
    breakers = [_breaker(row) for row in ask(conn, SQL["open_breakers"])]
    return [*breakers, *_accounts(ask(conn, SQL["wrong_accounts"]))]


def _breaker(row: Row) -> Finding:
    """A refused key is an operator's to replace; whether the others answer again is looked at by the worker."""
    handle, name = typed(row["name"], row["id"]), printable(row["name"])
    reason = printable((row["reason"] or "").removeprefix(f"{row['name']}: "))
    text = f"{name} is left alone for {row['open_s']:.0f} s ({row['kind']}): {reason}"
    if row["kind"] == "api_key":
        return Finding(HOPSWORKS, Severity.ERROR, text, f"pgfleet hopsworks rekey {handle}")
    if row["is_overdue"]:
        return Finding(HOPSWORKS, Severity.WARNING, f"{text}; nobody looks whether it answers again", WORKER)
    return Finding(HOPSWORKS, Severity.WARNING, text, f"see pgfleet hopsworks show {handle}, and that server")


def _accounts(rows: list[Row]) -> list[Finding]:
    if not rows:
        return []
    text = f"{len(rows)} accounts are not as they should be: {listed(printable(row['who']) for row in rows)}"
    return [Finding(HOPSWORKS, Severity.WARNING, text, "pgfleet users show USER says what is wrong")]
