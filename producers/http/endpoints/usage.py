"""`/v1/usage` and `/v1/gpu-usage`: what people have used, and what they owe."""

from datetime import date
from typing import Annotated

from pydantic import Field

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, NotFoundError, Shape
from pgfleet.producers.http.endpoints.assignments import whose_users
from pgfleet.producers.http.sending import for_whom
from pgfleet.producers.http.shapes.assignments import Usage, UsageOfOne
from pgfleet.producers.http.shapes.shown import Shown
from pgfleet.schema.messages import Name, matching
from pgfleet.schema.reads import usage as reads
from pgfleet.schema.reads.assignment import user as hopsworks_user
from pgfleet.schema.reads.pages import usage as pages
from pgfleet.schema.reads.pages.keyset import MOST, USUAL, Wanted
from pgfleet.schema.reads.pictures import usage as pictures

MONTH = r"^2[0-9]{3}-(0[1-9]|1[0-2])$"
MonthText = Annotated[
    str,
    matching(MONTH, "must be a month such as 2026-11"),
    Field(description="As 2026-11; without it the present one, of UTC.", json_schema_extra={"pattern": MONTH}),
]


class OfMonth(Shape):
    month: MonthText | None = None


class UsageFilter(OfMonth):
    user_id: Name | None = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = USUAL
    cursor: Annotated[str, Field(max_length=1000)] | None = None


class GpuUsageFilter(OfMonth):
    """Of one user; an operator may name another, or nobody for everybody."""

    user_id: Name | None = None


class GpuDay(Shown):
    """What ran on one day (UTC) of GPUs of one type; a gang's nodes count each for itself."""

    date: date
    gpu_type: str
    gpu_hours: float
    reservations: int


class GpuUser(Shown):
    """What one user's reservations had of GPUs of one type."""

    user_id: str
    gpu_type: str
    gpu_hours: float
    reservations: int


class GpuUsage(Shown):
    """A month of reservations: by day and type, and those users that had most."""

    month: str
    days: list[GpuDay]
    users: list[GpuUser]


def list_usage(call: Call) -> Answer:
    asked = call.asked(UsageFilter)
    month = reads.read_month(call.conn, asked.month)
    wanted = Wanted(asked.cursor, asked.limit)
    found = pages.listed(call.conn, month, whose_users(call, asked.user_id), wanted)
    currency = reads.currency(call.conn)
    return Answer({"month": str(month), "currency": currency, "items": found.rows, "next": found.next})


def get_usage(call: Call) -> Answer:
    user_id = call.path["user_id"]
    if not whose_users(call, user_id) or hopsworks_user(call.conn, user_id) is None:
        raise NotFoundError(f"there is no user {user_id[:60]} of Hopsworks")
    month = reads.read_month(call.conn, call.asked(OfMonth).month)
    known = {"user_id": user_id, "month": str(month), "currency": reads.currency(call.conn)}
    of_month = {"days": reads.days(call.conn, user_id, month), "charges": reads.charges(call.conn, user_id)}
    return Answer({**known, **of_month, **reads.credit(call.conn, user_id)})


def get_gpu_usage(call: Call) -> Answer:
    asked = call.asked(GpuUsageFilter)
    user = for_whom(call, asked.user_id) if asked.user_id or call.owner else None
    month = reads.read_month(call.conn, asked.month)
    found = pictures.of_month(call.conn, month, user)
    return Answer({"month": str(month), "days": found.days, "users": found.users})


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/usage",
        "What users of Hopsworks have used in a month, and what they owe",
        "usage.read",
        list_usage,
        Usage,
        asks=UsageFilter,
    ),
    Endpoint(
        "GET",
        "/v1/usage/{user_id}",
        "One user's days of a month, and the last charges",
        "usage.read",
        get_usage,
        UsageOfOne,
        asks=OfMonth,
        refuses=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/gpu-usage",
        "GPU hours of reservations in a month: by day, type and user",
        "usage.read",
        get_gpu_usage,
        GpuUsage,
        asks=GpuUsageFilter,
    ),
)
