"""Asking the database how a line stands; inside a pipeline the answers are read later."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from pgfleet.schema.line.standing import Standing, end_of
from pgfleet.schema.line.unit import Pace, unit_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.room import room_of
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row, as_rows

SQL = named(__package__)
# More are not booked at once of one type, or they are not seen by a look.
BOOKED_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Answers:
    gpu_type: str
    front: psycopg.Cursor[Row]
    booked: psycopg.Cursor[Row]
    room: psycopg.Cursor[Row]
    ends: psycopg.Cursor[Row]
    figures: psycopg.Cursor[Row]


def ask_line(conn: Connection, gpu_type: str, most: int | None) -> Answers:
    """Ask for the front of a line, or all of it, and for what it waits for."""

    def ask(name: str, **more: Any) -> psycopg.Cursor[Row]:
        return conn.cursor(row_factory=as_rows).execute(SQL[name], {"gpu_type": gpu_type, **more})

    return Answers(
        gpu_type,
        front=ask("front", most=most),
        booked=ask("booked", most=BOOKED_LIMIT),
        room=ask("room"),
        ends=ask("ends"),
        figures=ask("figures"),
    )


def without_lines(conn: Connection, gpu_types: Collection[str]) -> dict[str, Standing]:
    """How GPU types stand for which nobody waits: what is free, and not when the rest will be."""
    rows = ask(conn, SQL["rooms"], gpu_types=list(gpu_types))
    return {row["gpu_type"]: Standing(row["gpu_type"], row["now"], room_of(row)) for row in rows}


def units_ahead(conn: Connection, key: str) -> int:
    """How many units go before this one."""
    return int(ask(conn, SQL["ahead"], unit=key)[0]["ahead"])


def standing_in(answers: Answers, grace_s: float) -> Standing | None:
    """The line that was asked for; None where there is no such type. `grace_s` follows every expiry."""
    figures, room = answers.figures.fetchone(), answers.room.fetchone()
    if figures is None or room is None:
        return None
    pace = _pace(figures, grace_s)
    return Standing(
        gpu_type=answers.gpu_type,
        now=figures["now"],
        room=room_of(room),
        line=tuple(unit_of(row) for row in answers.front if not row["is_lost"]),
        bookings=tuple(unit_of(row) for row in answers.booked if not row["is_lost"]),
        ends=tuple(end_of(row, pace, figures["now"]) for row in answers.ends),
        pace=pace,
        extensions_win=figures["extensions_win"],
    )


def _pace(figures: Mapping[str, Any], grace_s: float) -> Pace:
    return Pace(
        preparing=timedelta(seconds=figures["preparing_s"]),
        grace=timedelta(seconds=grace_s),
        teardown=timedelta(seconds=figures["teardown_s"]),
    )
