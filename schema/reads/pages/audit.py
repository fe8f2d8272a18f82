"""Pages of what people have done, and were refused."""

from dataclasses import dataclass

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.pages.keyset import EPOCH, Page, Place, Wanted, page
from pgfleet.schema.tables.autoscaler import audit_logs

_l = audit_logs.c
# As a time with its zone.
_at = sa.func.timezone("UTC", _l.timestamp, type_=sa.TIMESTAMP(timezone=True))
_PLACE = Place(sa.func.coalesce(_l.timestamp, sa.cast(EPOCH.isoformat(), _l.timestamp.type)), _l.id, _at)
_COLUMNS = (
    *(_l.id, _at.label("at"), _l.user_id, _l.user_email, _l.user_role, _l.action, _l.category),
    *(_l.resource_type, _l.resource_id, _l.resource_name, _l.description, _l.details),
    *(_l.ip_address, _l.user_agent, _l.status, _l.error_message),
)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows; None is no condition. `who` is what `user_email` holds."""

    who: str | None = None
    action: str | None = None
    category: str | None = None
    status: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        asked = {
            _l.user_email: self.who,
            _l.action: self.action,
            _l.category: self.category,
            _l.status: self.status,
            _l.resource_type: self.resource_type,
            _l.resource_id: self.resource_id,
        }
        return [column == value for column, value in asked.items() if value is not None]


def listed(conn: Connection, filters: Filters, wanted: Wanted) -> Page:
    """Rows of the audit by when they were written.

    Raises:
        BadCursorError: there is no such page.
    """
    return page(conn, sa.select(*_COLUMNS).where(*filters.conditions()), _PLACE, wanted)
