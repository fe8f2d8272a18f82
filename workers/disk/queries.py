"""The statements that load what the steps of disks look at."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, array

from pgfleet.schema.disk import LIVE_OPERATION, LIVE_SNAPSHOT, UNFINISHED, SnapshotStatus, Status
from pgfleet.schema.rows.kernel import constant, text_of, versioned
from pgfleet.schema.tables.disks import disk_operations, disk_quarantine, disk_snapshots, disks
from pgfleet.schema.tables.reservations import reservations

_d, _s, _o, _q, _r = (
    table.alias(name)
    for table, name in (
        (disks, "d"),
        (disk_snapshots, "s"),
        (disk_operations, "o"),
        (disk_quarantine, "q"),
        (reservations, "r"),
    )
)
_queue = sa.table("q_disk_operations", sa.column("message", JSONB), schema="pgmq").alias("m")
_now = sa.func.public.fleet_now()
_most = sa.bindparam("most", type_=sa.Integer)


def _any(name: str, of_type: Any = sa.UUID) -> Any:
    return sa.any_(sa.bindparam(name, type_=sa.ARRAY(of_type)))


def _is(column: sa.ColumnElement[Any], *values: str) -> sa.ColumnElement[bool]:
    return column.in_([constant(value) for value in sorted(values)])


NOW = text_of(sa.select(_now))
OPERATIONS = text_of(versioned(_o).where(_o.c.operation_id == _any("operations")))

# The disks that some messages are about: by id, by name, as a snapshot's, or as an operation names them.
_named = sa.select(
    sa.func.unnest(sa.bindparam("users", type_=sa.ARRAY(sa.Text))),
    sa.func.unnest(sa.bindparam("names", type_=sa.ARRAY(sa.Text))),
)
_by_operation = sa.select(
    _o.c.user_id,
    sa.func.unnest(
        sa.func.array_remove(array([_o.c.disk_name, _o.c.body.op("->>")(constant("source_disk"))]), sa.null())
    ),
).where(_o.c.operation_id == _any("operations"))
_place = sa.tuple_(_d.c.user_id, _d.c.disk_name)
_conditions = (
    _d.c.disk_id == _any("disks"),
    _d.c.disk_id.in_(sa.select(_s.c.disk_id).where(_s.c.snapshot_id == _any("snapshots"))),
    _d.c.ebs_volume_id.in_(sa.select(_s.c.ebs_volume_id).where(_s.c.snapshot_id == _any("snapshots"))),
    _d.c.disk_id.in_(sa.select(_o.c.disk_id).where(_o.c.operation_id == _any("operations"))),
    _place.in_(_named),
    _place.in_(_by_operation),
)
# One index scan each; together, in one condition, they would read all disks.
_ids = sa.union_all(*(sa.select(_d.c.disk_id).where(condition) for condition in _conditions))
_asked = _d.c.disk_id.in_(_ids)
DISKS = text_of(versioned(_d).where(_asked))
_kept = (*LIVE_SNAPSHOT, SnapshotStatus.COMPLETED)
# Their snapshots; of volumes that are still there also those that other disks are made from, and the failed one that a
# release has waited for, or a copy.
_theirs = sa.select(_d.c.disk_id).where(_asked)
_of_interest = (
    _s.c.snapshot_id == _any("snapshots"),
    sa.and_(_s.c.disk_id.in_(_theirs), _is(_s.c.status, *_kept)),
    _s.c.snapshot_id.in_(sa.select(_d.c.release_snapshot_id).where(_asked)),
    _s.c.snapshot_id.in_(sa.select(_o.c.snapshot_id).where(_o.c.operation_id == _any("operations"))),
    sa.and_(
        _is(_s.c.status, SnapshotStatus.FAILED),
        _s.c.disk_id.in_(sa.select(_d.c.disk_id).where(_asked, _is(_d.c.status, Status.CREATING))),
    ),
    sa.and_(_is(_s.c.status, *UNFINISHED), _s.c.ebs_volume_id.in_(sa.select(_d.c.ebs_volume_id).where(_asked))),
)
_snapshot_ids = sa.union_all(*(sa.select(_s.c.snapshot_id).where(condition) for condition in _of_interest))
SNAPSHOTS = text_of(versioned(_s).where(_s.c.snapshot_id.in_(_snapshot_ids)))
HOLDERS = text_of(
    sa.select(_r.c.reservation_id, _r.c.status).where(
        _r.c.reservation_id.in_(sa.select(_d.c.reservation_id).where(_asked))
    )
)
LIVE_OPERATIONS = text_of(
    sa.select(_o.c.disk_id, _o.c.operation_id).where(_is(_o.c.status, *LIVE_OPERATION), _o.c.disk_id.in_(_ids))
)
COPYING = text_of(
    sa.select(_s.c.copied_from).where(_is(_s.c.status, *UNFINISHED), _s.c.copied_from.is_not(None)).distinct()
)


# What the sweep gives its turn back: rows that something has to happen to, and no message is about.


def _told(of: sa.Column[Any] | sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    field = _queue.c.message.op("->>")(constant(name))
    return sa.select(sa.literal_column("1")).where(field == sa.cast(of, sa.Text)).exists()


def _told_ticket(of: Any, name: str, ticket: Any) -> sa.ColumnElement[bool]:
    field, number = (_queue.c.message.op("->>")(constant(key)) for key in (name, "ticket"))
    mine = sa.and_(field == sa.cast(of, sa.Text), number == sa.cast(ticket, sa.Text))
    return sa.select(sa.literal_column("1")).where(mine).exists()


_settled: sa.ColumnClause[Any] = sa.literal_column("interval '10 seconds'")
_unsettled = sa.or_(
    _is(_d.c.status, Status.CREATING, Status.DELETED),
    sa.and_(
        _is(_d.c.status, Status.ATTACHED),
        sa.or_(_d.c.ebs_volume_id.is_(None), _d.c.volume_is_new, _d.c.release_asked_at.is_not(None)),
    ),
)
FORGOTTEN_DISKS = text_of(
    sa.select(_d.c.disk_id, _d.c.ticket)
    .where(_unsettled, _d.c.status_since < _now - _settled, ~_told_ticket(_d.c.disk_id, "disk_id", _d.c.ticket))
    .limit(_most)
)
_unsettled_snapshots = sa.union_all(
    sa.select(_s.c.snapshot_id).where(_is(_s.c.status, *LIVE_SNAPSHOT)),
    sa.select(_s.c.snapshot_id).where(_is(_s.c.status, SnapshotStatus.COMPLETED), _s.c.contents.is_not(None)),
)
FORGOTTEN_SNAPSHOTS = text_of(
    sa.select(_s.c.snapshot_id, _s.c.ticket)
    .where(
        _s.c.snapshot_id.in_(_unsettled_snapshots),
        _s.c.status_since < _now - _settled,
        ~_told_ticket(_s.c.snapshot_id, "snapshot_id", _s.c.ticket),
    )
    .limit(_most)
)
# Of operations that have begun, only those whose disk or snapshot has come to its end without telling them.
_at_rest = sa.and_(
    _o.c.status_since < _now - sa.literal_column("interval '60 seconds'"), ~_told(_o.c.operation_id, "operation_id")
)
FORGOTTEN_OPERATIONS = text_of(
    sa.select(_o.c.operation_id).where(_is(_o.c.status, *LIVE_OPERATION), _at_rest).limit(_most)
)

# Completed snapshots that retention lets go of: old, not among the newest, and nothing is about to be made from them.
# Those of volumes that no pod has started with (a reservation that went back to the line) take nobody's place among the
# newest, and neither does one that AWS does not show just now.
_newer, _k, _c = disk_snapshots.alias("newer"), disks.alias("k"), disk_snapshots.alias("c")
_newer_ones = sa.select(sa.func.count(_newer.c.snapshot_id)).where(
    _newer.c.disk_id == _s.c.disk_id,
    _is(_newer.c.status, SnapshotStatus.COMPLETED),
    _newer.c.missing_since.is_(None),
    sa.tuple_(_newer.c.completed_at, _newer.c.snapshot_id) > sa.tuple_(_s.c.completed_at, _s.c.snapshot_id),
)


def _unused(snapshot: Any) -> sa.ColumnElement[bool]:
    return sa.and_(_is(snapshot.c.kind, "migration"), snapshot.c.operation_id.is_(None))


_needed = sa.or_(
    _k.c.source_snapshot_id == _s.c.snapshot_id,
    _k.c.next_snapshot_id == _s.c.snapshot_id,
    _k.c.release_snapshot_id == _s.c.snapshot_id,
)
_being_copied: sa.Select[Any] = sa.select(sa.literal_column("1")).where(
    _c.c.copied_from == _s.c.ebs_snapshot_id, _is(_c.c.status, *UNFINISHED)
)
_prunable = (
    sa.select(_s.c.snapshot_id)
    .join(_k, _k.c.disk_id == _s.c.disk_id)
    .where(
        _is(_s.c.status, SnapshotStatus.COMPLETED),
        _is(_k.c.status, Status.AVAILABLE, Status.ATTACHED),
        _s.c.completed_at < _now - sa.bindparam("kept_for", type_=sa.Interval),
        sa.or_(
            sa.and_(_unused(_s), _newer_ones.scalar_subquery() > sa.literal_column("0")),
            _newer_ones.where(~_unused(_newer)).scalar_subquery() >= sa.bindparam("kept", type_=sa.Integer),
        ),
        _needed.is_not(True),
        ~_being_copied.exists(),
    )
)
PRUNABLE = text_of(_prunable.order_by(_s.c.completed_at).limit(_most))
PRUNABLE_OF = text_of(_prunable.where(_s.c.snapshot_id == _any("snapshots")))

# What rows say of AWS: for the comparison with all that it has.
KNOWN_SNAPSHOTS = text_of(
    sa.select(_s.c.ebs_snapshot_id, _s.c.snapshot_id, _s.c.status_since, _s.c.missing_since.is_not(None)).where(
        _s.c.ebs_snapshot_id.is_not(None), _is(_s.c.status, *_kept)
    )
)
KNOWN_VOLUMES = text_of(
    sa.select(_d.c.ebs_volume_id, _d.c.disk_id, _d.c.status_since, _d.c.volume_missing_since.is_not(None)).where(
        _d.c.ebs_volume_id.is_not(None), ~_is(_d.c.status, Status.PURGED)
    )
)
QUARANTINED = text_of(sa.select(_q.c.resource_id).where(_q.c.gone_at.is_(None)))

# What rows say of one resource.
QUARANTINE_OF = text_of(versioned(_q).where(_q.c.resource_id == _any("resources", sa.Text)))
SNAPSHOTS_OF = text_of(versioned(_s).where(_s.c.ebs_snapshot_id == _any("resources", sa.Text)))
DISKS_OF = text_of(versioned(_d).where(_d.c.ebs_volume_id == _any("resources", sa.Text)))
RECORDED = text_of(sa.select(_s.c.ebs_volume_id).where(_s.c.ebs_volume_id == _any("resources", sa.Text)).distinct())
