"""`/v1/reservations`: asked for, looked at, and what a user asks of one."""

import uuid
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, NotFoundError, Shape, Waiting
from pgfleet.producers.http.paging import Listing, paged
from pgfleet.producers.http.sending import Asks, accepted, asked, for_whom, said
from pgfleet.producers.http.shapes.reservations import DryRun, Reservation, Timeline
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.producers.placing.reservation import place_reservation
from pgfleet.producers.reading.looking_ahead import as_json, look_ahead
from pgfleet.producers.reading.timeline import coming, past, read_timeline
from pgfleet.schema.container import GithubUser
from pgfleet.schema.errors import Refusal
from pgfleet.schema.messages import Hours, Name, Uuid, checked
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.pages import reservation as pages
from pgfleet.schema.reservation import (
    ADDED_HOURS_LIMIT,
    ALIASES,
    MACHINE,
    QUEUE,
    WAITING,
    AddUser,
    Cancel,
    CreateReservation,
    DisableJupyter,
    EnableJupyter,
    Extend,
    Request,
    Retry,
    Status,
    retried_id,
)
from pgfleet.schema.rows.row import Row

WHAT = "reservation"
PATH = "/v1/reservations"
ONE = f"{PATH}/{{id}}"


class NewReservation(CreateReservation):
    """Without an id it has a new one; without a user it is for who asks."""

    reservation_id: Uuid | None = None  # type: ignore[assignment]  # filled in before it is sent
    user_id: Name | None = None  # type: ignore[assignment]  # same


class Extension(Shape):
    extension_hours: Annotated[Hours, Field(le=ADDED_HOURS_LIMIT)]


class NewUser(Shape):
    github_username: GithubUser


class ReservationFilter(Listing):
    """`user_id` of another is an operator's to name. `live`: only what is not over."""

    status: Annotated[Name, Field(json_schema_extra={"enum": [*Status, *ALIASES]})] | None = None
    gpu_type: Name | None = None
    user_id: Name | None = None
    live: bool = False


def href(reservation_id: str) -> str:
    return f"{PATH}/{reservation_id}"


def found(call: Call) -> Row:
    """The reservation that the path names, by its id or by a beginning of it that no other of the user's has.

    Raises:
        NotFoundError: there is none that the principal may see.
    """
    try:
        row = reads.resolve(call.conn, call.path["id"], call.principal.username)
    except Refusal as error:
        raise NotFoundError(f"there is no reservation {call.path['id'][:40]}") from error
    call.must_see(row["user_id"], f"reservation {call.path['id'][:40]}")
    return row


def _grace(call: Call) -> timedelta:
    return timedelta(seconds=call.settings.expiry_grace_s)


def _shown(call: Call, row: Row) -> dict[str, Any]:
    if row["status"] not in WAITING:
        return row
    _, place = reads.place_now(call.conn, row, _grace(call))
    return {**row, **(place.as_json() if place else {})}


def create_reservation(call: Call) -> Answer:
    message = _message(call)
    place_reservation(call.conn, message)
    return accepted(message.reservation_id, href(message.reservation_id), message.name)


def _message(call: Call) -> CreateReservation:
    given = said(call.body)
    given["user_id"] = for_whom(call, given.get("user_id"))
    given["reservation_id"] = given.get("reservation_id") or str(uuid.uuid4())
    return checked(CreateReservation, given)


def try_reservation(call: Call) -> Answer:
    message = _message(call)
    answer, _ = look_ahead(call.conn, message, call.settings)
    return Answer(as_json(answer, message))


def list_reservations(call: Call) -> Answer:
    wanted = call.asked(ReservationFilter)
    user = for_whom(call, wanted.user_id) if wanted.user_id or call.owner else None
    filters = pages.Filters(user, wanted.status, wanted.gpu_type, wanted.live)
    return paged(pages.listed(call.conn, filters, wanted.wanted))


def get_reservation(call: Call) -> Answer:
    row = found(call)
    return Answer(_shown(call, row), about=row["reservation_id"])


def cancel_reservation(call: Call) -> Answer:
    return _ask(call, Cancel)


def extend_reservation(call: Call) -> Answer:
    return _ask(call, Extend)


def add_user(call: Call) -> Answer:
    return _ask(call, AddUser)


def enable_jupyter(call: Call) -> Answer:
    return _ask(call, EnableJupyter)


def disable_jupyter(call: Call) -> Answer:
    return _ask(call, DisableJupyter)


def retry_reservation(call: Call) -> Answer:
    row = found(call)
    sent = asked(call, QUEUE, Retry, _named(row))
    made = retried_id(sent.reservation_id, sent.request_id)
    return accepted(made, href(made), row["name"])


def _ask(call: Call, model: type[Request]) -> Answer:
    row = found(call)
    asked(call, QUEUE, model, {**_named(row), **said(call.body)})
    return accepted(row["reservation_id"], href(row["reservation_id"]), row["name"])


def _named(row: Row) -> dict[str, Any]:
    """Whose it is, as who asks may ask about it."""
    return {"reservation_id": row["reservation_id"], "user_id": row["user_id"]}


def get_timeline(call: Call) -> Answer:
    row = found(call)
    timeline = read_timeline(call.conn, row, _grace(call))
    return Answer(
        {
            "reservation": {**row, **(timeline.place.as_json() if timeline.place else {})},
            "past": [{"at": at, "what": what, "why": why} for at, what, why in past(timeline)],
            "coming": [{"at": at, "what": what, "why": why} for at, what, why in coming(timeline)],
            "paused": timeline.paused,
            "gang": timeline.gang,
        }
    )


READ, WRITE = "reservations.read", "reservations.write"
_asks = Asks(WRITE, QUEUE, WHAT, "SYSTEM")


ENDPOINTS = (
    _asks(
        "POST",
        PATH,
        "Ask for GPUs",
        "CREATED",
        create_reservation,
        NewReservation,
        {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2},
        refuses=(422,),
    ),
    Endpoint(
        "POST",
        f"{PATH}:dry-run",
        "Whether it would start now, and if not why and when; nothing is asked for",
        WRITE,
        try_reservation,
        DryRun,
        NewReservation,
        example={"gpu_type": "h100", "gpu_count": 1},
    ),
    Endpoint(
        "GET",
        PATH,
        "Reservations, the newest first",
        READ,
        list_reservations,
        Page[Reservation],
        asks=ReservationFilter,
    ),
    Endpoint(
        "GET", ONE, "One reservation", READ, get_reservation, Reservation, asks=Waiting, refuses=(404,), machine=MACHINE
    ),
    _asks("DELETE", ONE, "End it, whatever its state", "CANCELLED", cancel_reservation),
    _asks(
        "POST", f"{ONE}/extend", "Give it more hours", "EXTENDED", extend_reservation, Extension, {"extension_hours": 2}
    ),
    _asks("POST", f"{ONE}/retry", "Ask for the same again as an ended one", "RETRIED", retry_reservation),
    _asks("PUT", f"{ONE}/jupyter", "Have Jupyter in it", "JUPYTER_ENABLED", enable_jupyter),
    _asks("DELETE", f"{ONE}/jupyter", "Have no Jupyter in it any more", "JUPYTER_DISABLED", disable_jupyter),
    _asks(
        "POST",
        f"{ONE}/users",
        "Let somebody else in, by their SSH keys at GitHub",
        "USER_ADDED",
        add_user,
        NewUser,
        {"github_username": "octocat"},
    ),
    Endpoint("GET", f"{ONE}/timeline", "What happened, what comes next", READ, get_timeline, Timeline, refuses=(404,)),
)
