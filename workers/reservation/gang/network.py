"""How the pods of a gang find each other, and are let in to each other."""

from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.gangs.bodies import Gang, headless_body, in_gang
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.reservation.gang.rows import rows_of_gang
from pgfleet.workers.reservation.tools import Turn, pod_of


def gang_of(row: Row, turn: Turn) -> Gang:
    rows = rows_of_gang(row, turn.view)
    return Gang(row.master_reservation_id, [pod_of(each) for each in rows], row.gpu_count, row.placement or {})


def as_member(body: dict[str, Any], row: Row, turn: Turn) -> dict[str, Any]:
    """The pod as its gang has it; that of a reservation of one node as it is."""
    return in_gang(body, gang_of(row, turn), row.node_index) if row.is_multinode else body


def connect(row: Row, pod: PodState, turn: Turn) -> tuple[str]:
    """Make what a pod of a gang needs to find the others, where it is missing; the key that lets them in."""
    gang, tools = gang_of(row, turn), turn.tools
    turn.hold()
    key = tools.gangs.public_key(gang)
    tools.gangs.let_in(gang)
    tools.pods.create_service(headless_body(row, pod.uid, tools.settings.namespace))
    return (key,)


def disconnect(row: Row, turn: Turn) -> list[str]:
    """Delete what the gang of an ended row has beside its pods, with that of its first row; what was still there."""
    if not row.is_multinode or row.node_index:
        return []
    turn.hold()
    return turn.tools.gangs.remove(pod_of(row), row.reservation_id)
