"""The sandbox's AWS as a server: moto behind ordered faults, with listings in pages and a log of all requests.

Importing it imports moto, which takes seconds: do so in a function.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from moto.s3.models import S3Backend, s3_backends
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from pgfleet.console.sandbox.aws.control import PREFIX, AwsControl
from pgfleet.console.sandbox.aws.ebs import Ebs
from pgfleet.console.sandbox.aws.faults import AwsFault, drop, error_document
from pgfleet.console.sandbox.aws.handle import BUCKET, REGION
from pgfleet.console.sandbox.aws.listings import Listings
from pgfleet.console.sandbox.aws.requests import Asked, read
from pgfleet.console.sandbox.orders import Orders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOST = "127.0.0.1"


MOST_REMEMBERED = 100_000
MOTO = threading.RLock()
STOP_S = 10.0

Environ = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes


class AwsApplication:
    """A WSGI application. Any number of requests may wait, but a process carries out one at a time."""

    def __init__(self, snapshot_s: float = 0.0) -> None:
        self.closing = threading.Event()
        self.lock = MOTO
        self.ebs = Ebs(REGION, snapshot_s)
        self._s3 = S3Backend("aws", DEFAULT_ACCOUNT_ID)
        self.faults: Orders[AwsFault] = Orders()
        self.requests: Counter[str] = Counter()
        self.log: deque[tuple[str, str]] = deque(maxlen=MOST_REMEMBERED)
        self._listings = Listings(self.ebs, {})
        self._created: dict[str, tuple[dict[str, list[str]], Answer]] = {}
        self._control = AwsControl(self)
        self.reset()

    def reset(self) -> None:
        """Everything is as at the start."""
        with self.lock:
            self.ebs.empty()
            self.faults.clear()
            for kept in (self._listings.kept, self.requests, self.log, self._created):
                kept.clear()
            self._s3.reset()
            self._take_moto()
            self._s3.create_bucket(BUCKET, REGION)

    def objects(self) -> dict[str, str]:
        """The text of every S3 object, by `bucket/key`."""
        return {
            f"{name}/{key}": found.value.decode("utf-8", "replace")
            for name, bucket in self._s3.buckets.items()
            for key, found in bucket.keys.items()
        }

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(PREFIX):
            answer = Answer(*self._control.answer(environ))
        else:
            answer = self._answer(environ)
        start_response(answer.status, answer.headers)
        return [answer.body]

    def _answer(self, environ: Environ) -> Answer:
        """The answer to a request, or the answer of the fault that was ordered for it."""
        asked = read(environ)
        with self.lock:
            self.requests[asked.tally] += 1
            self.log.append((asked.name, asked.about))
            fault = self.faults.take(lambda fault: fault.matches(asked))
        if fault is None:
            return self._done(asked, environ)
        done = self._done(asked, environ) if fault.after else None
        self.closing.wait(fault.latency_s)
        if fault.drop:
            drop(environ)
        document = fault.document(asked)
        if document is not None:
            return _xml(document, f"{fault.status} Fault")
        return done or self._done(asked, environ)

    def _done(self, asked: Asked, environ: Environ) -> Answer:
        with self.lock:
            self._take_moto()
            try:
                match asked.name:
                    case "DescribeVolumes":
                        return _xml(self._listings.volumes(asked))
                    case "DescribeSnapshots":
                        return _xml(self._listings.snapshots(asked))
                    case "CreateVolume":
                        return self._create_volume(asked, environ)
                return _motos_answer("ec2" if asked.is_ec2 else "s3", environ)
            except EC2ClientError as error:
                return _xml(error_document(error.code, error.message, is_ec2=True), "400 Bad Request")

    def _take_moto(self) -> None:
        """Moto's state is global to the process: make it that of this server."""
        ec2_backends[DEFAULT_ACCOUNT_ID][REGION] = self.ebs
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"] = self._s3
        s3_backends.bucket_accounts = dict.fromkeys(self._s3.buckets, ("aws", DEFAULT_ACCOUNT_ID))

    def _create_volume(self, asked: Asked, environ: Environ) -> Answer:
        """A token's second request is answered as its first was, which moto does not do."""
        token = asked.first("ClientToken")
        if not token:
            return _motos_answer("ec2", environ)
        given, answer = self._created.get(token, (asked.params, None))
        if given != asked.params:
            said = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
            raise EC2ClientError("IdempotentParameterMismatch", said)
        if answer is None:
            answer = _motos_answer("ec2", environ)
            if answer.status.startswith("200"):
                self._created[token] = (given, answer)
        return answer


@contextmanager
def serving(snapshot_s: float) -> Iterator[str]:
    """The server's address."""
    application = AwsApplication(snapshot_s)
    server = make_server(HOST, 0, application, threaded=True, request_handler=_Handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="sandbox-aws", daemon=True
    )
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        application.closing.set()
        server.shutdown()
        thread.join(STOP_S)
        server.server_close()


class _Handler(MotoRequestHandler):
    def date_time_string(self, timestamp: float | None = None) -> str:
        """The `Date` of every answer."""
        application: Any = self.server.app
        moment = datetime.now(UTC) if timestamp is None else datetime.fromtimestamp(timestamp, UTC)
        return format_datetime(moment + application.ebs.habits.ahead, usegmt=True)

    def log(self, *_: Any) -> None:
        """Requests are in the application's log."""


@functools.cache
def _moto(service: Any) -> Any:
    return create_backend_app(service)


def _motos_answer(service: str, environ: Environ) -> Answer:
    body, status, headers = run_wsgi_app(_moto(service), environ, buffered=True)
    return Answer(status, list(headers), b"".join(body))


def _xml(document: str, status: str = "200 OK") -> Answer:
    body = document.encode()
    return Answer(status, [("Content-Type", "text/xml;charset=UTF-8"), ("Content-Length", str(len(body)))], body)
