"""One request from its proof to its answer: prove, permit, check, do, write the audit; what goes wrong is a problem."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

import psycopg
import structlog
from starlette.responses import Response

from pgfleet.producers.http.answers.repeating import again, kept, once_of
from pgfleet.producers.http.answers.responses import response_of
from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotPermittedError, Opened
from pgfleet.producers.http.gateway.batcher import Batcher
from pgfleet.producers.http.health.ending import Ending
from pgfleet.producers.http.health.examining import Examining
from pgfleet.producers.http.health.metrics import STRANGERS
from pgfleet.producers.http.health.readiness import Readiness
from pgfleet.producers.http.limits.buckets import Buckets
from pgfleet.producers.http.limits.fullness import Fullness
from pgfleet.producers.http.permissions import whose
from pgfleet.producers.http.reading import idempotency_key, read_body, read_query, refuse_half_letters
from pgfleet.producers.http.refusing import REFUSED, mistake, of_database, of_fleet
from pgfleet.producers.http.settings import ServeSettings
from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.producers.http.who.proving import Prover
from pgfleet.schema.asking import Whose
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.filters import Filters
from pgfleet.schema.feed.reading import last_move
from pgfleet.schema.identity.audit import Kept
from pgfleet.schema.identity.once import Once, speaking_once
from pgfleet.schema.identity.people import Verified
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.identity.signing import WrongPassword
from pgfleet.schema.identity.speaking import Origin, speaking_for
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings

LOG: structlog.stdlib.BoundLogger = structlog.get_logger()


class AuditTrail(Protocol):
    """Where writes and refusals are written down."""

    def note(  # noqa: PLR0913  # as a row of audit_logs has it
        self,
        conn: Connection,
        audit: Audit,
        about: str | None,
        name: str | None,
        error: str | None = None,
        kept: Kept | None = None,
    ) -> None: ...

    def refused_nobody(self, address: str | None) -> None: ...

    def refused_node(self, node: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What came in, read whole."""

    path: Mapping[str, str]
    query: bytes
    headers: Mapping[str, str]
    body: bytes
    origin: Origin
    bucket: str


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that comes later; `finish` makes it of what comes."""

    future: Future[Any]
    finish: Callable[[Any], Response]


@dataclass(frozen=True, slots=True)
class Held:
    """An answer that is held back until the row moves past its last move, or the time is over."""

    response: Response
    machine: str
    row_id: str
    last_move: int


@dataclass(frozen=True, slots=True)
class Soon:
    """What is answered unless there is more in a moment; `asked` is how to look."""

    response: Response
    asked: Asked


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer that is a stream of events, from a position on; None is from now on."""

    principal: Principal
    filters: Filters
    position: Cursor | None
    brought: str | Verified


