"""A check of subscriptions to events: those whose deliveries fail, and those that were switched off for it."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity
from pgfleet.schema.printable import minute, printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
SUBSCRIPTIONS = "subscriptions"


def subscriptions(conn: Connection, _: Limits) -> list[Finding]:
    return [_finding(row) for row in ask(conn, SQL["untold"])]


def _finding(row: Row) -> Finding:
    which = f"subscription {row['subscription_id']} of {row['user_id']} to {row['shown_url']}"
    see = f"pgfleet subscriptions show {row['subscription_id']} --user {typed(row['user_id'], 'USER')}"
    if row["status"] == "off":
        text = f"{which} is off since {minute(row['status_since'])}: {row['status_reason']}"
        return Finding(SUBSCRIPTIONS, Severity.WARNING, printable(text), see.replace(" show ", " resume "), "off")
    text = f"{which} takes no events since {minute(row['failing_since'])}: {row['last_answer']}"
    return Finding(SUBSCRIPTIONS, Severity.WARNING, printable(text), see, "failing")
