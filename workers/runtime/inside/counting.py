"""Metrics and log lines of what was settled."""

import logging
import time
from collections import Counter
from collections.abc import Sequence

import structlog

from pgfleet.schema.tracing import spans
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.settle import Settled, Unit
from pgfleet.workers.runtime.task import Task

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def count(running: Running, settled: Settled, began_ns: int) -> None:
    """Count what has become of a batch since then, and log what is worth a line."""
    queue = running.kind.queue
    for outcome, number in Counter(unit.outcome for unit in settled.done).items():
        metrics.SETTLED.labels(queue, outcome).inc(number)
    count_gone(queue, [unit.task for unit in settled.done if unit.put_back is None])
    if settled.lost:
        metrics.LEASES_LOST.labels(queue).inc(len(settled.lost))
        log.warning("lease.lost", queue=queue, messages=len(settled.lost))
    if settled.stale:
        metrics.STALE.labels(queue).inc(len(settled.stale))
    name = f"settle {queue}"
    is_told = log.is_enabled_for(logging.INFO)
    for unit in settled.done:
        spans.after(unit.task.span, name, began_ns, outcome=unit.outcome)
        if is_told or unit.outcome == "reject":
            _log(running.kind.name, unit)


def count_gone(queue: str, tasks: Sequence[Task]) -> None:
    """How long messages have lasted that are settled for good."""
    now = time.monotonic()
    lasted = [now - task.claimed.due_at for task in tasks]
    metrics.observe_all(metrics.MESSAGE_SECONDS.labels(queue), metrics.MESSAGE_BOUNDS_S, lasted)


def _log(kind: str, unit: Unit) -> None:
    """A line for every move, and for every message that was refused."""
    said = {} if unit.task.span is None else spans.ids(unit.task.span)
    for change in unit.changes:
        if change.to is not None:
            machine = change.table.info.get("machine", kind)
            log.info(f"{machine}.{change.to}", row=str(change.key), reason=change.reason, **said)  # noqa: G004  # constant names
    if unit.outcome == "reject":
        log.warning("message.rejected", kind=kind, msg_id=unit.token.msg_id, reason=unit.reason, **said)
