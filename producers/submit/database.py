"""The connection of a command: checked against the schema, and lost with a message rather than a traceback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg

from pgfleet.schema.database.dsn import Unreachable, redact
from pgfleet.schema.database.missing import missing_at_a_glance, missing_by_name, refuse
from pgfleet.schema.database.sessions import connect
from pgfleet.schema.errors import Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reservation import CreateReservation
from pgfleet.schema.settings import read_settings

APPLICATION = "pgfleet"
AGAIN = "try again"
# What a command finds missing that uses it.
NOT_THERE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidSchemaName,
)


class Elsewhere(Protocol):
    """Who sends reservations where commands have no database; called as one that chooses it, it refuses."""

    def __call__(self) -> str: ...

    def username(self) -> str:
        """Whose a reservation is, unless an option says so."""

    def ask(self, message: CreateReservation, *, as_json: bool) -> None:
        """Print whether it would start now."""

    def send(self, message: CreateReservation, *, follows: bool, timeout_s: float | None, as_json: bool) -> None:
        """Send it, and follow it if that is wanted."""


def chosen_dsn(chooser: Callable[[], str] | None) -> str:
    """The DSN that whoever runs the command chooses, else DATABASE_URL.

    Raises:
        BadSettings: it is not set, or can't be used.
    """
    return chooser() if chooser is not None else read_settings().dsn()


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """An autocommit connection to a database that has all that the program needs.

    Raises:
        Unreachable, SchemaMissing: with the next step.
    """
    options: dict[str, Any] = {"application_name": APPLICATION}
    with connect(dsn, autocommit=True, **options) as conn:
        try:
            refuse(missing_at_a_glance(conn), AGAIN)
            yield conn
        except psycopg.OperationalError as error:
            raise Unreachable(
                f"The database stopped answering: {redact(str(error)).strip()}\nTry again; `pgfleet db status` "
                "says how it is."
            ) from None
        except psycopg.errors.InsufficientPrivilege as error:
            raise Refusal(forbidden(conn.info.user, error)) from None
        except NOT_THERE as error:
            conn.rollback()
            refuse(missing_by_name(conn), AGAIN)
            raise _refused(error) from None
        except psycopg.Error as error:
            raise _refused(error) from None


def _refused(error: psycopg.Error) -> Refusal:
    return Refusal(f"The database refused it: {redact(str(error)).splitlines()[0]}")


def forbidden(login: str, error: psycopg.Error) -> str:
    """What a login is told of what it may not do."""
    said = redact(error.diag.message_primary or str(error))
    return (
        f"The login {login} may not do this: {said}.\nMembers of pgfleet_user see and ask for what is theirs, those of "
        "pgfleet_monitor see what is everybody's (`pgfleet migrate --rls` makes both roles)."
    )
