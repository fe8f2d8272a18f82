"""`/v1/pauses`: kinds whose messages stay in the queue, and deletions outside, which operators hold back."""

from typing import Annotated

from pydantic import StringConstraints

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError, Shape
from pgfleet.producers.http.shapes.motion import Pause
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.brake.pauses import DELETES, pause, paused, resume
from pgfleet.schema.errors import Refusal
from pgfleet.schema.kinds import contracts
from pgfleet.schema.messages import ONE_LINE
from pgfleet.schema.rows.row import Row

PATH = "/v1/pauses"
ONE = f"{PATH}/{{what}}"


class Why(Shape):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500), ONE_LINE] | None = None


def _what(call: Call) -> str:
    what = call.path["what"]
    if what != DELETES and what not in contracts():
        raise NotFoundError(f"there is no kind {what[:40]}; there are {', '.join(sorted(contracts()))}, and {DELETES}")
    return what


def _pauses(call: Call) -> list[Row]:
    return [Row({**row, "name": DELETES if row["what"] == DELETES else row["name"]}) for row in paused(call.conn)]


def list_pauses(call: Call) -> Answer:
    return Answer({"items": _pauses(call)})


def begin_pause(call: Call) -> Answer:
    what = _what(call)
    pause(call.conn, what, call.principal.username, call.given(Why).reason)
    row = next((row for row in _pauses(call) if row["name"] == what), None)
    if row is None:
        raise Refusal(f"the pause of {what} was ended by somebody else")
    return Answer(row, about=what)


def end_pause(call: Call) -> Answer:
    what = _what(call)
    resume(call.conn, what)
    return Answer(status=204, about=what)


ENDPOINTS = (
    Endpoint("GET", PATH, "What is held back, and why", "pauses.read", list_pauses, Page[Pause]),
    Endpoint(
        "PUT",
        ONE,
        "Hold a kind back, or `deletes`; one that is paused already stays as it is",
        "pauses.write",
        begin_pause,
        Pause,
        Why,
        audit=Audit("PAUSE_BEGUN", "SYSTEM", "pause"),
        refuses=(404,),
        example={"reason": "the cluster is being upgraded"},
    ),
    Endpoint(
        "DELETE",
        ONE,
        "Let it go on",
        "pauses.write",
        end_pause,
        status=204,
        audit=Audit("PAUSE_ENDED", "SYSTEM", "pause"),
        refuses=(404,),
    ),
)
