"""How lines are ordered, as operators have set it (044)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import give_reason
from pgfleet.schema.rows.named import ask, named

SQL = named(__package__)


@dataclass(frozen=True, slots=True)
class Rules:
    """What orders every line.

    Attributes:
        fair_share: whether who has had more GPUs in the last 24 hours stands further behind.
        starving_after: who has waited for so long is passed by nobody.
        extensions_win: whether an extension may move a start that was promised.
    """

    fair_share: bool
    starving_after: timedelta
    extensions_win: bool


def rules(conn: Connection) -> Rules:
    return Rules(**ask(conn, SQL["settings"])[0])


def set_rules(conn: Connection, given: Mapping[str, Any], who: str) -> Rules:
    """Set what is not None of the names of `Rules`; the audit has what was given. All of them as they are then."""
    told = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
    with conn.transaction():
        give_reason(conn, f"{who}: {told}")
        conn.execute(SQL["set"], given)
    return rules(conn)
