"""The check that every live row has its message, for each machine that has a view of those without."""

from importlib import import_module

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.kinds import contracts
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.forgotten import forgotten
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
TICKETS = "tickets"


def tickets(conn: Connection, _: Limits) -> list[Finding]:
    """Machines are found by the names of their views."""
    machines = [row["machine"] for row in ask(conn, SQL["watched_machines"])]
    return [finding for machine in machines for finding in _unattended(machine, forgotten(conn, machine))]


def _kind_of(machine: str) -> str | None:
    """The kind whose tickets are of this machine, where its contract says so: that may have a name of its own."""
    tickets = {name: getattr(import_module(f"pgfleet.schema.{name}"), "TICKETS", None) for name in contracts()}
    return next((name for name, of in tickets.items() if getattr(of, "machine", None) == machine), None)


def _unattended(machine: str, rows: list[Row]) -> list[Finding]:
    """An error where the sweep should have seen them by now: then no worker runs."""
    overdue = [printable(row["row_id"]) for row in rows if row["is_overdue"]]
    recent = [printable(row["row_id"]) for row in rows if not row["is_overdue"]]
    return [*_forgotten(machine, overdue, Severity.ERROR), *_forgotten(machine, recent, Severity.WARNING)]


def _forgotten(machine: str, ids: list[str], severity: Severity) -> list[Finding]:
    """A machine is named after its kind, and what else of it moves: `disk_snapshot` is of the disk worker."""
    if not ids:
        return []
    kind, _, part = machine.partition("_")
    named = _kind_of(machine)
    if named not in (None, kind):
        kind, part = named, machine
    text = f"{len(ids)} live {part or kind}s without a message: {listed(ids)}"
    remedy = f"a running {kind} worker repairs it within a minute: pgfleet worker {kind}"
    return [Finding(TICKETS, severity, text, remedy)]
