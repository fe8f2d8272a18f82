"""Pages of disks, and of what was asked of disks."""

from dataclasses import dataclass

import sqlalchemy as sa

from pgfleet.schema.disk import Status
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import disk, operation
from pgfleet.schema.reads.pages.keyset import EPOCH, Page, Place, Wanted, page
from pgfleet.schema.tables.disks import disk_operations, disks

_GONE = [Status.PURGED.value, Status.FAILED.value]
_d, _o = disks.c, disk_operations.c
_made = sa.func.coalesce(_d.created_at, sa.cast(EPOCH.isoformat(), _d.created_at.type))
_DISKS = Place(_made, _d.disk_id, sa.func.greatest(_made, _d.last_updated, _d.status_since))
_OPERATIONS = Place(_o.created_at, _o.operation_id, sa.func.greatest(_o.created_at, _o.status_since))


@dataclass(frozen=True, slots=True)
class Filters:
    """Which disks; those that are purged, or could not be made, only if asked for.

    Attributes:
        name: a part of it, in whatever case.
    """

    username: str | None = None
    name: str | None = None
    status: Status | None = None
    gone_too: bool = False

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        asked = [
            self.username is not None and _d.user_id == self.username,
            self.name is not None and _d.disk_name.icontains(self.name, autoescape=True),
            self.status is not None and _d.status == self.status.value,
            not self.gone_too and self.status is None and _d.status.not_in(_GONE),
        ]
        return [condition for condition in asked if not isinstance(condition, bool)]


def listed(conn: Connection, filters: Filters, wanted: Wanted) -> Page:
    """Disks, the newest first.

    Raises:
        BadCursorError: there is no such page.
    """
    return page(conn, disk.rows().where(*filters.conditions()), _DISKS, wanted)


def operations(conn: Connection, username: str | None, wanted: Wanted, disk_name: str | None = None) -> Page:
    """What was asked of disks; of one name, also what was to be cloned from it.

    Raises:
        BadCursorError: there is no such page.
    """
    statement = operation.rows()
    if username is not None:
        statement = statement.where(_o.user_id == username)
    if disk_name is not None:
        statement = statement.where(sa.or_(_o.disk_name == disk_name, _o.source_disk == disk_name))
    return page(conn, statement, _OPERATIONS, wanted)
