"""How rows are placed with their message."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.producers.placing.refusing import refusals
from pgfleet.producers.sending import at_the_door
from pgfleet.schema.messages import CONTRACT, CONTRACT_HEADER
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.tracing import spans

SQL = named(__package__)


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
