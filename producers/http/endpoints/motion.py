"""`/v1/queues`, `/v1/dead-letters`, `/v1/periodic`, `/v1/doctor` and `/v1/audit`: what goes on, and what went wrong."""

from typing import Literal

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, NotFoundError
from pgfleet.producers.http.paging import Listing, paged
from pgfleet.producers.http.shapes.motion import AuditRow, DeadLetter, Finding, Periodic, Queue
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.brake.pauses import paused
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.errors import FleetError
from pgfleet.schema.kinds import contracts, queues
from pgfleet.schema.messages import Name
from pgfleet.schema.nearest import meant
from pgfleet.schema.reads.pages import audit, letter
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.replay.letters import Filters
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.tables.runtime import periodic


class LetterFilter(Listing):
    kind: Name | None = None
    verdict: Literal["failure", "rejection"] | None = None
    reason: Name | None = None
    row: Name | None = None
    answered: bool = False


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


def list_dead_letters(call: Call) -> Answer:
    asked = call.asked(LetterFilter)
    filters = Filters(_queue(asked.kind), asked.verdict, asked.reason, asked.row, answered_too=asked.answered)
    return paged(letter.listed(call.conn, filters, asked.wanted))


def get_dead_letter(call: Call) -> Answer:
    found = letter.by_number(call.conn, call.number("id", "dead letter", 2**63 - 1))
    if found is None:
        raise NotFoundError(f"there is no dead letter {call.path['id'][:20]}")
    return Answer(found)


def _queue(kind: str | None) -> str | None:
    if kind is None or kind in queues():
        return kind
    if kind not in contracts():
        raise FleetError(f"kind: there is no kind {kind[:40]}; {meant(kind, contracts())}")
    return contracts()[kind].queue


def list_periodic(call: Call) -> Answer:
    return Answer({"items": fetch(call.conn, periodic.select().order_by(periodic.c.name))})


def get_doctor(call: Call) -> Answer:
    found = [
        {
            "code": finding.code,
            "check": finding.check,
            "severity": finding.severity.value,
            "text": finding.text,
            "remedy": finding.remedy,
        }
        for finding in examine(call.conn)
    ]
    return Answer({"items": found})


def list_audit(call: Call) -> Answer:
    asked = call.asked(AuditFilter)
    filters = audit.Filters(
        asked.who, asked.action, asked.category, asked.status, asked.resource_type, asked.resource_id
    )
    return paged(audit.listed(call.conn, filters, asked.wanted))


LETTERS, LETTERS_READ = "/v1/dead-letters", "dead-letters.read"
ENDPOINTS = (
    Endpoint("GET", "/v1/queues", "How full the queues are", "queues.read", list_queues, Page[Queue]),
    Endpoint(
        "GET",
        LETTERS,
        "Messages that could not be handled",
        LETTERS_READ,
        list_dead_letters,
        Page[DeadLetter],
        asks=LetterFilter,
    ),
    Endpoint("GET", f"{LETTERS}/{{id}}", "One of them", LETTERS_READ, get_dead_letter, DeadLetter, refuses=(404,)),
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
