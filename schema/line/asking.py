"""Asking the database how lines stand; inside a pipeline the answers are read later."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from pgfleet.schema.line.standing import Standing, end_of
from pgfleet.schema.line.unit import Pace, unit_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.room import Room, room_of
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row, as_rows

SQL = named(__package__)
# More are not booked at once of one type, or they are not seen by a look.
BOOKED_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Answers:
    """Of each line its front and bookings, by GPU type; the rest is of all of them at once, as it reads all pods."""

    fronts: Mapping[str, psycopg.Cursor[Row]]
    booked: Mapping[str, psycopg.Cursor[Row]]
    rooms: psycopg.Cursor[Row]
    ends: psycopg.Cursor[Row]
    figures: psycopg.Cursor[Row]


def ask_lines(conn: Connection, gpu_types: Collection[str], most: int | None) -> Answers:
    """Ask for the front of each line, or all of it, and for what it waits for."""

    def ask(name: str, **asked: Any) -> psycopg.Cursor[Row]:
        return conn.cursor(row_factory=as_rows).execute(SQL[name], asked)

    every = list(gpu_types)
    return Answers(
        fronts={name: ask("front", gpu_type=name, most=most) for name in every},
        booked={name: ask("booked", gpu_type=name, most=BOOKED_LIMIT) for name in every},
        rooms=ask("rooms", gpu_types=every),
        ends=ask("ends", gpu_types=every),
        figures=ask("figures", gpu_types=every),
    )


def without_lines(conn: Connection, gpu_types: Collection[str]) -> dict[str, Standing]:
    """How GPU types stand for which nobody waits: what is free, and not when the rest will be."""
    rows = ask(conn, SQL["rooms"], gpu_types=list(gpu_types))
    return {row["gpu_type"]: Standing(row["gpu_type"], row["now"], room_of(row)) for row in rows}


def units_ahead(conn: Connection, key: str) -> int:
    """How many units go before this one."""
    return int(ask(conn, SQL["ahead"], unit=key)[0]["ahead"])


def standings_in(answers: Answers, grace_s: float) -> dict[str, Standing]:
    """The lines that were asked for, by GPU type, where there is such a type. `grace_s` follows every expiry."""
    rooms = {row["gpu_type"]: room_of(row) for row in answers.rooms}
    figures = {row["gpu_type"]: row for row in answers.figures}
    ends: dict[str, list[Row]] = defaultdict(list)
    for row in answers.ends:
        ends[row["gpu_type"]].append(row)
    return {name: _standing(answers, room, figures[name], ends[name], grace_s) for name, room in rooms.items()}


def _standing(answers: Answers, room: Room, figures: Row, ends: list[Row], grace_s: float) -> Standing:
    pace, front, booked = _pace(figures, grace_s), answers.fronts[room.gpu_type], answers.booked[room.gpu_type]
    return Standing(
        gpu_type=room.gpu_type,
        now=figures["now"],
        room=room,
        line=tuple(unit_of(row) for row in front if not row["is_lost"]),
        bookings=tuple(unit_of(row) for row in booked if not row["is_lost"]),
        ends=tuple(end_of(row, pace, figures["now"]) for row in ends),
        pace=pace,
        extensions_win=figures["extensions_win"],
    )


def _pace(figures: Mapping[str, Any], grace_s: float) -> Pace:
    return Pace(
        preparing=timedelta(seconds=figures["preparing_s"]),
        grace=timedelta(seconds=grace_s),
        teardown=timedelta(seconds=figures["teardown_s"]),
    )
