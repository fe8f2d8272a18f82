"""What a dead letter is about, as a link where it has a page."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import htpy as h

from pgfleet.console.web.look.links import to_page, to_reservation
from pgfleet.console.web.page import View
from pgfleet.schema import assignment, disk, reservation
from pgfleet.schema.reads import disk as disks
from pgfleet.schema.reads import operation
from pgfleet.schema.reads import reservation as reservations

ID_LENGTH = 36


def to_subject(view: View, letter: Mapping[str, Any]) -> h.Node:
    """The row's id; it leads to its page."""
    row_id, queue = letter["row_id"], letter["queue"]
    if row_id is None:
        return h.span(".dim")["no row"]
    if queue == reservation.QUEUE and reservations.by_id(view.call.conn, row_id) is not None:
        return to_reservation(row_id)
    if queue == disk.QUEUE:
        return _to_disk(view, row_id)
    if queue == assignment.QUEUE:
        return to_page("/assignments", row_id, urlencode({"user_id": row_id}))
    return h.code(title=row_id)[row_id[:ID_LENGTH]]


def _to_disk(view: View, row_id: str) -> h.Node:
    whole = disks.whole(row_id)
    found = None if whole is None else operation.by_id(view.call.conn, whole)
    if found is None:
        return h.code(title=row_id)[row_id[:ID_LENGTH]]
    query = urlencode({"user_id": found["user_id"]})
    address = f"/disks/{quote(found['disk_name'], safe='')}?{query}"
    return h.a(href=address, title=row_id)[f"{found['action'].removesuffix('_disk')} of {found['disk_name']}"]
