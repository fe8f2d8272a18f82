"""What `pgfleet policy` shows: who may have how much of what, and what one user has of it."""

from collections.abc import Iterable

from rich.table import Table

from pgfleet.console.pictures.parts import cell, table
from pgfleet.schema.rows.row import Row


def policy_table(known: Iterable[Row]) -> Table:
    made = table("FOR", "LIMIT", "TYPE", "MOST", "WHAT", "SET BY", right=("MOST",), fold=("FOR", "MOST", "WHAT"))
    for row in known:
        name = row["limit_name"]
        made.add_row(*map(cell, (whose(row), name, row["gpu_type"], most(row), row["counts"], row["set_by"])))
    return made


def limit_table(known: Iterable[Row]) -> Table:
    """Of one user."""
    made = table("LIMIT", "USED", "MOST", "WHAT", "BY", right=("USED", "MOST"), fold=("MOST", "WHAT", "BY"))
    for row in known:
        used = "" if row["most"] is None or row["name"] in ("hours", "idle_minutes") else f"{row['used']:.10g}"
        made.add_row(*map(cell, (row["name"], used, most(row), row["counts"], whose(row))))
    return made


def whose(row: Row) -> str:
    return f"{row['applies_to']} {row['subject']}".strip()


def most(row: Row) -> str:
    if row["patterns"] is not None:
        return ", ".join(row["patterns"])
    return "no limit" if row["most"] is None else f"{row['most']:.10g}"
