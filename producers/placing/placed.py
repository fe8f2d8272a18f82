"""How rows are placed with their message, and what the database says where that can't be."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pgfleet.producers.sending import at_the_door
from pgfleet.schema.errors import Refusal
from pgfleet.schema.messages import CONTRACT, CONTRACT_HEADER
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.tracing import spans

SQL = named(__package__)
NOT_THEIRS, USED = "PF013", "PF015"


class IdUsedError(Refusal):
    """The id was used for something else."""


class NotTheirsError(Refusal):
    """Who asks may not ask for this user."""


def place(conn: Connection, statement: str, **given: Any) -> bool:
    """Insert and send in the caller's transaction; False where the same was placed before.

    Raises:
        IdUsedError, NotTheirsError, Refusal: nothing was inserted, and the transaction can't go on.
    """
    headers = {CONTRACT_HEADER: CONTRACT, **spans.headers()}
    with refusals(), at_the_door():
        (row,) = ask(
            conn, SQL[statement], headers=Jsonb(headers), **{name: _json(each) for name, each in given.items()}
        )
    return bool(row.is_new)


def _json(given: Mapping[str, Any] | list[Mapping[str, Any]]) -> Jsonb:
    return Jsonb(given, dumps=partial(json.dumps, default=str))


@contextmanager
def refusals() -> Iterator[None]:
    """What the database says where a row can't be placed, as errors of ours."""
    try:
        yield
    except psycopg.Error as error:
        known = {NOT_THEIRS: NotTheirsError, USED: IdUsedError}.get(error.sqlstate or "")
        if known is None:
            raise
        raise known(error.diag.message_primary or "") from None
