"""Statements of one shape, from the `.sql` files beside who uses them; psql runs the same files.

A statement begins with a line `-- name: forgotten` and a comment that says what it returns. Its parameters are written
`:most`, and cast where PostgreSQL can't tell their type.
"""

import re
from importlib.resources import files
from typing import Any

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.row import Row, as_rows

_HEAD = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")


class Statements(dict[str, bytes]):
    """Statements by name, as psycopg takes them: `:most` is its `%(most)s`."""

    def __missing__(self, name: str) -> bytes:
        raise KeyError(f"no statement is named {name}; there are {', '.join(self)}")


def named(package: str, file: str = "queries") -> Statements:
    """The statements of a package's `.sql` file. One that the file does not have is an error where it is asked for."""
    text = files(package).joinpath(f"{file}.sql").read_text(encoding="utf-8").replace("\r\n", "\n")
    _, *parts = _HEAD.split(text)
    return Statements({name: _taken(body) for name, body in zip(parts[::2], parts[1::2], strict=True)})


def ask(conn: Connection, statement: bytes, **given: Any) -> list[Row]:
    """All rows of a statement, for people; its parameters by name."""
    with conn.cursor(row_factory=as_rows) as cursor:
        return cursor.execute(statement, given or None).fetchall()


def _taken(body: str) -> bytes:
    statement = _COMMENT.sub("", body).strip().removesuffix(";")
    # To psycopg a % means something only where there are parameters.
    has_parameters = _PARAMETER.search(statement) is not None
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%") if has_parameters else statement).encode()
