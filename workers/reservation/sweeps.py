"""What nothing looks after gets its turn: rows without a message, and what an ended row has left in the cluster."""

import structlog

from pgfleet.schema.disk import NUDGE
from pgfleet.workers.reservation.tools import Tools, ticket
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime.outcomes import Done, Outcome, TryAgainError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def sweep(view: View) -> Outcome:
    """A live row has a live ticket: the exceptions get theirs back."""
    return Done("rows looked after", then=tuple(ticket(row_id, number) for row_id, number in view.forgotten))


def sweep_pods(view: View, tools: Tools) -> Outcome:
    """A pod, and a home, has a live row: an ended one gets a ticket, and so tears down what came after its end.

    A pod of a reservation that is not in this database is none of our business.
    """
    owners = {pod.reservation_id for pod in tools.pods.managed() if pod.reservation_id}
    try:
        owners |= set(tools.homes.managed())
    except TryAgainError as error:
        # Volumes are the cluster's: who may not list them still looks after pods.
        log.warning("homes.unlisted", reason=str(error))
    return Done("pods looked after", then=tuple(ticket(row_id, NUDGE) for row_id in sorted(owners - view.unended)))
