"""The HTTP API as commands call it: with the key of whoever runs them, and never longer than it takes."""

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote

import httpx

from pgfleet.console.remote import credentials
from pgfleet.console.remote.answers import content_of, object_of, problem_of, read_whole
from pgfleet.console.remote.choosing import KEY, api_url, checked
from pgfleet.console.remote.problems import Away, error_of, slug_of
from pgfleet.producers.submit.terminal import err
from pgfleet.schema.errors import FleetError
from pgfleet.schema.printable import printable

CONNECT_S, ANSWER_S, SHORT_S = 10.0, 30.0, 10.0
# A stream says something every 15 seconds.
QUIET_S = 45.0
TRIES = 5
LONGEST_WAIT_S = 60.0
# How long an answer that waits for a row is asked to wait.
HOLD_S = 10
BUSY = (429, 503)
# With these nothing was taken, so that anything may be asked again; with others only what does no harm twice.
NOT_TAKEN = frozenset({"too-many-requests", "too-full"})
HARMLESS = frozenset({"GET", "POST"})
# What a command has opened, and closes at its end.
_OPEN: list[httpx.Client] = []


@dataclass(frozen=True, slots=True)
class Seen:
    """What an address has answered, and the tag of that."""

    content: Any
    tag: str


@dataclass
class Api:
    """One API, and the key for it. `now` is the time by its own clock, as its last answer said.

    One that is `asked_once` is not asked again after the time that it wants, nor waited for as long.
    """

    url: str
    key: str | None = field(repr=False)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    asked_once: bool = False

    @cached_property
    def _http(self) -> httpx.Client:
        headers = {"User-Agent": "pgfleet", "Accept": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        timeout = httpx.Timeout(SHORT_S if self.asked_once else ANSWER_S, connect=CONNECT_S)
        made = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)
        _OPEN.append(made)
        return made

    @cached_property
    def me(self) -> dict[str, Any]:
        """Whom the API takes the key for."""
        found: dict[str, Any] = self.get("/v1/me")
        return found

    @property
    def username(self) -> str:
        return str(self.me["username"])

    def get(self, path: str, **asked: Any) -> Any:
        """What is there; parameters that are None are not sent."""
        return self._ask("GET", path, params=_given(asked))

    def once_changed(self, path: str, seen: Seen | None) -> Seen:
        """What is there, once it is not as it was `seen`; or after HOLD_S the same.

        What has changed before this is asked is answered at once: it would be missed by who asks to wait for a change.
        """
        tagged = {"If-None-Match": seen.tag} if seen is not None and seen.tag else {}
        answer = self._answer("GET", path, params={"wait": 0 if seen is None else HOLD_S}, headers=tagged)
        if seen is not None and answer.status_code == 304:
            return seen
        return Seen(self._content(answer), answer.headers.get("etag", ""))

    def post(self, path: str, body: Mapping[str, Any] | None = None, key: str | None = None) -> Any:
        """Ask for something. Sent again with the same Idempotency-Key, it is done once."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return self._ask("POST", path, json=None if body is None else _given(body), headers=headers)

    def put(self, path: str) -> Any:
        return self._ask("PUT", path)

    def delete(self, path: str, **asked: Any) -> Any:
        return self._ask("DELETE", path, params=_given(asked))

    def pages(self, path: str, most: int, **asked: Any) -> list[dict[str, Any]]:
        """The first `most` rows of a list, page by page."""
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(rows) < most:
            page = self.get(path, **asked, limit=min(200, most - len(rows)), cursor=cursor)
            rows += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return rows

    @contextmanager
    def stream(self, path: str, last_id: str | None = None) -> Iterator[Iterator[str]]:
        """The lines of a stream of events, as they come; after an event, where its id is given.

        Raises:
            FleetError: it was refused, or is cut off.
        """
        headers = {"Accept": "text/event-stream", **({} if last_id is None else {"Last-Event-ID": last_id})}
        with _told(self.url), self._http.stream("GET", path, headers=headers, timeout=_quiet()) as answer:
            if answer.status_code != 200:
                raise error_of(problem_of(read_whole(answer, self.url), self.url), answer.status_code, self.url)
            yield answer.iter_lines()

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        return self._content(self._answer(method, path, **given))

    def _content(self, answer: httpx.Response) -> Any:
        if answer.is_success:
            return content_of(answer, self.url)
        raise error_of(problem_of(answer, self.url), answer.status_code, self.url)

    def _answer(self, method: str, path: str, **given: Any) -> httpx.Response:
        """The answer, after as many tries as the API's own Retry-After asks for; not more than a few."""
        for left in reversed(range(1 if self.asked_once else TRIES)):
            with _told(self.url), self._http.stream(method, path, **given) as coming:
                answer = read_whole(coming, self.url)
            if "date" in answer.headers:
                self.now = _date(answer.headers["date"]) or self.now
            after_s = _retry_after_s(answer, method)
            if after_s is None or not left:
                break
            err().print(f"{self.url} asks to wait {after_s:g} s", style="dim", soft_wrap=True)
            time.sleep(after_s)
        return answer


