"""`/v1/queues`, `/v1/periodic`, `/v1/doctor` and `/v1/audit`: what goes on, and what went wrong."""

from typing import Literal

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint
from pgfleet.producers.http.paging import Listing, paged
from pgfleet.producers.http.shapes.motion import AuditRow, Finding, Periodic, Queue
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.brake.pauses import paused
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.messages import Name
from pgfleet.schema.reads.pages import audit
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.tables.runtime import periodic


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


ENDPOINTS = (
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
