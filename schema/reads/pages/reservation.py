"""Pages of reservations."""

from dataclasses import dataclass

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.hold import RESERVATIONS_WITH_DISK
from pgfleet.schema.reads.pages.keyset import Page, Pages, Place, Wanted
from pgfleet.schema.reads.reservation import LISTED, read_status
from pgfleet.schema.reservation import FINAL
from pgfleet.schema.tables.reservations import reservations

_c = reservations.c
# Each with the parameter of its name.
_CONDITIONS: dict[str, sa.ColumnElement[bool]] = {
    "username": _c.user_id == sa.bindparam("username", ""),
    "status": _c.status == sa.bindparam("status", ""),
    "gpu_type": _c.gpu_type == sa.bindparam("gpu_type", ""),
    "live": _c.status.not_in([status.value for status in sorted(FINAL)]),
}
_PLACE = Place(_c.created_at, _c.reservation_id, _c.updated_at)
_PAGES = Pages(sa.select(*LISTED).select_from(RESERVATIONS_WITH_DISK), _PLACE, _CONDITIONS)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which reservations; None is no condition. `status` may be the seed's `running`; `live`: only what is not over."""

    username: str | None = None
    status: str | None = None
    gpu_type: str | None = None
    live: bool = False


def listed(conn: Connection, filters: Filters, wanted: Wanted) -> Page:
    """Reservations by when they were made, each with the disk that it wants.

    Raises:
        FleetError: there is no such status, or no such page.
    """
    status = None if filters.status is None else read_status(filters.status).value
    live = True if filters.live else None
    return _PAGES.page(conn, wanted, username=filters.username, status=status, gpu_type=filters.gpu_type, live=live)