Found = Response | Later | Held | Soon | Streamed


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
    batcher: Batcher
    ending: Ending
    readiness: Readiness
    examining: Examining

    def answer(self, endpoint: Endpoint, asked: Asked, *, may_wait: bool = False) -> Found:
        """Runs in a thread: the answer, or the problem; or what comes later, and holds no thread until then."""
        began = time.monotonic()
        try:
            found = self._answer(endpoint, asked, may_wait=may_wait)
        except psycopg.Error as error:
            found = of_database(error)
        except FleetError as error:
            found = of_fleet(error)
        except Exception:  # noqa: BLE001  # whatever it is, the client gets an answer and the log the trace
            found = mistake(lambda instance: LOG.exception("http.failed", endpoint=endpoint.name, instance=instance))
        if isinstance(found, Response):
            found.headers["Server-Timing"] = f"all;dur={(time.monotonic() - began) * 1000:.1f}"
        return found

    def _answer(self, endpoint: Endpoint, asked: Asked, *, may_wait: bool) -> Found:
        if endpoint.is_open:
            return self._answer_nobody(endpoint, asked)
        try:
            brought = self.prover.brought(asked.headers)
            with self.pool.connection(self.serving.serve_timeout_s) as conn:
                principal = self.prover.prove(conn, brought)
                return self._answer_somebody(conn, endpoint, principal, brought, asked, may_wait=may_wait)
        except NotProvenError as error:
            self.trail.refused_nobody(asked.origin.address)
            refused = self.strangers.take(asked.bucket).refusal()
            STRANGERS.labels("too_often" if refused else "not_proven").inc()
            return refused or of_fleet(error)

    def _answer_somebody(  # noqa: PLR0913  # what a request is
        self,
        conn: Connection,
        endpoint: Endpoint,
        principal: Principal,
        brought: str | Verified,
        asked: Asked,
        *,
        may_wait: bool,
    ) -> Found:
        taken = self.principals.take(f"{principal.proof}:{principal.username}")
        refused = taken.refusal()
        if refused is not None:
            return refused
        if endpoint.queue is not None and (full := self.fullness.refused(endpoint.queue)) is not None:
            return full.response()
        try:
            answer = self._done(conn, endpoint, principal, asked, may_wait=may_wait)
        except (NotPermittedError, Refusal, BadMessage) as error:
            self._note_refusal(conn, endpoint, principal, asked, error)
            raise
        except psycopg.Error as error:
            if error.sqlstate in REFUSED:
                self._note_refusal(conn, endpoint, principal, asked, error)
            raise
        if endpoint.streams:
            position = asked.headers.get("last-event-id")
            return Streamed(principal, answer.body, None if position is None else Cursor.parse(position), brought)
        if isinstance(answer.body, Future):
            return Later(answer.body, lambda reply: response_of(endpoint, Answer(reply), asked.headers, taken.headers))
        response = response_of(endpoint, answer, asked.headers, taken.headers)
        if answer.again is not None:
            return Soon(response, replace(asked, query=answer.again.encode()))
        has_changed = "if-none-match" in asked.headers and response.status_code != HTTPStatus.NOT_MODIFIED
        if answer.row is None or has_changed:
            return response
        return Held(response, *answer.row)

    def is_still(self, principal: Principal, brought: str | Verified) -> bool:
        """Whether who has proven to be a principal still is, in the same role; asked of the database."""
        if isinstance(brought, Verified):
            if brought.expires_at is not None and brought.expires_at < datetime.now(UTC):
                return False
            # A later token may have taken the role that this one says: an old one does not give it back.
            brought = replace(brought, role=None)
        with self.pool.connection(self.serving.serve_timeout_s) as conn:
            try:
                now = self.prover.prove(conn, brought)
            except FleetError:
                return False
            except psycopg.Error as error:
                if error.sqlstate in REFUSED:
                    return False
                raise
        return (now.username, now.role) == (principal.username, principal.role)

    def _answer_nobody(self, endpoint: Endpoint, asked: Asked) -> Response:
        taken = self.strangers.take(asked.bucket)
        refused = taken.refusal()
        if refused is not None:
            STRANGERS.labels("too_often").inc()
            return refused
        body = read_body(endpoint.takes, asked.body, asked.headers)
        read_query(endpoint.asks, asked.query)
        opened = Opened(self.pool, body, asked.origin, self.serving.serve_timeout_s)
        try:
            answer = endpoint.handle(opened)  # type: ignore[arg-type]  # of an open endpoint
        except WrongPassword:
            STRANGERS.labels("wrong_password").inc()
            self.trail.refused_nobody(asked.origin.address)
            raise
        return response_of(endpoint, answer, asked.headers, taken.headers)

    def _done(
        self, conn: Connection, endpoint: Endpoint, principal: Principal, asked: Asked, *, may_wait: bool
    ) -> Answer:
        of = whose(endpoint.permission, principal.role)
        if of == Whose.NOBODYS:
            raise NotPermittedError(f"the role {principal.role} may not do this: {endpoint.permission}")
        refuse_half_letters(asked.path)
        call = Call(
            conn=conn,
            principal=principal,
            whose=of,
            settings=self.settings,
            serving=self.serving,
            batcher=self.batcher,
            examining=self.examining,
            path=asked.path,
            headers=asked.headers,
            query=read_query(endpoint.asks, asked.query),
            body=read_body(endpoint.takes, asked.body, asked.headers),
            key=idempotency_key(asked.headers) if endpoint.method == "POST" else None,
        )
        if endpoint.is_alone:
            return endpoint.handle(call)  # type: ignore[arg-type]  # of one that is not open
        is_write = endpoint.audit is not None
        once = once_of(endpoint, call, asked.query)
        if once is not None:
            return self._done_once(call, endpoint, asked, once)
        with speaking_for(conn, principal, asked.origin, self.serving.serve_timeout_s, is_audited=is_write):
            answer = endpoint.handle(call)  # type: ignore[arg-type]  # same
            if may_wait and answer.about is not None and endpoint.machine is not None:
                # Read once more, after its last move: one that comes between the two is one to wait no longer for.
                last = last_move(conn, endpoint.machine, answer.about)
                again = endpoint.handle(call)  # type: ignore[arg-type]  # same
                answer = replace(again, row=(endpoint.machine, answer.about, last))
            if endpoint.audit is not None:
                self.trail.note(conn, endpoint.audit, answer.about, answer.name)
        return answer

    def _done_once(self, call: Call, endpoint: Endpoint, asked: Asked, once: Once) -> Answer:
        """It is begun in the statement that says who asks, and finished in that of the audit: no further round trip."""
        with speaking_once(call.conn, call.principal, once, asked.origin, self.serving.serve_timeout_s) as before:
            if before is not None:
                return again(endpoint, before)
            answer, its = kept(endpoint, once, endpoint.handle(call))  # type: ignore[arg-type]  # of one that is not open
            if endpoint.audit is not None:
                self.trail.note(call.conn, endpoint.audit, answer.about, answer.name, kept=its)
        return answer

    def _note_refusal(
        self, conn: Connection, endpoint: Endpoint, principal: Principal, asked: Asked, error: Exception
    ) -> None:
        """In a transaction of its own, as that of the write is undone. Heartbeats, which come for ever, are counted."""
        if endpoint.is_alone and isinstance(error, BadMessage):
            self.trail.refused_node(principal.username)
            return
        why = (error.diag.message_primary or "") if isinstance(error, psycopg.Error) else str(error)
        audit = endpoint.audit or Audit(f"{endpoint.name.upper()}_REFUSED", "AUTH", endpoint.tag)
        with speaking_for(conn, principal, asked.origin, self.serving.serve_timeout_s):
            self.trail.note(conn, audit, next(iter(asked.path.values()), None), None, why)
