"""`/v1/events` and `/v1/reservations/{id}/events`: what moves, as Server-Sent Events."""

from typing import Annotated

from pydantic import StringConstraints

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, Shape
from pgfleet.producers.http.endpoints.reservations import ONE, found
from pgfleet.producers.http.sending import for_whom
from pgfleet.schema.feed.filters import Filters
from pgfleet.schema.feed.known import refuse_strange
from pgfleet.schema.messages import Name
from pgfleet.schema.reservation import MACHINE

Words = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]{1,50}(,[A-Za-z_]{1,50}){0,20}$")]


class EventFilter(Shape):
    """Of `machine` and `to`, several with commas between."""

    machine: Words | None = None
    to: Words | None = None
    user: Name | None = None
    row: Name | None = None


def stream_events(call: Call) -> Answer:
    asked = call.asked(EventFilter)
    user = None if asked.user is None else for_whom(call, asked.user)
    machines, states = _words(asked.machine), _words(asked.to)
    refuse_strange(call.conn, machines, states, ("machine", "to"))
    return Answer(Filters(machines, states, user, asked.row))


def _words(given: str | None) -> frozenset[str] | None:
    return None if given is None else frozenset(given.split(","))


def stream_reservation(call: Call) -> Answer:
    row = found(call)
    return Answer(Filters(machines=frozenset({MACHINE}), row_id=row["reservation_id"]))


READ = "events.read"
ENDPOINTS = (
    Endpoint("GET", "/v1/events", "All that moves, as it moves", READ, stream_events, asks=EventFilter, streams=True),
    Endpoint(
        "GET",
        f"{ONE}/events",
        "The moves of one reservation, as it moves",
        READ,
        stream_reservation,
        refuses=(404,),
        streams=True,
    ),
)
