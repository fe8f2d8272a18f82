"""`pgfleet whoami`: whom the database and the commands take you for."""

from collections.abc import Iterator
from typing import Any

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.pictures.parts import facts
from pgfleet.console.showing import show
from pgfleet.producers.defaults import path
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.rows.named import ask, named

SQL = named(__package__, "whoami")


@example("pgfleet whoami")
def whoami(*, as_json: AsJson = False) -> None:
    """Show whom the database takes you for, and for whom the commands ask."""
    with database() as conn:
        show(lambda: look(conn), lambda seen: facts(_facts(seen)), as_json=as_json)


def look(conn: Connection) -> dict[str, Any]:
    (found,) = ask(conn, SQL["whoami"])
    user, where = default_user(), path()
    return {
        **found,
        "user": user,
        "has_keys": not reads.nobody_on_record(conn, user),
        "defaults": str(where) if where.exists() else None,
    }


def _facts(seen: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "user", f"{seen['user']}: whose reservations and disks commands are about, unless --user"
    yield "login", f"{seen['login']} in {seen['database']}"
    if seen["speaks_for"] != seen["login"]:
        yield "speaks for", seen["speaks_for"]
    yield "roles", ", ".join(seen["roles"]) or "none of pgfleet's"
    yield "may", _may(seen)
    if seen["defaults"]:
        yield "defaults", seen["defaults"]


def _may(seen: dict[str, Any]) -> str:
    if seen["is_owner"]:
        return "everything: it owns the tables, and what it sends is nobody's to refuse"
    if seen["speaks_for"] != seen["user"]:
        return f"ask for {seen['speaks_for']}; what it asks for {seen['user']} is refused unless its role may"
    return "what its roles may; it sees its own rows" if seen["by_rows"] else "what its roles may"
