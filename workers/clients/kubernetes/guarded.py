"""Requests to a Kubernetes API server: none while it is in trouble, and an answer that says so is not the row's.

Every generated method of the official client sends its request through `call_api`, so no call can forget the breaker.
"""

import json
import re
from typing import Any
from urllib.parse import urlsplit

from kubernetes.client.rest import RESTResponse
from urllib3.exceptions import HTTPError

from pgfleet.schema.tracing import spans
from pgfleet.workers.clients.bodies import beginning, keep
from pgfleet.workers.clients.kubernetes.connection import Credentials, SignedClient
from pgfleet.workers.clients.retry_after import retry_after_s
from pgfleet.workers.clients.verdicts import (
    EXISTS,
    KUBERNETES,
    NO_DRY_RUN,
    NO_PROBE,
    NO_SENSE,
    QUOTA,
    Verdict,
    status_class,
    verdict,
)
from pgfleet.workers.runtime.outcomes import Calls, NeverError, NoPlaceError, NotNowError, TryAgainError
from pgfleet.workers.runtime.outside.guard import Guard

UNREACHABLE = "KUBERNETES_UNREACHABLE"
REFUSES = "KUBERNETES_REFUSES"
MESSAGE_LIMIT = 800
REFUSED, MISTAKEN, CONFLICT, BROKEN = 300, 400, 409, 500
# What the API server says in plain words, too, before it looks at a request.
PLAIN = frozenset({401, 408, 429})
# Of what is no answer to what was asked, so much is read: a proxy may say anything.
STATUS_BYTES = 1024 * 1024
STATUS_S = 10.0
# What is no JSON of all that is asked for.
LOG = "/log"
SUPPORTS_NO_DRY_RUN = "does not support dry run"
# As authorization says it, of whoever asks: what they ask for has not been looked at.
RIGHT_IS_MISSING = re.compile(r'User ".*" cannot \S+ resource "')

# What is in these is the program's, and nothing that a user wrote. Nobody's is made to find out whose trouble a refusal
# is: not every worker needs the right.
OF_US_ALONE = ("/persistentvolumes", "/persistentvolumeclaims", "/secrets", "/networkpolicies")
CALLS = {"GET": Calls.READ, "HEAD": Calls.READ, "DELETE": Calls.DELETE}


class ForbiddenError(NeverError):
    """What was to be made is refused by a policy, although the same of nobody would be let pass."""


class ContestedError(TryAgainError):
    """The same with a conflict, which may be over the next time."""


OF_THE_ROW: dict[Verdict, type[NeverError | TryAgainError]] = {
    Verdict.ASK_ROW: ForbiddenError,
    Verdict.ASK_MAYBE: ContestedError,
}


