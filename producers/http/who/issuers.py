"""An issuer's keys: asked for when they are needed, kept, and never waited for by those whose key is known.

```
keys known, young        used
keys known, older        used; asked for anew meanwhile, by a thread of its own
a key that is unknown    asked for, at most once in AGAIN_S whoever asks; a few wait for the answer
issuer does not answer   what is known is used until it is KEPT_S old
```
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from threading import Condition, Thread
from typing import Any

import httpx
import structlog

from pgfleet.producers.http.settings import is_loopback
from pgfleet.producers.http.who.jwks import PublicKey, fitting, keys_in
from pgfleet.producers.http.who.not_proven import IssuerAwayError
from pgfleet.schema.fetching.fetch import Fetcher, NoReplyError, fetching, line

log: structlog.stdlib.BoundLogger = structlog.get_logger()

DISCOVERY = "/.well-known/openid-configuration"
DOCUMENT_BYTES = 1024 * 1024
# Of each part of an answer; all of one may take twice as long.
ANSWER_S = 5.0
YOUNG_S = 600.0
AGAIN_S = 10.0
# An issuer that is away must not lock everybody out, and a key that it has withdrawn must not live for ever.
KEPT_S = 6 * 3600.0
WAIT_S = 6.0
# Threads that may wait for one issuer at once: the others of the process go on.
MOST_WAITING = 8


class NoKeysError(Exception):
    """An issuer's answer from which no key can be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an issuer at a moment, for those who operate the program."""

    issuer: str
    keys: int
    age_s: float | None
    trouble: str | None


class Issuer:
    """The keys of one issuer, for all threads of a process."""

    def __init__(self, url: str, *, allow_http: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._allow_http = allow_http
        self._clock = clock
        self._changed = Condition()
        self._keys: tuple[PublicKey, ...] = ()
        self._answered_at: float | None = None
        self._asked_at: float | None = None
        self._asking = False
        self._waiting = 0
        self._trouble: str | None = None

    def keys_for(self, kid: str | None, algorithm: str, doubted: tuple[PublicKey, ...] = ()) -> tuple[PublicKey, ...]:
        """The keys that may have signed such a token; none where the issuer publishes none of this name.

        Keys that did not sign it (`doubted`), and that it did not name, are no answer: there may be newer ones.

        Raises:
            IssuerAwayError: it can't be known now, as the issuer does not answer.
        """
        with self._changed:
            found = self._found(kid, algorithm, doubted)
            if found:
                if self._age_s() > YOUNG_S:
                    self._ask()
                return found
            self._ask()
            if self._asking:
                self._wait()
                found = self._found(kid, algorithm, doubted)
            if not found and (self._asking or self._trouble is not None):
                raise self._away()
            return found

    def prepare(self) -> None:
        """Ask for the keys before the first token comes; waits for nothing."""
        with self._changed:
            self._ask()

    def known(self) -> Known:
        with self._changed:
            age_s = None if self._answered_at is None else self._age_s()
            return Known(self.url, len(self._usable()), age_s, self._trouble)

    def _found(self, kid: str | None, algorithm: str, doubted: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
        found = fitting(self._usable(), kid, algorithm)
        return () if found == doubted else found

    def _usable(self) -> tuple[PublicKey, ...]:
        return self._keys if self._age_s() <= KEPT_S else ()

    def _age_s(self) -> float:
        return float("inf") if self._answered_at is None else self._clock() - self._answered_at

    def _ask(self) -> None:
        now = self._clock()
        if self._asking or (self._asked_at is not None and now - self._asked_at < AGAIN_S):
            return
        self._asking, self._asked_at = True, now
        Thread(target=self._fetch, name=f"keys of {self.url}", daemon=True).start()

    def _wait(self) -> None:
        if self._waiting >= MOST_WAITING:
            raise self._away()
        self._waiting += 1
        try:
            self._changed.wait_for(lambda: not self._asking, WAIT_S)
        finally:
            self._waiting -= 1

    def _away(self) -> IssuerAwayError:
        again_s = AGAIN_S - (self._clock() - (self._asked_at or 0.0))
        return IssuerAwayError("its issuer does not answer, so that its key is not known", max(1, round(again_s)))

    def _fetch(self) -> None:
        keys: tuple[PublicKey, ...] = ()
        trouble: str | None = "a mistake of this program"
        try:
            keys = published_keys(self.url, allow_http=self._allow_http)
            trouble = None
        except (NoReplyError, NoKeysError) as error:
            trouble = str(error)
        finally:
            with self._changed:
                before, self._trouble = self._trouble, trouble
                if keys:
                    self._keys, self._answered_at = keys, self._clock()
                self._asking = False
                self._changed.notify_all()
        if trouble is not None:
            log.warning("oidc.issuer_away", issuer=self.url, trouble=trouble)
        elif before is not None:
            log.info("oidc.issuer_back", issuer=self.url, keys=len(keys))


def published_keys(issuer: str, *, allow_http: bool) -> tuple[PublicKey, ...]:
    """What an issuer publishes now, by way of its discovery document.

    Raises:
        NoReplyError: it did not answer within the bounds.
        NoKeysError: it did, with something else.
    """
    with fetching(ANSWER_S, DOCUMENT_BYTES) as fetcher:
        about = _document(fetcher, httpx.URL(issuer.rstrip("/") + DISCOVERY))
        named = about.get("issuer")
        if named != issuer:
            raise NoKeysError(f"its discovery document is of another issuer: {line(repr(named))}")
        keys = keys_in(_document(fetcher, _address_of_keys(issuer, about.get("jwks_uri"), allow_http=allow_http)))
    if not keys:
        raise NoKeysError("it publishes no key that can be used")
    return keys


def _address_of_keys(issuer: str, given: Any, *, allow_http: bool) -> httpx.URL:
    """Never less safe than the issuer's own."""
    url = safe_address(issuer, given, allow_http=allow_http)
    if url is None:
        raise NoKeysError("its jwks_uri is no address, or not https")
    return url


def safe_address(issuer: str, given: Any, *, allow_http: bool) -> httpx.URL | None:
    """An address that an issuer names of itself; None where it is none, or less safe than the issuer's own."""
    try:
        url = httpx.URL(given)
    except (TypeError, httpx.InvalidURL, ValueError):
        return None
    if not url.host or url.userinfo or url.scheme not in ("https", "http"):
        return None
    is_safe = url.scheme == "https" or allow_http or (issuer.startswith("http:") and is_loopback(url.host))
    return url if is_safe else None


def _document(fetcher: Fetcher, url: httpx.URL) -> dict[str, Any]:
    reply = fetcher.fetch("GET", url)
    if reply.status != HTTPStatus.OK:
        raise NoKeysError(f"{url.path} was answered with {reply.status}")
    document = reply.document
    if document is None:
        raise NoKeysError(f"{url.path} was answered with something that is no JSON object")
    return document
