"""What the users of clusters use: each cluster is measured slot by slot, once, into usage_samples; usage_hours sums up.

    measure --> measure_cluster, for each cluster and slot

A slot that could not be measured is lost, which is on record (health_check_failures): nobody can measure the past.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog

from pgfleet.schema.assignment import MeasureCluster
from pgfleet.schema.tables.billing import usage_samples
from pgfleet.workers.assignment.billing.samples import METRICS
from pgfleet.workers.assignment.billing.view import BillingView
from pgfleet.workers.assignment.failures import failing, resolved
from pgfleet.workers.assignment.tools import BillingTurn
from pgfleet.workers.clients.kubernetes.usage import Use
from pgfleet.workers.runtime.outcomes import Advance, Done, NeverError, New, Outcome, Reject, Send, TryAgainError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SLOT = timedelta(seconds=300)


def measure(view: BillingView) -> Outcome:
    """Each cluster that can be measured, for the slot that is now and for the next.

    What is sent every slot may come late in one and early in the next but one; a slot that is sent twice counts once.
    """
    now = _slot(view.now)
    sends = tuple(
        Send({"action": "measure_cluster", "cluster_id": cluster, "slot": slot.isoformat()}, at)
        for cluster in view.meters.measurable
        for slot, at in ((now, None), (now + SLOT, now + SLOT))
    )
    return Done(f"{len(view.meters.measurable)} clusters to measure", sends)


def _slot(moment: datetime) -> datetime:
    """The start of the slot that a moment is in."""
    day = datetime.combine(moment.astimezone(UTC), time(), UTC)
    return day + (moment - day) // SLOT * SLOT


def measure_cluster(message: MeasureCluster, turn: BillingTurn) -> Outcome:
    """What its users use at this moment stands for the whole slot."""
    slot, cluster = message.slot, message.cluster_id
    if slot > turn.now:
        return Reject("slot: must not be in the future")
    if turn.now >= slot + 2 * SLOT:
        return Done("too late: the slot is over")
    if _slot(slot) != slot:
        return Reject("slot: must be the start of a slot of 5 minutes")
    if (cluster, slot) in turn.view.meters.sampled:
        return Done("this slot was measured already")
    if cluster not in turn.view.meters.kubeconfigs:
        return Done("the cluster is not measured any more")
    turn.hold()
    try:
        found = turn.tools.usage.measure(turn.view.meters.kubeconfigs[cluster])
    except (TryAgainError, NeverError) as error:
        log.warning("usage.unmeasured", cluster=cluster, reason=str(error))
        return Advance(failing(turn.view, UUID(cluster), METRICS, str(error)))
    return Advance((_sample(cluster, slot, found, turn.view), *resolved(turn.view, UUID(cluster), METRICS)))


def _sample(cluster: str, slot: datetime, found: Mapping[str, Use], view: BillingView) -> New:
    users = view.meters.usernames.get(cluster, {})
    unknown = len(found.keys() - users.keys())
    if unknown:
        log.info("usage.unknown_usernames", cluster=cluster, usernames=unknown)
    used = {users[name]: _hours(use) for name, use in found.items() if name in users and (use.cpu_cores or use.gpus)}
    values = {"id": sample_id(cluster, slot), "hopsworks_cluster_id": UUID(cluster), "slot": slot, "used": used}
    return New(usage_samples, None, "measured", {**values, "taken_at": view.now})


def sample_id(cluster: str, slot: datetime) -> UUID:
    """One per cluster and slot, in whatever time zone it is given."""
    return uuid5(NAMESPACE_URL, f"pgfleet:sample:{cluster}:{slot.astimezone(UTC).isoformat()}")


def _hours(use: Use) -> dict[str, float]:
    """As JSON has it: to a billionth of an hour."""
    share = SLOT / timedelta(hours=1)
    return {"cpu_hours": round(use.cpu_cores * share, 9), "gpu_hours": round(use.gpus * share, 9)}