class GuardedClient(SignedClient):
    """The official client, which asks the breaker before each request."""

    def __init__(self, credentials: Credentials, guard: Guard | None = None) -> None:
        super().__init__(credentials)
        self.guard = guard

    def call_api(self, method: Any, url: Any, *given: Any, **named: Any) -> Any:
        """The answer, of whatever status says something about what was asked.

        Raises:
            NotNowError: the server is in trouble, or refuses everybody this.
            NoPlaceError: a quota is used up.
            ForbiddenError, ContestedError: it refuses this, and would not refuse the same of nobody.
        """
        calls = CALLS.get(method, Calls.MAKE)
        if self.guard is not None:
            self.guard.check(calls)
        try:
            with spans.calling(f"{KUBERNETES} {method}"):
                response = super().call_api(method, url, *given, **named)
            if response.status >= REFUSED:
                keep(response, beginning(response.response, STATUS_BYTES, STATUS_S))
        except HTTPError as error:
            text = f"Kubernetes did not answer: {type(error).__name__}"
            raise self._unanswered(NotNowError(KUBERNETES, calls, UNREACHABLE, text)) from error
        if response.status >= REFUSED or not (_is_json(response) or urlsplit(url).path.endswith(LOG)):
            self._judge(calls, response, urlsplit(url).path)
        return response

    def _judge(self, calls: Calls, response: RESTResponse, path: str) -> None:
        """Raise what is not the row's trouble; what is comes back as the answer that it is."""
        status = _status(response)
        answer = _named(response, status)
        is_refused = calls is Calls.MAKE and answer.isdecimal() and int(answer) not in PLAIN
        found = verdict(KUBERNETES, calls, NO_PROBE if is_refused and path.endswith(OF_US_ALONE) else answer)
        words = said(response.status, response.reason, str(status.get("message", "")))
        if found is Verdict.PLACE:
            raise NoPlaceError("QUOTA", words)
        if found in (Verdict.NEVER, Verdict.AGAIN):
            return
        told = _stranger(response.status) if answer == NO_SENSE else _told(calls, response.status, words)
        after_s = retry_after_s(response.headers.get("Retry-After"), response.headers.get("Date"))
        error = NotNowError(KUBERNETES, calls, UNREACHABLE, told, after_s=after_s)
        if found is Verdict.HOLD:
            raise error
        raised = self._unanswered(error, surely=found is Verdict.OUT)
        is_alone = found in OF_THE_ROW and raised is error and self.guard is not None
        if is_alone and not RIGHT_IS_MISSING.search(words):
            raise OF_THE_ROW[found](words)
        raise raised

    def _unanswered(self, error: NotNowError, *, surely: bool = False) -> NotNowError:
        return error if self.guard is None else self.guard.unanswered(error, surely=surely)


def _is_json(response: RESTResponse) -> bool:
    return "json" in (response.headers.get("Content-Type") or "")


def _named(response: RESTResponse, status: dict[str, Any]) -> str:
    """The answer as the table of verdicts calls it.

    A page of a proxy is none of Kubernetes: by its 404, say, what is there would seem to be gone.
    """
    is_refusal = MISTAKEN <= response.status < BROKEN and response.status not in PLAIN
    if response.status < MISTAKEN or (is_refusal and status.get("kind") != "Status"):
        return NO_SENSE
    if response.status == MISTAKEN and SUPPORTS_NO_DRY_RUN in str(status.get("message", "")):
        return NO_DRY_RUN
    if _is_quota(response, status):
        return QUOTA
    is_there = response.status == CONFLICT and status.get("reason") == "AlreadyExists"
    return EXISTS if is_there else status_class(response.status)


def _stranger(status: int) -> str:
    return f"not Kubernetes answered, but something else, with {status}"


def said(status: int, reason: str | None, message: str) -> str:
    """The server's own words; a long message ends at the end of a word."""
    shown = message if len(message) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT].rsplit(" ", 1)[0] + " ..."
    return f"Kubernetes answered {status} {reason or ''}".strip() + (f": {shown}" if shown else "")


def _told(calls: Calls, status: int, words: str) -> str:
    """What rows that wait show: what only an operator can mend says so."""
    if status == 401:
        return f"the operator has to renew this worker's credentials: {words}"
    if status == 403 or (calls is Calls.MAKE and MISTAKEN <= status < BROKEN and status not in PLAIN):
        return f"the operator has to let this worker {calls} what it needs: {words}"
    if calls is Calls.MAKE and status >= 500:
        return f"nothing can be made now, the operator has to look: {words}"
    return words


def _status(response: RESTResponse) -> dict[str, Any]:
    """The Status object of an answer; empty where it is anything else."""
    body: bytes = response.read() or b"{}"  # type: ignore[no-untyped-call]
    try:
        status = json.loads(body)
    except ValueError:
        return {"message": body.decode(errors="replace")}
    return status if isinstance(status, dict) else {}


def _is_quota(response: RESTResponse, status: dict[str, Any]) -> bool:
    """Whether a quota refuses: it says so in words only, or it is the object that somebody else was changing."""
    told = str(status.get("message", ""))
    if response.status == CONFLICT:
        return (status.get("details") or {}).get("kind") == "resourcequotas" or 'on resourcequotas "' in told
    return response.status == 403 and "exceeded quota" in told
