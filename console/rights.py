"""Lists what each role of ours may do, in `schema/database/RIGHTS`, for people who review a change: `make generated`.

Every right is read from the catalogue of a migrated database, not from the SQL files: a test compares, and so fails on
one right more.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg

from pgfleet.schema.database import things
from pgfleet.schema.rows.named import named

Connection = psycopg.Connection[tuple[Any, ...]]
# What it is on, and the words of the GRANT.
Right = tuple[str, str, str]

SQL = named(__package__, "rights")
PAGE = Path(things.__file__).with_name("RIGHTS")
_HEAD = """What each role may do, made by `make generated` from a migrated database; a test compares.
Everybody (PUBLIC) may call functions that run with the caller's own rights, and use the schema public.
"""


def render(conn: Connection) -> str:
    """With row level security off, and what changes when it is on; it is off afterwards."""
    off = rights(conn)
    with conn.transaction(force_rollback=True):
        conn.execute("select public.switch_row_level_security(true)")
        on = rights(conn)
    return "\n".join(
        [
            _HEAD,
            "# Row level security off\n",
            *_lines(sorted(off)),
            "\n# More where it is on, of the rows that the policies let through\n",
            *_lines(sorted(on - off)),
            "\n# Less where it is on\n",
            *_lines(sorted(off - on)),
            "",
        ]
    )


def rights(conn: Connection) -> set[Right]:
    """Role, thing and words of every right of a role of ours, and every membership."""
    return set(conn.execute(SQL["rights"]).fetchall())


def _lines(rights: Iterable[Right]) -> list[str]:
    lines: list[str] = []
    last = ""
    for role, thing, may in rights:
        if role != last:
            lines += ["", f"{role}:"]
            last = role
        lines.append(f"  {thing}: {may}")
    return lines[1:]
