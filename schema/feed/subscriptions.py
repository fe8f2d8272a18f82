"""Subscriptions to events as people see them: without where they go, and without their secrets."""

import re

from pgfleet.schema.errors import Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
_BEGINNING = re.compile(r"[0-9a-f-]{4,36}")


def subscriptions(conn: Connection, user: str | None = None) -> list[Row]:
    """A user's, or everybody's; the newest first."""
    return ask(conn, SQL["subscriptions"], user_id=user, begins="")


def subscription(conn: Connection, given: str, user: str) -> Row:
    """A user's subscription by its id, or the beginning of it.

    Raises:
        Refusal: there is none, or more than one.
    """
    begins = given.strip().lower()
    found = ask(conn, SQL["subscriptions"], user_id=user, begins=begins) if _BEGINNING.fullmatch(begins) else []
    if len(found) > 1:
        raise Refusal(f"{len(found)} subscriptions begin with {begins}. Give more of the id.")
    if not found:
        raise Refusal(
            "There is no such subscription of yours. See `pgfleet subscriptions`; if you act for others: --user."
        )
    return found[0]
