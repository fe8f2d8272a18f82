"""What is wrong with a cluster, or with a user on it: one open row of health_check_failures each, until it is right."""

from uuid import uuid4

from schema.rows import Row
from schema.tables import health_check_failures
from workers.assignment_view import View
from workers.runtime.outcomes import Change, Move, New


def failing(view: View, cluster: Row, check: str, details: str, user_id: str | None = None) -> tuple[Change, ...]:
    """It failed, for the first time or again."""
    known = view.open_failures.get((str(cluster.id), check, user_id or ""))
    seen = {"last_failed_at": view.now, "details": details}
    if known is not None:
        return (Move(known, None, values={**seen, "failures": known.failures + 1}),)
    values = {
        "id": uuid4(),
        "hopsworks_cluster_id": cluster.id,
        "user_id": user_id,
        "check_name": check,
        "first_failed_at": view.now,
        **seen,
    }
    return (New(health_check_failures, None, details, values),)


def resolved(view: View, cluster: Row, check: str, user_id: str | None = None) -> tuple[Change, ...]:
    """It is right again."""
    known = view.open_failures.get((str(cluster.id), check, user_id or ""))
    return () if known is None else (Move(known, None, values={"resolved_at": view.now}),)
