"""Rows that can't be loaded for a reason of the session or of the database: their messages are not to blame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from pgfleet.schema.queue.kernel import Connection
from pgfleet.workers.runtime.inside.begin import begin
from pgfleet.workers.runtime.inside.opening import in_words
from pgfleet.workers.runtime.inside.trouble import LACKING, OF_THE_DATABASE
from pgfleet.workers.runtime.outcomes import NotLoadedError
from pgfleet.workers.runtime.running import Running, stepped_kind
from pgfleet.workers.runtime.settle import GONE, HELD_UP
from pgfleet.workers.runtime.task import Task

R = TypeVar("R")

LOADING = "load rows"


@dataclass(frozen=True, slots=True)
class Unloaded:
    """Why a batch was not loaded: a smaller one would not be either."""

    error: NotLoadedError


def load_view(running: Running, conn: Connection, tasks: Sequence[Task]) -> Any:
    """The view of some messages, whose steps begin; of a kind that calls the outside also what is in trouble there.

    Raises:
        NotLoadedError: it can't be loaded, and no message is to blame. It has been told.
    """
    kind = stepped_kind(running)

    def view() -> Any:
        if kind.effects:
            running.breakers.refresh(conn)
        found = kind.load(conn, [task.message for task in tasks], running.settings)
        begin(running, conn, tasks)
        return found

    return loaded(running, conn, view)


def loaded(running: Running, conn: Connection, ask: Callable[[], R]) -> R:
    """What `ask` loads.

    Raises:
        NotLoadedError: it can't be loaded, and no message is to blame. It has been told.
    """
    try:
        return ask()
    except Exception as error:
        if refusal := refusal_of(running, conn, error):
            raise refusal from error
        raise


def refusal_of(running: Running, conn: Connection, error: Exception) -> NotLoadedError | None:
    """What an error comes to that is the session's or the database's; None for any other."""
    if isinstance(error, (*GONE, *HELD_UP, *LACKING)) or conn.closed:
        return None
    if isinstance(error, OF_THE_DATABASE):
        refusal = NotLoadedError(in_words(error))
    elif not getattr(error, "sqlstate", None) and not _reads_times(conn):
        refusal = NotLoadedError("the driver reads no times in the DateStyle of this session")
    else:
        return None
    running.trouble.met(LOADING, refusal)
    return refusal


def _reads_times(conn: Connection) -> bool:
    """Whether the driver can read what this session sends: another DateStyle makes it fail at any time."""
    try:
        conn.execute("select public.fleet_now(), '1 day'::interval").fetchone()
    except (psycopg.DataError, psycopg.NotSupportedError, NotImplementedError, ValueError):
        return False
    return True
