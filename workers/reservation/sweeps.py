"""A ticket for every ended row that has left something in the cluster."""

import structlog

from pgfleet.workers.reservation.tools import Turn, ticket
from pgfleet.workers.runtime.outcomes import Done, Outcome, TryAgainError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def sweep_pods(turn: Turn) -> Outcome:
    """A pod, and a home, has a live row: an ended one gets a ticket, and so tears down what came after its end.

    A pod of a reservation that is not in this database is none of our business.
    """
    owners = {pod.reservation_id for pod in turn.tools.pods.managed() if pod.reservation_id}
    try:
        owners |= set(turn.tools.homes.managed())
    except TryAgainError as error:
        # Volumes are the cluster's: who may not list them still looks after pods.
        log.warning("homes.unlisted", reason=str(error))
    return Done("pods looked after", then=tuple(ticket(row_id) for row_id in sorted(owners - turn.view.unended)))
