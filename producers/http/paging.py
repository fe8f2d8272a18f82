"""Lists by pages: what their parameters are, and how a page is answered."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from pgfleet.producers.http.endpoint import Answer, Shape
from pgfleet.schema.messages import read_time
from pgfleet.schema.reads.pages.keyset import MOST, USUAL, Page, Wanted


def _with_zone(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("must have its zone, such as 2026-11-28T14:03:00Z")
    return at


Since = Annotated[
    datetime,
    BeforeValidator(read_time),
    AfterValidator(_with_zone),
    Field(json_schema_extra={"format": "date-time", "type": "string"}),
]


class Listing(Shape):
    """Which page of a list; `since` leaves what has changed at that time or later."""

    limit: Annotated[int, Field(ge=1, le=MOST)] = USUAL
    cursor: Annotated[str, Field(max_length=1000)] | None = None
    since: Since | None = None

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.cursor, self.limit, self.since)


def paged(page: Page) -> Answer:
    return Answer({"items": page.rows, "next": page.next})
