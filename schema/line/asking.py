"""Asking the database how lines stand; inside a pipeline the answers are read later."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import args_row

from pgfleet.schema.line.standing import Held, Standing, end_of
from pgfleet.schema.line.unit import Pace, Unit, unit_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.room import room_of
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row, as_rows

SQL = named(__package__)
# More are not booked at once of one type, or they are not seen by a look.
BOOKED_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Answers:
    """Of each line its bookings, by GPU type; the rest is of all of them at once, as it reads all pods."""

    booked: Mapping[str, psycopg.Cursor[Row]]
    fronts: psycopg.Cursor[Row]
    rooms: psycopg.Cursor[Row]
    ends: psycopg.Cursor[Held]
    figures: psycopg.Cursor[Row]


def ask_lines(conn: Connection, gpu_types: Collection[str], most: int | None, idle: Iterable[str] = ()) -> Answers:
    """Ask for the front of each line, or all of it, and for what it waits for.

    Of idle GPU types nobody waits for any: what is free of them, and not when the rest will be.
    """

    def ask(name: str, **asked: Any) -> psycopg.Cursor[Row]:
        return conn.cursor(row_factory=as_rows).execute(SQL[name], asked)

    every = list(gpu_types)
    return Answers(
        booked={name: ask("booked", gpu_type=name, most=BOOKED_LIMIT) for name in every},
        fronts=ask("fronts", gpu_types=every, most=most),
        rooms=ask("rooms", gpu_types=[*every, *idle]),
        ends=conn.cursor(row_factory=args_row(Held)).execute(SQL["ends"], {"gpu_types": every}),
        figures=ask("figures", gpu_types=every),
    )


def units_ahead(conn: Connection, key: str) -> int:
    """How many units go before this one."""
    return int(ask(conn, SQL["ahead"], unit=key)[0]["ahead"])


def standings_in(answers: Answers, grace_s: float) -> dict[str, Standing]:
    """The lines that were asked for, by GPU type, where there is such a type. `grace_s` follows every expiry."""
    figures = {row["gpu_type"]: row for row in answers.figures}
    fronts, ends = defaultdict[str, list[Row]](list), defaultdict[str, list[Held]](list)
    for row in answers.fronts:
        fronts[row["gpu_type"]].append(row)
    for held in answers.ends:
        ends[held.gpu_type].append(held)

    def standing(row: Row) -> Standing:
        name, now, room = row["gpu_type"], row["now"], room_of(row)
        of_type = figures.get(name)
        if of_type is None:
            return Standing(name, now, room)
        pace = _pace(of_type, grace_s)
        return Standing(
            gpu_type=name,
            now=now,
            room=room,
            line=_units(fronts[name]),
            bookings=_units(answers.booked[name]),
            ends=tuple(end_of(held, pace, now) for held in ends[name]),
            pace=pace,
            extensions_win=of_type["extensions_win"],
        )

    return {row["gpu_type"]: standing(row) for row in answers.rooms}


def _units(rows: Iterable[Row]) -> tuple[Unit, ...]:
    return tuple(unit_of(row) for row in rows if not row["is_lost"])


def _pace(figures: Mapping[str, Any], grace_s: float) -> Pace:
    return Pace(
        preparing=timedelta(seconds=figures["preparing_s"]),
        grace=timedelta(seconds=grace_s),
        teardown=timedelta(seconds=figures["teardown_s"]),
    )
