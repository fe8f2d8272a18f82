"""What dead letters are about, as links where that has a page; asked for all of a page at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import htpy as h

from pgfleet.console.web.look.links import to_page, to_reservation
from pgfleet.console.web.pages.disks.listing import address_of
from pgfleet.schema import assignment, disk, reservation
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import operation
from pgfleet.schema.reads import reservation as reservations
from pgfleet.schema.rows.row import Row

ID_LENGTH = 36
Letter = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subjects:
    """The rows that letters are about, as far as there are such rows."""

    users: Mapping[str, str]
    operations: Mapping[str, Row]

    def link(self, letter: Letter) -> h.Node:
        """The row's id, or what was asked; it leads to its page."""
        row_id, queue = letter["row_id"], letter["queue"]
        if row_id is None:
            return h.span(".dim")["no row"]
        if queue == reservation.QUEUE and row_id in self.users:
            return to_reservation(row_id)
        if queue == disk.QUEUE and row_id in self.operations:
            return _to_disk(self.operations[row_id])
        if queue == assignment.QUEUE:
            return to_page("/assignments", row_id, urlencode({"user_id": row_id}))
        return h.code(title=row_id)[row_id[:ID_LENGTH]]


def subjects(conn: Connection, letters: Iterable[Letter]) -> Subjects:
    by_queue: dict[str, list[str]] = {}
    for letter in letters:
        if letter["row_id"] is not None:
            by_queue.setdefault(letter["queue"], []).append(letter["row_id"])
    wanted = by_queue.get(reservation.QUEUE, [])
    users = reservations.users_of(conn, wanted) if wanted else {}
    return Subjects(users, operation.by_ids(conn, by_queue.get(disk.QUEUE, [])))


def _to_disk(found: Row) -> h.Element:
    address = address_of(found["disk_name"], found["user_id"])
    verb = found["action"].removesuffix("_disk").replace("_", " ")
    return h.a(href=address, title=found["operation_id"])[f"{verb} of {found['disk_name']}"]
