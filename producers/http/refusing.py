"""Which problem an error is: one place decides, for all endpoints."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from starlette.responses import Response

from pgfleet.producers.http.endpoint import NotFoundError, NotPermittedError, PreconditionError
from pgfleet.producers.http.problem import problem
from pgfleet.producers.http.reading import UnsupportedError
from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.schema.errors import FleetError, Refusal

# SQLSTATEs of our own functions: what a principal may not, and what the door of a queue does not let in.
REFUSED = ("PF013", "PF011")
AWAY_S = 1
# A commit whose answer was lost may have been one.
AGAIN = "whether it was done is not known: the same request again, with the same id or Idempotency-Key, does no harm"


class TooManyError(FleetError):
    """Who asks has asked too often; `headers` say when it may again."""

    def __init__(self, text: str, headers: Mapping[str, str]) -> None:
        super().__init__(text)
        self.headers = headers


class TooFullError(FleetError):
    """So much waits that nothing more is taken; the text says what, and for how long."""

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


def of_fleet(error: FleetError) -> Response:
    text = str(error)
    match error:
        case NotProvenError():
            return problem(401, "not-proven", text, headers={"WWW-Authenticate": 'Bearer realm="pgfleet"'})
        case NotPermittedError():
            return problem(403, "not-permitted", text)
        case NotFoundError():
            return problem(404, "not-found", text)
        case PreconditionError():
            return problem(412, "changed-meanwhile", text)
        case UnsupportedError():
            return problem(415, "unsupported-media-type", text)
        case TooManyError():
            return problem(429, "too-many-requests", text, headers=error.headers)
        case TooFullError():
            return problem(503, "too-full", text, headers={"Retry-After": str(error.retry_after_s)})
        case Refusal():
            return problem(409, "conflict", text)
        case _:
            return problem(400, "bad-request", text, errors=_errors(text))


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


def of_database(error: psycopg.Error, log: Any) -> Response:
    said = error.diag.message_primary or ""
    match error.sqlstate:
        case state if state in REFUSED:
            return problem(403, "not-permitted", said, hint=error.diag.message_hint)
        case "PF015":
            return problem(422, "used-otherwise", said, hint=error.diag.message_hint)
        case "PF008":
            return problem(404, "not-found", said)
        case str(state) if state.startswith("PF"):
            return problem(409, "conflict", said, hint=error.diag.message_hint)
        case "57014":
            return _away("the database has not answered in time")
        case _ if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return _away("the database can't be reached")
    return mistake(
        lambda instance: log.error("http.database_error", instance=instance, sqlstate=error.sqlstate, error=said)
    )


def mistake(log: Callable[[str], object]) -> Response:
    """Of this program: the client is told the name under which `log` writes down more."""
    instance = f"urn:uuid:{uuid.uuid4()}"
    log(instance)
    return problem(500, "internal", "a mistake of this program; its log has more", instance=instance)


def _away(text: str) -> Response:
    return problem(503, "database-away", f"{text}; {AGAIN}", headers={"Retry-After": str(AWAY_S)})
