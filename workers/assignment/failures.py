"""What is wrong with a cluster, or with a user on it: one open row of health_check_failures each, until it is right."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.hopsworks import health_check_failures
from pgfleet.workers.runtime.outcomes import Change, Move, New


class Known(Protocol):
    """A view with the open rows by (cluster, check, user or '')."""

    @property
    def now(self) -> datetime: ...
    @property
    def open_failures(self) -> Mapping[tuple[str, str, str], Row]: ...


def failing(view: Known, cluster_id: UUID, check: str, details: str, user_id: str | None = None) -> tuple[Change, ...]:
    """The changes that record a failure, the first one or another."""
    known = view.open_failures.get((str(cluster_id), check, user_id or ""))
    seen = {"last_failed_at": view.now, "details": details}
    if known is not None:
        return (Move(known, None, values={**seen, "failures": known.failures + 1}),)
    values = {
        "id": uuid4(),
        "hopsworks_cluster_id": cluster_id,
        "user_id": user_id,
        "check_name": check,
        "first_failed_at": view.now,
        **seen,
    }
    return (New(health_check_failures, None, details, values),)


def noted(view: Known, cluster_id: UUID, check: str, details: str, user_id: str | None = None) -> tuple[Change, ...]:
    """The changes that record what was seen and is over: what is open is closed, else a closed record is made."""
    open_already = resolved(view, cluster_id, check, user_id)
    if open_already:
        return open_already
    (new,) = failing(view, cluster_id, check, details, user_id)
    return (replace(new, values={**new.values, "resolved_at": view.now}),)


def resolved(view: Known, cluster_id: UUID, check: str, user_id: str | None = None) -> tuple[Change, ...]:
    """The changes that close the record, where there is one."""
    known = view.open_failures.get((str(cluster_id), check, user_id or ""))
    return () if known is None else (Move(known, None, values={"resolved_at": view.now}),)
