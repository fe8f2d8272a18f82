"""`/v1/reservations/{id}/logs`: what a pod wrote last, and chunk by chunk what it writes while it runs."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, Shape
from pgfleet.producers.http.endpoints.reservations import ONE, READ, found
from pgfleet.producers.http.shapes.reservations import Logs
from pgfleet.schema.reads import pod
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.pages.keyset import BadCursorError
from pgfleet.schema.reads.pages.opaque import closed, opened
from pgfleet.schema.reservation import FINAL, WAITING
from pgfleet.schema.rows.row import Row

NO_POD = "it has no pod yet"
MOST_CHUNKS = 2**31


class After(Shape):
    """Without a cursor, from the last lines on."""

    cursor: Annotated[str, Field(max_length=200)] | None = None


def get_logs(call: Call) -> Answer:
    row, cursor = found(call), call.asked(After).cursor
    if cursor is not None:
        return _chunk(call, row, *_place(cursor, row))
    if row["status"] in FINAL:
        return Answer(_body(row, text=reads.logs(call.conn, row["reservation_id"]), ended=f"it is {row['status']}"))
    if row["status"] in WAITING:
        return Answer(_body(row, ended=NO_POD))
    return _chunk(call, row, pod.begin_reading(call.conn, row["reservation_id"]), 0)


def _chunk(call: Call, row: Row, request: str, number: int) -> Answer:
    text, chunk, has_more, ended = pod.take(call.conn, request, number)
    if text is not None:
        return Answer(_body(row, text, _cursor(row, request, chunk), has_more=has_more))
    if ended is not None:
        return Answer(_body(row, ended=ended))
    cursor = _cursor(row, request, number)
    return Answer(_body(row, cursor=cursor), again=f"cursor={cursor}")


def _body(
    row: Row, text: str | None = None, cursor: str | None = None, *, has_more: bool = False, ended: str | None = None
) -> dict[str, object]:
    known = {"reservation_id": row["reservation_id"], "status": row["status"]}
    return {**known, "text": text, "cursor": cursor, "has_more": has_more, "ended": ended}


def _cursor(row: Row, request: str, number: int) -> str:
    """It is of one reservation, so that nothing is answered in the name of another."""
    return closed(row["reservation_id"], request, number)


def _place(cursor: str, row: Row) -> tuple[str, int]:
    """Raises: BadCursorError."""
    try:
        of_row, request, number = opened(cursor)
        if of_row == row["reservation_id"] and type(number) is int and 0 <= number < MOST_CHUNKS:
            return str(UUID(request)), number
    except (ValueError, TypeError, AttributeError):
        pass
    raise BadCursorError("cursor: must be one that the logs of this reservation have given")


ENDPOINTS = (
    Endpoint(
        "GET",
        f"{ONE}/logs",
        "What its pod wrote last, and what it writes while it runs",
        READ,
        get_logs,
        Logs,
        asks=After,
        refuses=(404,),
    ),
)
