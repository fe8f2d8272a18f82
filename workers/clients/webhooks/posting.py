"""Deliveries by HTTP: one POST to a stranger's server, over in ten seconds whatever that does.

Redirects are not followed, proxies of the environment not asked, cookies not kept; of what is answered, nothing but the
status counts. No error and no text of this module holds the address: its path and query may be secret.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx

from pgfleet.schema.fetching.bounded import BoundedTransport, Bounds
from pgfleet.schema.fetching.fetch import client
from pgfleet.workers.clients.retry_after import retry_after_s
from pgfleet.workers.clients.webhooks.reach import Reach
from pgfleet.workers.clients.webhooks.words import unanswered

# For each part of a request; twice that in all.
PART_S = 5.0
ANSWER_BYTES = 4096
OK, REDIRECT, BAD, GONE = 200, 300, 400, 410
# Too many requests, and not available: what these say of when to come back is heeded.
BUSY = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Answer:
    """What has become of a delivery; in words of ours.

    Attributes:
        after_s: for how long it asks to be left alone; None where it does not.
    """

    status: int | None
    words: str
    after_s: float | None = None

    @property
    def is_taken(self) -> bool:
        return self.status is not None and OK <= self.status < REDIRECT

    @property
    def is_gone(self) -> bool:
        return self.status == GONE


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Deliveries of the threads of one process."""

    http: httpx.Client = field(repr=False)
    reach: Reach

    def post(self, url: str, body: bytes, media_type: str, headers: Mapping[str, str]) -> Answer:
        """Send a body, and say what was answered; whatever fails is an answer, too."""
        refusal = self.reach.refusal(url)
        if refusal is not None:
            return Answer(None, refusal)
        try:
            request = self.http.build_request(
                "POST", url, content=body, headers={**headers, "Content-Type": media_type}
            )
            response = self.http.send(request, stream=True, follow_redirects=False)
            try:
                _skim(response)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(None, unanswered(error))
        return _answer(response)


def _skim(response: httpx.Response) -> None:
    """So much of the body as may end it, so that who has answered sees no broken connection; none of it is kept.

    The status has been said by then: what becomes of the body changes nothing.
    """
    read = 0
    with suppress(httpx.HTTPError):
        for part in response.iter_raw():
            read += len(part)
            if read >= ANSWER_BYTES:
                return


def _answer(response: httpx.Response) -> Answer:
    status = response.status_code
    if REDIRECT <= status < BAD:
        return Answer(status, f"{status}, and redirects are not followed")
    if status not in BUSY:
        return Answer(status, str(status))
    after_s = retry_after_s(response.headers.get("Retry-After"), response.headers.get("Date"))
    return Answer(status, str(status), after_s)


@contextmanager
def delivering(reach: Reach) -> Iterator[Webhooks]:
    """The connections of one process."""
    transport = BoundedTransport(Bounds(PART_S, ANSWER_BYTES + 64 * 1024), resolve=reach.resolve)
    with client(transport, PART_S) as http:
        yield Webhooks(http, reach)
