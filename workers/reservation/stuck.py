"""What has ended and is not gone: counted, and said once of each."""

import structlog
from prometheus_client import Gauge

from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome

log: structlog.stdlib.BoundLogger = structlog.get_logger()

STUCK = Gauge("pgfleet_reservations_stuck", "Reservations that have ended and are not gone, at the last sweep")


def sweep_stuck(turn: Turn) -> Outcome:
    """Counts the reservations that have ended and are not gone (180), and says of each once that it is one."""
    stuck = turn.view.stuck
    STUCK.set(len(stuck))
    news = [row for row in stuck if row.stuck_told_at is None]
    for row in news:
        waits_for = row.waits_for or "nobody has looked what is left"
        log.error("reservation.stuck", row=row.reservation_id, gpus=row.gpus_held, reason=waits_for)
    told = tuple(Move(row, None, values={"stuck_told_at": turn.now}) for row in news)
    return Advance(told) if told else Done("nobody new is stuck")
