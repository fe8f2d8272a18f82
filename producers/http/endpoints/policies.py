"""`/v1/policies`: how much of what people may have, what is used of it, and who says so."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError, Shape
from pgfleet.producers.http.sending import for_whom
from pgfleet.producers.http.shapes.shown import Page, Shown
from pgfleet.schema.errors import Refusal
from pgfleet.schema.messages import ONE_LINE, Name
from pgfleet.schema.policy.book import EVERYBODY, MOST, TEAM, USER, Whose, limit_names, limits_of, put
from pgfleet.schema.policy.book import remove as take_away
from pgfleet.schema.reads import reservation as reads

PATH = "/v1/policies"
ONE = f"{PATH}/{{limit}}"
WRITE = "policies.write"
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^,\s]+$")]


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


class ForWhom(Shape):
    """A user or a team (by the id of its owner); neither is everybody. Of GPUs it may be about one type."""

    user: Annotated[Name, ONE_LINE] | None = None
    team: Annotated[Name, ONE_LINE] | None = None
    gpu_type: Name | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "ForWhom":
        if self.user is not None and self.team is not None:
            raise ValueError("user and team: give one of them, or neither for everybody")
        return self


class NewPolicy(ForWhom):
    """How much at most; of images, the patterns that are allowed. With neither there is no limit."""

    most: Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)] | None = None
    patterns: Annotated[list[Pattern], Field(min_length=1, max_length=100)] | None = None


def list_policies(call: Call) -> Answer:
    user = for_whom(call, call.asked(ForUser).user_id)
    return Answer({"items": list(limits_of(call.conn, user).values())})


def put_policy(call: Call) -> Answer:
    body = call.given(NewPolicy)
    whose = _whose(call, body)
    put(call.conn, whose, body.most, body.patterns, call.principal.username)
    return Answer(status=204, about=whose.limit_name, name=whose.shown)


def remove_policy(call: Call) -> Answer:
    whose = _whose(call, call.asked(ForWhom))
    if not take_away(call.conn, whose, call.principal.username):
        raise NotFoundError(f"there is no policy of {whose.shown}")
    return Answer(status=204, about=whose.limit_name, name=whose.shown)


def _whose(call: Call, given: ForWhom) -> Whose:
    limit = call.path["limit"]
    if limit not in limit_names(call.conn):
        raise NotFoundError(f"there is no limit {limit[:60]}")
    if given.gpu_type is not None and given.gpu_type not in reads.types(call.conn):
        raise Refusal(f"gpu_type: there is no GPU type {given.gpu_type[:60]}")
    for applies_to, subject in ((USER, given.user), (TEAM, given.team)):
        if subject is not None:
            return Whose(limit, applies_to, subject, given.gpu_type or "")
    return Whose(limit, EVERYBODY, "", given.gpu_type or "")


ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        "How much of what one may have, and has",
        "policies.read",
        list_policies,
        Page[Limit],
        asks=ForUser,
    ),
    Endpoint(
        "PUT",
        ONE,
        "Say how much one user may have of something; who has more keeps it, and gets no more",
        WRITE,
        put_policy,
        takes=NewPolicy,
        status=204,
        audit=Audit("POLICY_SET", "CONFIG", "policy"),
        refuses=(404, 409),
        example={"most": 4, "user": "ada", "gpu_type": "h100"},
    ),
    Endpoint(
        "DELETE",
        ONE,
        "Take a policy away; then what is said for more people counts",
        WRITE,
        remove_policy,
        asks=ForWhom,
        status=204,
        audit=Audit("POLICY_REMOVED", "CONFIG", "policy"),
        refuses=(404, 409),
    ),
)
