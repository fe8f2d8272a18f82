"""Arrays arrive as they were sent, and with the type that the statement says."""

from typing import Any

import pytest

from pgfleet.schema.queue.arrays import array
from worlds.fleet import Connection

TEXTS = ["", " ", "null", "NULL", "a,b", "{a}", '"', "\\", '\\"', "a\nb", "\u3000ü", "{NULL}", "'"]


@pytest.mark.parametrize(
    ("values", "of_type"),
    [
        (TEXTS, "text"),
        ([*TEXTS, None], "text"),
        ([None, None], "text"),
        ([], "bigint"),
        ([1, -2, 2**63 - 1], "bigint"),
        ([1, None, 3], "integer"),
        ([1.5, None], "float8"),
        ([True, False, None], "boolean"),
    ],
)
def test_an_array_arrives_as_it_was_sent(conn: Connection, values: list[Any], of_type: str) -> None:
    row = conn.execute(f"select %s::{of_type}[]".encode(), (array(values),)).fetchone()

    assert row == (values,)


def test_numbers_among_texts_arrive_as_texts(conn: Connection) -> None:
    row = conn.execute("select %s::text[]", (array(["a", 1, None]),)).fetchone()

    assert row == (["a", "1", None],)
