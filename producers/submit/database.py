"""The connection of a command: checked against the schema, and lost with a message rather than a traceback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from pgfleet.schema.database.dsn import Unreachable, connect, redact
from pgfleet.schema.database.missing import SchemaMissing, missing
from pgfleet.schema.errors import Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import read_settings

APPLICATION = "pgfleet"
SHOWN = 5


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
        _check(missing(conn))
        try:
            yield conn
        except psycopg.OperationalError as error:
            raise Unreachable(
                f"The database stopped answering: {redact(str(error)).strip()}\nTry again; `pgfleet db status` "
                "says how it is."
            ) from None
        except psycopg.Error as error:
            raise Refusal(f"The database refused it: {redact(str(error)).splitlines()[0]}") from None


def _check(things: list[str]) -> None:
    if things:
        listed = "\n".join(f"  {thing}" for thing in things[:SHOWN])
        more = f"\n  and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
        raise SchemaMissing(f"The database lacks:\n{listed}{more}\nRun `pgfleet migrate`, then try again.")
