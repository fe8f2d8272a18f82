"""Lists of objects, made of records that are encoded already, in pages if the request has a limit."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import orjson

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Record, Store


def cut_page(store: Store, plural: str, records: list[Record], limit: int, token: str) -> tuple[list[Record], Object]:
    """The records of one page and the metadata of its list; a limit of 0 is none.

    `records` are all that are selected, in order. Raises `RefusedError` (410) for a token that is too old.
    """
    since = store.version
    if token:
        since, after = _read_token(token)
        store.changes_since(plural, since)
        records = [record for record in records if list(record.key[1:]) > after]
    page = records[:limit] if limit else records
    metadata: Object = {"resourceVersion": str(store.version)}
    if len(page) < len(records):
        metadata["continue"] = _token(since, page[-1])
        metadata["remainingItemCount"] = len(records) - len(page)
    return page, metadata


def encoded_list(plural: str, records: list[Record], metadata: Object) -> bytes:
    head = b'{"kind":"%sList","apiVersion":"v1","metadata":' % RESOURCES[plural].kind.encode()
    items = b",".join(record.raw for record in records)
    return head + orjson.dumps(metadata) + b',"items":[' + items + b"]}"


def _token(since: int, last: Record) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([since, list(last.key[1:])])).decode()


def _read_token(token: str) -> tuple[int, list[str]]:
    try:
        since, after = orjson.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError) as error:
        raise RefusedError(400, "continue key is not valid") from error
    return since, after
