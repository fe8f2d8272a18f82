"""Lists of objects, made of records that are encoded already, in pages if the request has a limit.

All pages of a list are as of the version of the first, so that a watch from that version misses nothing.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, expired, invalid
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.history import History
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.selectors import Selector
    from pgfleet.console.sandbox.kubernetes.store import Record, Store

OPTIONS = "ListOptions.meta.k8s.io"
ANY_VERSION = -1  # of a page that goes on although its list is too old
TOO_OLD_TO_GO_ON = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without"
    " the continue parameter, or use the continue token in this response to retrieve the remainder of the results."
    " Continuing with the provided token results in an inconsistent list - objects that were created, modified, or"
    " deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True)
class Page:
    """A request to list: a `limit` of 0 is none, and `token` is where the page before has ended."""

    limit: int = 0
    token: str = ""
    version: str = ""
    match: str = ""


class Lists:
    def __init__(self, store: Store, history: History) -> None:
        self._store = store
        self._history = history

    def encoded(self, resource: str, namespace: str, selector: Selector, page: Page) -> bytes:
        """Raises `RefusedError`: 410 for what is forgotten, 504 for a version that is still to come."""
        self._check(page)
        version, after = _read_token(page.token) if page.token else (int(page.version or 0), None)
        if page.token and version != ANY_VERSION:
            records = self._as_of(page, version, resource, namespace, selector)
        elif page.match == "Exact":
            records = self._history.as_of(version, resource, namespace, selector)
        else:
            version, records = self._store.version, self._store.select(resource, namespace, selector)
        if after is not None:
            records = [record for record in records if record.key[1:] > after]
        limit = 0 if page.version == "0" else page.limit
        return _encoded(resource, records, limit, version, is_whole=not selector.labels and not selector.fields)

    def _as_of(self, page: Page, version: int, resource: str, namespace: str, selector: Selector) -> list[Record]:
        try:
            return self._history.as_of(version, resource, namespace, selector)
        except RefusedError as refused:
            again = expired(TOO_OLD_TO_GO_ON)
            again.status["metadata"] = {"continue": _token(ANY_VERSION, *(_read_token(page.token)[1]))}
            raise again from refused

    def _check(self, page: Page) -> None:
        if page.match and not page.version:
            why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
            raise invalid(OPTIONS, "", "resourceVersionMatch", why)
        if page.token and page.version not in ("", "0"):
            raise RefusedError(400, "specifying resource version is not allowed when using continue")
        if int(page.version or 0) > self._store.version:
            raise too_large(int(page.version), self._store.version)


def too_large(wanted: int, current: int) -> RefusedError:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return RefusedError(504, message, details={"causes": [cause], "retryAfterSeconds": 1})


def _encoded(resource: str, records: list[Record], limit: int, version: int, *, is_whole: bool) -> bytes:
    """How many remain is not known where a selector chooses."""
    page = records[:limit] if limit else records
    metadata: Object = {"resourceVersion": str(version)}
    if len(page) < len(records):
        metadata["continue"] = _token(version, *page[-1].key[1:])
        metadata |= {"remainingItemCount": len(records) - len(page)} if is_whole else {}
    kind, written_as = RESOURCES[resource].kind, RESOURCES[resource].api_version
    head = b'{"kind":"%sList","apiVersion":"%s","metadata":' % (kind.encode(), written_as.encode())
    items = b",".join(record.raw for record in page)
    return head + orjson.dumps(metadata) + b',"items":[' + items + b"]}"


def _token(version: int, namespace: str, name: str) -> str:
    text = {"v": "meta.k8s.io/v1", "rv": version, "start": f"{namespace}/{name}"}
    return base64.urlsafe_b64encode(orjson.dumps(text)).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        read = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = str(read["start"]).partition("/")
        return int(read["rv"]), (namespace, name)
    except (binascii.Error, ValueError, TypeError, KeyError) as error:
        raise RefusedError(400, f"continue key is not valid: {error}") from error
