"""`/v1/pools` and `/v1/schedules`: how many instances there are, may be, and shall be when."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError, Shape, left_out
from pgfleet.producers.http.endpoints.nodes.nodes import changes_in
from pgfleet.producers.http.sending import said
from pgfleet.producers.http.shapes.pools import Pool, Schedule
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.messages import Name, matching
from pgfleet.schema.nodes import listing, writes
from pgfleet.schema.reads.pages.keyset import MOST, USUAL
from pgfleet.schema.rows.row import Row

POOLS, SCHEDULES = "/v1/pools", "/v1/schedules"
POOL, SCHEDULE = f"{POOLS}/{{id}}", f"{SCHEDULES}/{{id}}"
TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

Number = Annotated[int, Field(ge=1, lt=2**31)]
Instances = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
TimeOfDay = Annotated[
    str, matching(TIME, "must be HH:MM, 00:00 to 23:59, UTC"), Field(json_schema_extra={"pattern": TIME})
]
IsActive = Annotated[bool, Field(strict=True)]


class OfNode(Shape):
    """Which page, of one node or of all."""

    node: Number | None = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = USUAL
    cursor: Number | None = None


class PoolChange(Shape):
    """What is not named stays. A pool that is switched off here stays so, whatever its node reports."""

    name: Name = left_out()
    min_instances: Instances = left_out()
    max_instances: Instances = left_out()
    is_active: IsActive = left_out()


class NewSchedule(Shape):
    """Of two at once the larger target counts; one whose end is before its start spans midnight."""

    node_id: Annotated[int, Field(ge=1, lt=2**31, strict=True)]
    name: Name
    start_time: TimeOfDay
    end_time: TimeOfDay
    target_instances: Instances
    is_active: IsActive = True


class ScheduleChange(Shape):
    """What is not named stays."""

    name: Name = left_out()
    start_time: TimeOfDay = left_out()
    end_time: TimeOfDay = left_out()
    target_instances: Instances = left_out()
    is_active: IsActive = left_out()


def _page(rows: Sequence[Row], limit: int) -> Answer:
    """There is more where one more was found than was asked for."""
    shown = rows[:limit]
    return Answer({"items": shown, "next": str(shown[-1]["id"]) if len(rows) > limit else None})


def list_pools(call: Call) -> Answer:
    asked = call.asked(OfNode)
    return _page(listing.pools(call.conn, asked.node, after=asked.cursor or 0, most=asked.limit + 1), asked.limit)


def _pool(call: Call) -> Row:
    number = call.number("id", "pool")
    return _only(listing.pools(call.conn, after=number - 1, most=1), number, "pool")


def _schedule(call: Call) -> Row:
    number = call.number("id", "schedule")
    return _only(listing.schedules(call.conn, after=number - 1, most=1), number, "schedule")


def _only(rows: Sequence[Row], number: int, what: str) -> Row:
    """The first from a number on, if it is that number's."""
    if not rows or rows[0]["id"] != number:
        raise NotFoundError(f"there is no {what} {number}")
    return rows[0]


def get_pool(call: Call) -> Answer:
    return Answer(_pool(call))


def change_pool(call: Call) -> Answer:
    number = call.number("id", "pool")
    writes.change_pool(call.conn, number, changes_in(call))
    row = _pool(call)
    return Answer(row, about=str(number), name=row["name"])


def list_schedules(call: Call) -> Answer:
    asked = call.asked(OfNode)
    return _page(listing.schedules(call.conn, asked.node, after=asked.cursor or 0, most=asked.limit + 1), asked.limit)


def get_schedule(call: Call) -> Answer:
    return Answer(_schedule(call))


def create_schedule(call: Call) -> Answer:
    fields = said(call.body)
    row = writes.add_schedule(call.conn, fields.pop("node_id"), fields)
    number = str(row["id"])
    return Answer(row, headers={"Location": f"{SCHEDULES}/{number}"}, about=number, name=row["name"])


def change_schedule(call: Call) -> Answer:
    row = writes.change_schedule(call.conn, call.number("id", "schedule"), changes_in(call))
    return Answer(row, about=str(row["id"]), name=row["name"])


def remove_schedule(call: Call) -> Answer:
    row = _schedule(call)
    writes.remove_schedule(call.conn, row["id"])
    return Answer(status=204, about=str(row["id"]), name=row["name"])


def _audit(what: str, done: str) -> Audit:
    return Audit(f"{what.upper()}_{done}", "POOL", what)


NIGHTS = {"node_id": 1, "name": "nights", "start_time": "20:00", "end_time": "06:00", "target_instances": 2}
ENDPOINTS = (
    Endpoint(
        "GET",
        POOLS,
        "Pools of one node or of all, with their limits and what is there now",
        "pools.read",
        list_pools,
        Page[Pool],
        asks=OfNode,
    ),
    Endpoint("GET", POOL, "One pool, by its number", "pools.read", get_pool, Pool, refuses=(404,)),
    Endpoint(
        "PATCH",
        POOL,
        "Change a pool's name or limits, or switch it on or off",
        "pools.write",
        change_pool,
        Pool,
        PoolChange,
        audit=_audit("pool", "UPDATED"),
        refuses=(404,),
        example={"min_instances": 1, "max_instances": 20},
    ),
    Endpoint(
        "GET",
        SCHEDULES,
        "Schedules of one node or of all",
        "schedules.read",
        list_schedules,
        Page[Schedule],
        asks=OfNode,
    ),
    Endpoint(
        "POST",
        SCHEDULES,
        "Make a schedule for a node's pools",
        "schedules.write",
        create_schedule,
        Schedule,
        NewSchedule,
        status=201,
        audit=_audit("schedule", "CREATED"),
        refuses=(404,),
        example=NIGHTS,
    ),
    Endpoint("GET", SCHEDULE, "One schedule", "schedules.read", get_schedule, Schedule, refuses=(404,)),
    Endpoint(
        "PATCH",
        SCHEDULE,
        "Change a schedule",
        "schedules.write",
        change_schedule,
        Schedule,
        ScheduleChange,
        audit=_audit("schedule", "UPDATED"),
        refuses=(404,),
        example={"target_instances": 3},
    ),
    Endpoint(
        "DELETE",
        SCHEDULE,
        "Delete a schedule; what it asked for is gone with the next minute",
        "schedules.write",
        remove_schedule,
        status=204,
        audit=_audit("schedule", "DELETED"),
        refuses=(404,),
    ),
)
