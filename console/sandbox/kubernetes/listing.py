"""Lists of objects, made of records that are encoded already, in pages if the request has a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from pgfleet.console.sandbox.kubernetes.resources import RESOURCES

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Record, Store


def cut_page(store: Store, records: list[Record], limit: int, token: str) -> tuple[list[Record], Object]:
    """The records of one page and the metadata of its list; a limit of 0 is none.

    `records` are all that are selected, in order. The token names the last object of the page before.
    """
    if token:
        records = [record for record in records if record.key[1:] > tuple(token.split("/"))]
    page = records[:limit] if limit else records
    metadata: Object = {"resourceVersion": str(store.version)}
    if len(page) < len(records):
        metadata["continue"] = "/".join(page[-1].key[1:])
        metadata["remainingItemCount"] = len(records) - len(page)
    return page, metadata


def encoded_list(plural: str, records: list[Record], metadata: Object) -> bytes:
    head = b'{"kind":"%sList","apiVersion":"v1","metadata":' % RESOURCES[plural].kind.encode()
    items = b",".join(record.raw for record in records)
    return head + orjson.dumps(metadata) + b',"items":[' + items + b"]}"
