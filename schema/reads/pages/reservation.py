"""Pages of reservations."""

from dataclasses import dataclass

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.pages.keyset import Page, Place, Wanted, page
from pgfleet.schema.reads.reservation import read_status, rows
from pgfleet.schema.reservation import FINAL
from pgfleet.schema.tables.reservations import reservations

_c = reservations.c
_PLACE = Place(_c.created_at, _c.reservation_id, _c.updated_at)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which reservations; None is no condition. `status` may be the seed's `running`; `live`: only what is not over."""

    username: str | None = None
    status: str | None = None
    gpu_type: str | None = None
    live: bool = False

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        asked = [
            self.username is not None and _c.user_id == self.username,
            self.status is not None and _c.status == read_status(self.status).value,
            self.gpu_type is not None and _c.gpu_type == self.gpu_type,
            self.live and _c.status.not_in([status.value for status in sorted(FINAL)]),
        ]
        return [condition for condition in asked if not isinstance(condition, bool)]


def listed(conn: Connection, filters: Filters, wanted: Wanted) -> Page:
    """Reservations, each with the disk that it wants.

    Raises:
        FleetError: there is no such status, or no such page.
    """
    return page(conn, rows().where(*filters.conditions()), _PLACE, wanted)
