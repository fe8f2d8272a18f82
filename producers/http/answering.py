"""One request from its proof to its answer: prove, permit, check, do, write the audit; what goes wrong is a problem."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import psycopg
import structlog
from starlette.responses import Response

from pgfleet.producers.http.endpoint import (
    Answer,
    Audit,
    Call,
    Endpoint,
    NotPermittedError,
    Opened,
    encoded,
)
from pgfleet.producers.http.limits.buckets import Buckets
from pgfleet.producers.http.limits.fullness import Fullness
from pgfleet.producers.http.permissions import whose
from pgfleet.producers.http.reading import idempotency_key, read_body, read_query
from pgfleet.producers.http.refusing import REFUSED, mistake, of_database, of_fleet
from pgfleet.producers.http.settings import ServeSettings
from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.producers.http.who.proving import Prover
from pgfleet.schema.asking import Whose
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.identity.signing import WrongPassword
from pgfleet.schema.identity.speaking import Origin, speaking_for
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings

JSON = "application/json"


class AuditTrail(Protocol):
    """Where writes and refusals are written down."""

    def note(  # noqa: PLR0913  # as a row of audit_logs has it
        self, conn: Connection, audit: Audit, about: str | None, name: str | None, status: str, error: str | None
    ) -> None: ...

    def refused_nobody(self, address: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What came in, read whole."""

    path: Mapping[str, str]
    query: bytes
    headers: Mapping[str, str]
    body: bytes
    origin: Origin
    bucket: str


@dataclass(frozen=True)
class Desk:
    """What every request is answered with."""

    pool: Pool
    prover: Prover
    settings: Settings
    serving: ServeSettings
    trail: AuditTrail
    principals: Buckets
    strangers: Buckets
    fullness: Fullness

    def answer(self, endpoint: Endpoint, asked: Asked) -> Response:
        """Runs in a thread: the answer, or the problem."""
        log = structlog.get_logger()
        began = time.monotonic()
        try:
            response = self._answer(endpoint, asked)
        except psycopg.Error as error:
            response = of_database(error, log)
        except FleetError as error:
            response = of_fleet(error)
        except Exception:  # noqa: BLE001  # whatever it is, the client gets an answer and the log the trace
            response = mistake(lambda instance: log.exception("http.failed", endpoint=endpoint.name, instance=instance))
        response.headers["Server-Timing"] = f"all;dur={(time.monotonic() - began) * 1000:.1f}"
        return response

    def prove(self, conn: Connection, asked: Asked) -> Principal:
        """Whom the request proves, counted where it proves nobody."""
        try:
            return self.prover.prove(conn, asked.headers)
        except NotProvenError:
            self.trail.refused_nobody(asked.origin.address)
            raise

    def _answer(self, endpoint: Endpoint, asked: Asked) -> Response:
        if endpoint.queue is not None and (full := self.fullness.refused(endpoint.queue)) is not None:
            return full.response()
        if endpoint.is_open:
            return self._answer_nobody(endpoint, asked)
        with self.pool.connection(self.serving.serve_timeout_s) as conn:
            try:
                principal = self.prove(conn, asked)
            except NotProvenError as error:
                return self.strangers.take(asked.bucket).refusal() or of_fleet(error)
            taken = self.principals.take(f"{principal.proof}:{principal.username}")
            refused = taken.refusal()
            if refused is not None:
                return refused
            try:
                answer = self._done(conn, endpoint, principal, asked)
            except (NotPermittedError, Refusal, BadMessage) as error:
                self._note_refusal(conn, endpoint, principal, asked, str(error))
                raise
            except psycopg.Error as error:
                if error.sqlstate in REFUSED:
                    self._note_refusal(conn, endpoint, principal, asked, error.diag.message_primary or "")
                raise
        return _response(endpoint, answer, asked, taken.headers)

    def _answer_nobody(self, endpoint: Endpoint, asked: Asked) -> Response:
        taken = self.strangers.take(asked.bucket)
        refused = taken.refusal()
        if refused is not None:
            return refused
        body = read_body(endpoint.takes, asked.body, asked.headers.get("content-type"))
        read_query(endpoint.asks, asked.query)
        opened = Opened(self.pool, body, asked.origin, self.serving.serve_timeout_s)
        try:
            answer = endpoint.handle(opened)  # type: ignore[arg-type]  # of an open endpoint
        except WrongPassword:
            self.trail.refused_nobody(asked.origin.address)
            raise
        return _response(endpoint, answer, asked, taken.headers)

    def _done(self, conn: Connection, endpoint: Endpoint, principal: Principal, asked: Asked) -> Answer:
        of = whose(endpoint.permission, principal.role)
        if of == Whose.NOBODYS:
            raise NotPermittedError(f"the role {principal.role} may not do this: {endpoint.permission}")
        call_of = {
            "query": read_query(endpoint.asks, asked.query),
            "body": read_body(endpoint.takes, asked.body, asked.headers.get("content-type")),
            "key": idempotency_key(asked.headers) if endpoint.method == "POST" else None,
        }
        is_write = endpoint.audit is not None
        with speaking_for(conn, principal, asked.origin, self.serving.serve_timeout_s, is_audited=is_write):
            call = Call(
                conn=conn,
                principal=principal,
                whose=of,
                settings=self.settings,
                serving=self.serving,
                path=asked.path,
                headers=asked.headers,
                **call_of,  # type: ignore[arg-type]  # by their names
            )
            answer = endpoint.handle(call)  # type: ignore[arg-type]  # of one that is not open
            if endpoint.audit is not None:
                self.trail.note(conn, endpoint.audit, answer.about, answer.name, "SUCCESS", None)
        return answer

    def _note_refusal(self, conn: Connection, endpoint: Endpoint, principal: Principal, asked: Asked, why: str) -> None:
        """In a transaction of its own, as that of the write is undone."""
        audit = endpoint.audit or Audit(f"{endpoint.name.upper()}_REFUSED", "AUTH", endpoint.tag)
        with speaking_for(conn, principal, asked.origin, self.serving.serve_timeout_s):
            self.trail.note(conn, audit, next(iter(asked.path.values()), None), None, "FAILURE", why)


def _response(endpoint: Endpoint, answer: Answer, asked: Asked, left: Mapping[str, str]) -> Response:
    status = answer.status or endpoint.status
    headers = {"Cache-Control": "no-store", **left, **answer.headers}
    if answer.body is None:
        return Response(status_code=status, headers=headers)
    content = _content(endpoint, answer.body)
    if endpoint.method == "GET":
        headers["ETag"] = tag = f'"{sha256(content).hexdigest()[:32]}"'
        headers["Cache-Control"] = "private, no-cache"
        if tag in _tags(asked.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
    return Response(content, status, headers, JSON)


def _content(endpoint: Endpoint, body: Any) -> bytes:
    """By the model of the answer: what that does not name is not shown."""
    if endpoint.gives is None:
        return encoded(body)
    return endpoint.gives.model_validate(body).model_dump_json().encode()


def _tags(given: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in given.split(",")]
