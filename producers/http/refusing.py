"""Which problem an error is: one place decides, for all endpoints."""

import uuid
from collections.abc import Callable
from http import HTTPStatus

import psycopg
import structlog
from starlette.responses import Response

from pgfleet.producers.http.answers.repeating import ShownOnceError
from pgfleet.producers.http.endpoint import NotFoundError, NotPermittedError
from pgfleet.producers.http.events.hub import TooManyStreams
from pgfleet.producers.http.gateway.bodies import NotItsOwn
from pgfleet.producers.http.gateway.waiting import Busy, Unanswered
from pgfleet.producers.http.problem import problem
from pgfleet.producers.http.reading import UnsupportedError
from pgfleet.producers.http.who.not_proven import IssuerAwayError, NotProvenError
from pgfleet.producers.placing.refusing import IdUsedError, NotTheirsError
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.feed.cursor import CursorTooOld
from pgfleet.schema.identity.once import StillAskedError
from pgfleet.schema.identity.people import NotLetIn
from pgfleet.schema.identity.signing import TooSoon, WrongPassword
from pgfleet.schema.reads.reservation import AmbiguousId

LOG: structlog.stdlib.BoundLogger = structlog.get_logger()
# SQLSTATEs of our own functions: what a principal may not, and what the door of a queue does not let in.
REFUSED = ("PF013", "PF011")
AWAY_S = 1
# A commit whose answer was lost may have been one.
AGAIN = "whether it was done is not known: the same request again, with the same id or Idempotency-Key, does no harm"


# The first that an error is an instance of; all others are about what was asked.
PROBLEMS: tuple[tuple[type[FleetError], int, str], ...] = (
    (IssuerAwayError, 503, "issuer-away"),
    (NotProvenError, 401, "not-proven"),
    (WrongPassword, 401, "not-proven"),
    (NotPermittedError, 403, "not-permitted"),
    (NotLetIn, 403, "not-permitted"),
    (NotTheirsError, 403, "not-permitted"),
    (NotItsOwn, 403, "not-permitted"),
    (NotFoundError, 404, "not-found"),
    (StillAskedError, 409, "still-asked"),
    (ShownOnceError, 409, "shown-once"),
    (IdUsedError, 422, "used-otherwise"),
    (UnsupportedError, 415, "unsupported-media-type"),
    (CursorTooOld, 410, "cursor-too-old"),
    (TooSoon, 429, "too-many-requests"),
    (TooManyStreams, 503, "too-full"),
    (Busy, 503, "too-full"),
    (Unanswered, 503, "database-away"),
    (AmbiguousId, 409, "conflict"),
    (Refusal, 409, "conflict"),
)


def of_fleet(error: FleetError) -> Response:
    """The problem that an error of ours is."""
    for kind, status, slug in PROBLEMS:
        if isinstance(error, kind):
            return problem(status, slug, str(error), headers=_headers(error, status), hint=getattr(error, "hint", None))
    return problem(400, "bad-request", str(error), errors=_errors(str(error)))


def _headers(error: FleetError, status: int) -> dict[str, str]:
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Bearer realm="pgfleet"'}
    match error:
        case IssuerAwayError():
            return {"Retry-After": str(error.retry_after_s)}
        case TooManyStreams() | Busy() | Unanswered() | StillAskedError():
            return {"Retry-After": str(AWAY_S)}
        case TooSoon():
            return {"Retry-After": str(error.after_s)}
    return {}


def _errors(text: str) -> list[dict[str, str]]:
    """Each field that is wrong, as the sentences of `explain` name it; the rest goes on with the one before."""
    listed: list[dict[str, str]] = []
    for part in text.split("; "):
        field, _, reason = part.partition(": ")
        if reason and " " not in field:
            listed.append({"field": field, "reason": reason})
        elif listed:
            listed[-1]["reason"] += f"; {part}"
    return listed


def of_database(error: psycopg.Error) -> Response:
    said = error.diag.message_primary or ""
    match error.sqlstate:
        case state if state in REFUSED:
            return problem(403, "not-permitted", said, hint=error.diag.message_hint)
        case "PF015":
            return problem(422, "used-otherwise", said, hint=error.diag.message_hint)
        case "PF008":
            return problem(404, "not-found", said)
        case "PF004":
            return problem(400, "bad-request", said, hint=error.diag.message_hint)
        case str(state) if state.startswith("PF"):
            return problem(409, "conflict", said, hint=error.diag.message_hint)
        case "23505":
            # What a constraint says names columns and values; what our functions say is for people.
            told = said if error.diag.constraint_name is None else "there is one already that it can't be beside"
            return problem(409, "conflict", told, hint=error.diag.message_hint)
        case "57014":
            return _away("the database has not answered in time")
        case _ if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return _away("the database can't be reached")
    return mistake(
        lambda instance: LOG.error("http.database_error", instance=instance, sqlstate=error.sqlstate, error=said)
    )


def mistake(log: Callable[[str], object]) -> Response:
    """Of this program: the client is told the name under which `log` writes down more."""
    instance = f"urn:uuid:{uuid.uuid4()}"
    log(instance)
    return problem(500, "internal", "a mistake of this program; its log has more", instance=instance)


def _away(text: str) -> Response:
    return problem(503, "database-away", f"{text}; {AGAIN}", headers={"Retry-After": str(AWAY_S)})
