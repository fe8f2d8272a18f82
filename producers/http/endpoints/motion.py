"""`/v1/queues`, `/v1/pauses`, `/v1/periodic`, `/v1/doctor` and `/v1/audit`: what goes on, and what went wrong."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError, Shape
from pgfleet.producers.http.health.examining import Examined
from pgfleet.producers.http.paging import Listing, paged
from pgfleet.producers.http.shapes.motion import AuditRow, Finding, Pause, Periodic, Queue
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.brake.pauses import DELETES, pause, paused, resume
from pgfleet.schema.errors import Refusal
from pgfleet.schema.kinds import contracts
from pgfleet.schema.messages import ONE_LINE, Name
from pgfleet.schema.reads.pages import audit
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.runtime import periodic

PAUSES = "/v1/pauses"
ONE_PAUSE = f"{PAUSES}/{{what}}"


class AuditFilter(Listing):
    who: Name | None = None
    action: Name | None = None
    category: Literal["AUTH", "NODE", "POOL", "USER", "CONFIG", "SYSTEM"] | None = None
    status: Literal["SUCCESS", "FAILURE"] | None = None
    resource_type: Name | None = None
    resource_id: Name | None = None


def list_queues(call: Call) -> Answer:
    held = {row["what"] for row in paused(call.conn)}
    return Answer({"items": [{**row, "paused": row["queue"] in held} for row in depths(call.conn)]})


def list_periodic(call: Call) -> Answer:
    return Answer({"items": fetch(call.conn, periodic.select().order_by(periodic.c.name))})


def get_doctor(call: Call) -> Answer:
    """What the examination finds that runs, or begins now."""
    return Answer({"items": told(call.examining.begun(call.principal).result())})


def told(examined: Examined) -> list[Row]:
    return [
        Row(
            {
                "code": finding.code,
                "check": finding.check,
                "severity": finding.severity.value,
                "text": finding.text,
                "remedy": finding.remedy,
            }
        )
        for finding in examined.findings
    ]


def list_audit(call: Call) -> Answer:
    asked = call.asked(AuditFilter)
    filters = audit.Filters(
        asked.who, asked.action, asked.category, asked.status, asked.resource_type, asked.resource_id
    )
    return paged(audit.listed(call.conn, filters, asked.wanted))


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
    Endpoint("GET", PAUSES, "What is held back, and why", "pauses.read", list_pauses, Page[Pause]),
    Endpoint(
        "PUT",
        ONE_PAUSE,
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
        ONE_PAUSE,
        "Let it go on",
        "pauses.write",
        end_pause,
        status=204,
        audit=Audit("PAUSE_ENDED", "SYSTEM", "pause"),
        refuses=(404,),
    ),
    Endpoint("GET", "/v1/queues", "How full the queues are", "queues.read", list_queues, Page[Queue]),
    Endpoint("GET", "/v1/periodic", "What is done again and again", "periodic.read", list_periodic, Page[Periodic]),
    Endpoint(
        "GET",
        "/v1/doctor",
        "What is wrong with the database, and what to do",
        "doctor.read",
        get_doctor,
        Page[Finding],
    ),
    Endpoint("GET", "/v1/audit", "Who did what", "audit.read", list_audit, Page[AuditRow], asks=AuditFilter),
)
