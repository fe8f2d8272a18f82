"""`/v1/dead-letters`: what could not be handled; replayed and discarded by operators, one by one or many at once."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError, Shape
from pgfleet.producers.http.paging import Listing, paged
from pgfleet.producers.http.shapes.motion import Answered, AnsweredMany, DeadLetter, DeadLetterWhole
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.kinds import contracts, queues
from pgfleet.schema.messages import Name
from pgfleet.schema.nearest import meant
from pgfleet.schema.printable import plural
from pgfleet.schema.reads.pages import letter as pages
from pgfleet.schema.replay import letters
from pgfleet.schema.rows.row import Row

PATH = "/v1/dead-letters"
ONE = f"{PATH}/{{id}}"
READ, WRITE = "dead-letters.read", "dead-letters.write"
MOST = 200


class LetterFilter(Listing):
    kind: Annotated[Name, Field(json_schema_extra={"enum": sorted({*contracts(), *queues()})})] | None = None
    verdict: Literal["failure", "rejection"] | None = None
    reason: Name | None = None
    row: Name | None = None
    answered: bool = False


class Chosen(Shape):
    ids: Annotated[list[Annotated[int, Field(ge=1, lt=2**63)]], Field(min_length=1, max_length=MOST)]


def found(call: Call) -> Row:
    """The letter that the path names.

    Raises:
        NotFoundError: there is none.
    """
    given = call.path["id"]
    is_number = given.isascii() and given.isdigit() and int(given) < 2**63
    row = pages.by_number(call.conn, int(given)) if is_number else None
    if row is None:
        raise NotFoundError(f"there is no dead letter {given[:20]}")
    return row


def list_dead_letters(call: Call) -> Answer:
    asked = call.asked(LetterFilter)
    filters = letters.Filters(_queue(asked.kind), asked.verdict, asked.reason, asked.row, answered_too=asked.answered)
    return paged(pages.listed(call.conn, filters, asked.wanted))


def _queue(kind: str | None) -> str | None:
    if kind is None or kind in queues():
        return kind
    if kind not in contracts():
        raise FleetError(f"kind: there is no kind {kind[:40]}; {meant(kind, contracts())}")
    return contracts()[kind].queue


def get_dead_letter(call: Call) -> Answer:
    row = found(call)
    return Answer({**row, **pages.whole(call.conn, row)})


def replay_dead_letter(call: Call) -> Answer:
    number = found(call)["dead_letter_id"]
    done = letters.replay(call.conn, number, call.principal.username)
    return Answer({"dead_letter_id": number, "done": done}, about=str(number))


def discard_dead_letter(call: Call) -> Answer:
    number = found(call)["dead_letter_id"]
    letters.discard(call.conn, number, call.principal.username)
    return Answer({"dead_letter_id": number, "done": "discarded"}, about=str(number))


def replay_dead_letters(call: Call) -> Answer:
    return _each(call, lambda number: letters.replay(call.conn, number, call.principal.username))


def discard_dead_letters(call: Call) -> Answer:
    def discard(number: int) -> str:
        letters.discard(call.conn, number, call.principal.username)
        return "discarded"

    return _each(call, discard)


def _each(call: Call, answer: Callable[[int], str]) -> Answer:
    """One that can't be answered leaves the others alone. In order, so that two who ask wait for each other once."""
    items: list[dict[str, Any]] = []
    for number in sorted(set(call.given(Chosen).ids)):
        try:
            items.append({"dead_letter_id": number, "done": answer(number), "refused": None})
        except Refusal as refusal:
            items.append({"dead_letter_id": number, "done": None, "refused": str(refusal)})
    done = [str(item["dead_letter_id"]) for item in items if item["refused"] is None]
    return Answer({"items": items}, about=",".join(done), name=plural(len(done), "dead letter"))


def _answers(path: str, does: str, done: str, handle: Callable[[Call], Answer], *, is_one: bool) -> Endpoint:
    return Endpoint(
        "POST",
        path,
        does,
        WRITE,
        handle,
        Answered if is_one else AnsweredMany,
        None if is_one else Chosen,
        audit=Audit(f"DEAD_LETTER_{done}", "SYSTEM", "dead_letter"),
        refuses=(404, 409) if is_one else (),
        example=None if is_one else {"ids": [1, 2]},
    )


ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        "Messages that could not be handled",
        READ,
        list_dead_letters,
        Page[DeadLetter],
        asks=LetterFilter,
    ),
    Endpoint("GET", ONE, "One of them", READ, get_dead_letter, DeadLetterWhole, refuses=(404,)),
    _answers(
        f"{ONE}:replay",
        "Send it again; what failed with it, such as a reservation, goes back to its line",
        "REPLAYED",
        replay_dead_letter,
        is_one=True,
    ),
    _answers(f"{ONE}:discard", "Say that nothing needs to be done", "DISCARDED", discard_dead_letter, is_one=True),
    _answers(
        f"{PATH}:replay",
        "Replay many; those that can't be leave the others alone",
        "REPLAYED",
        replay_dead_letters,
        is_one=False,
    ),
    _answers(f"{PATH}:discard", "Discard many", "DISCARDED", discard_dead_letters, is_one=False),
)
