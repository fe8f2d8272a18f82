"""Where the pods of a gang go: in one zone, chosen once for all of them; the first pod comes first."""

from pgfleet.schema.printable import plural
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.zones import ZONE, Together
from pgfleet.workers.reservation.disk import NoRoomError
from pgfleet.workers.reservation.gang.rows import rows_of_gang
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import Move, Wait, wait


def in_order(row: Row, turn: Turn) -> Wait | None:
    """What a node of a gang waits for before its pod may be made; None where it is its turn.

    Raises:
        NoRoomError: there is no place for all of them together.
    """
    if row.placement is None:
        return _choose(row, turn)
    first = rows_of_gang(row, turn.view)[0]
    if first.reservation_id == row.reservation_id or _has_pod(first, turn):
        return None
    return wait(row, "Waiting for the pod of the first node of its gang", turn.later(turn.tools.settings.pod_poll_s))


def _choose(row: Row, turn: Turn) -> Wait:
    """Another place each time that no node was found in the one before."""
    settings = turn.tools.settings
    labels = [label for label in (ZONE, settings.gang_topology_key) if label is not None]
    rows = rows_of_gang(row, turn.view)
    kept_to = {each.kept_to_node for each in rows if each.kept_to_node}
    asked = Together(row.total_nodes, row.gpu_count, labels, turn.view.cordoned, kept_to)
    places = turn.tools.homes.places(row.gpu_type, asked)
    if not places:
        gpus = f" with {plural(row.gpu_count, 'GPU')} free" if row.gpu_count else ""
        raise NoRoomError(f"No node: no place has {row.total_nodes} nodes{gpus} for its gang now")
    chosen = places[row.schedule_failures % len(places)]
    moves = tuple(Move(each, None, values={"placement": chosen}) for each in rows)
    return Wait("the place of its gang is chosen", turn.now, moves)


def _has_pod(first: Row, turn: Turn) -> bool:
    pod = turn.tools.pods.look(first.pod_name, turn.view.fingerprints.get(first.reservation_id))
    return pod is not None and pod.reservation_id == first.reservation_id and not pod.deleting