def close() -> None:
    """End all connections."""
    while _OPEN:
        _OPEN.pop().close()


def path_of(*parts: str) -> str:
    """An address made of parts, in which nothing that was typed is more than a part."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def api() -> Api:
    """The API that is chosen, with the key for it.

    Raises:
        FleetError: there is no key for it, or one that can't be used.
    """
    url = api_url()
    if url is None:
        raise FleetError("No API is chosen: pgfleet login URL.")
    return Api(url=checked(url), key=key_for(url))


def key_for(url: str) -> str:
    """PGFLEET_KEY, else the one that `pgfleet login` has kept.

    Raises:
        FleetError: there is none.
    """
    given = os.environ.get(KEY, "").strip()
    if given:
        return usable(given)
    login = credentials.read().logins.get(url)
    if login is None:
        raise FleetError(f"You are not logged in to {url}: pgfleet login {url}")
    return usable(login.key)


def usable(key: str) -> str:
    """The key, which can stand in a header. Raises FleetError, without the key."""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise FleetError("The key has letters that no key has; `pgfleet keys create` makes one.")
    return key


def _quiet() -> httpx.Timeout:
    return httpx.Timeout(ANSWER_S, connect=CONNECT_S, read=QUIET_S)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) and name in ("live", "answered") else value
        for name, value in fields.items()
        if value is not None
    }


@contextmanager
def _told(url: str) -> Iterator[None]:
    """What httpx raises as a sentence. Its own errors hold the request, with the key: they are never chained."""
    try:
        yield
    except httpx.ConnectError as error:
        why = "its certificate is not to be trusted" if "CERTIFICATE" in str(error).upper() else printable(error)[:200]
        raise Away(f"{url} can't be reached: {why}. Is the URL right, and does `pgfleet serve` run there?") from None
    except httpx.TimeoutException:
        raise Away(f"{url} does not answer in time. Try again.") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise Away(f"The connection with {url} was lost ({type(error).__name__}). Try again.") from None


def _retry_after_s(answer: httpx.Response, method: str) -> float | None:
    """How long to wait before it is asked again; None where it is not."""
    if answer.status_code not in BUSY:
        return None
    given = answer.headers.get("retry-after", "")
    if not given.isascii() or not given.isdigit() or int(given) > LONGEST_WAIT_S:
        return None
    slug = slug_of(object_of(answer) or {})
    return float(given) if slug in NOT_TAKEN or method in HARMLESS else None


def _date(given: str) -> datetime | None:
    try:
        return parsedate_to_datetime(given).astimezone(UTC)
    except ValueError:
        return None


def events(lines: Iterator[str]) -> Iterator[tuple[str | None, str]]:
    """The last id and the kind of each event; a comment, which says that the stream is alive, is of no kind."""
    last_id, kind = None, ""
    for line in lines:
        name, _, value = line.partition(":")
        if not line:
            yield last_id, kind
            kind = ""
        elif name == "id":
            last_id = value.strip()
        elif name == "event":
            kind = value.strip()
