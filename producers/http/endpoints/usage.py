"""`/v1/usage` and `/v1/policies`: what people have used and owe, and how much of what they may have."""

from typing import Annotated

from pydantic import Field

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, NotFoundError, Shape
from pgfleet.producers.http.endpoints.assignments import whose_users
from pgfleet.producers.http.sending import for_whom
from pgfleet.producers.http.shapes.assignments import Usage, UsageOfOne
from pgfleet.producers.http.shapes.shown import Page, Shown
from pgfleet.schema.messages import Name, matching
from pgfleet.schema.policy.book import limits_of
from pgfleet.schema.reads import usage as reads
from pgfleet.schema.reads.assignment import user as hopsworks_user
from pgfleet.schema.reads.pages import usage as pages
from pgfleet.schema.reads.pages.keyset import MOST, USUAL, Wanted

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


class ForUser(Shape):
    """For whom; an operator may name another."""

    user_id: Name | None = None


class Limit(Shown):
    """`most` is null where there is no limit; `patterns` are the images that are allowed."""

    user_id: str
    name: str
    counts: str
    gpu_type: str
    most: float | None
    used: float | None
    patterns: list[str] | None
    applies_to: str


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


def list_policies(call: Call) -> Answer:
    user = for_whom(call, call.asked(ForUser).user_id)
    return Answer({"items": list(limits_of(call.conn, user).values())})


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
        "/v1/policies",
        "How much of what one may have, and has",
        "policies.read",
        list_policies,
        Page[Limit],
        asks=ForUser,
    ),
)
