"""Metrics and log lines of what was settled."""

from collections import Counter

import structlog

from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.settle import Settled, Unit

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def count(running: Running, settled: Settled) -> None:
    """Count what has become of a batch, and log what is worth a line."""
    queue = running.kind.queue
    for outcome, number in Counter(unit.outcome for unit in settled.done).items():
        metrics.SETTLED.labels(queue, outcome).inc(number)
    if settled.lost:
        metrics.LEASES_LOST.labels(queue).inc(len(settled.lost))
        log.warning("lease.lost", queue=queue, messages=len(settled.lost))
    if settled.stale:
        metrics.STALE.labels(queue).inc(len(settled.stale))
    for unit in settled.done:
        _log(running.kind.name, unit)


def _log(kind: str, unit: Unit) -> None:
    """A line for every move, and for every message that was refused."""
    for change in unit.changes:
        if change.to is not None:
            machine = change.table.info.get("machine", kind)
            log.info(f"{machine}.{change.to}", row=str(change.key), reason=change.reason)  # noqa: G004  # constant names
    if unit.outcome == "reject":
        log.warning("message.rejected", kind=kind, msg_id=unit.token.msg_id, reason=unit.reason)
