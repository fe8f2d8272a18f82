"""Lists of objects: encoded once, and cut into pages for those who ask."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import orjson

from console.sandbox.refusals import RefusedError, expired
from console.sandbox.resources import RESOURCES

if TYPE_CHECKING:
    from console.sandbox.store import Record, Store


def encoded_list(store: Store, plural: str, records: list[Record], limit: int, token: str) -> bytes:
    """`records` are all that are selected, in order; a limit of 0 is none."""
    since, after = _read_token(token) if token else (store.version, None)
    if token:
        store.changes_since(plural, since)  # refuses (410) a token that is too old
        records = [record for record in records if list(record.key[1:]) > (after or [])]
    page = records[:limit] if limit else records
    metadata: dict[str, object] = {"resourceVersion": str(store.version)}
    if len(page) < len(records):
        metadata["continue"] = _token(since, page[-1])
        metadata["remainingItemCount"] = len(records) - len(page)
    head = b'{"kind":"%sList","apiVersion":"v1","metadata":' % RESOURCES[plural].kind.encode()
    items = b",".join(record.raw for record in page)
    return head + orjson.dumps(metadata) + b',"items":[' + items + b"]}"


def _token(since: int, last: Record) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([since, list(last.key[1:])])).decode()


def _read_token(token: str) -> tuple[int, list[str]]:
    try:
        since, after = orjson.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError) as error:
        raise RefusedError(400, "continue key is not valid") from error
    if since < 0:
        raise expired(since, 0)
    return since, after
