"""How the pods of a gang find each other, and are let in to each other."""

from typing import Any

import structlog

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.gangs.bodies import Gang, headless_body, in_gang
from pgfleet.workers.clients.kubernetes.names import headless_name
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.reservation.gang.rows import rows_of_gang
from pgfleet.workers.reservation.tools import Turn, pod_of
from pgfleet.workers.runtime.outcomes import TryAgainError

SOON_S = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def gang_of(row: Row, turn: Turn) -> Gang:
    rows = rows_of_gang(row, turn.view)
    return Gang(row.master_reservation_id, [pod_of(each, turn) for each in rows], row.gpu_count, row.placement or {})


def as_member(body: dict[str, Any], row: Row, turn: Turn) -> dict[str, Any]:
    """The pod as its gang has it; that of a reservation of one node as it is.

    Raises:
        TryAgainError: the keys of the gang are not there, or being made.
    """
    if not row.is_multinode:
        return body
    gang = gang_of(row, turn)
    return in_gang(body, gang, row.node_index, _key(gang, turn) if row.node_index else _made_key(gang, turn))


def connect(row: Row, pod: PodState, turn: Turn) -> tuple[str, ...]:
    """Make the name that the others of its gang find a pod by, where it is missing; the key that lets them in."""
    key = _key(gang_of(row, turn), turn)
    turn.hold()
    turn.tools.pods.create_service(headless_body(row, pod.uid, turn.tools.settings.namespace))
    return (key,)


def kept(row: Row, pod: PodState, turn: Turn) -> dict[str, Any]:
    """The name that the others of its gang find a pod by is made again if somebody has deleted it."""
    if not row.is_multinode:
        return {}
    # Where a service was seen to go, nobody's watch is believed.
    is_there = row.reservation_id in turn.view.fingerprints
    found = turn.tools.pods.service(headless_name(pod.name), seen_too=is_there)
    if found is not None and found.owner_uid == pod.uid:
        return {}
    turn.hold()
    turn.tools.pods.create_service(headless_body(row, pod.uid, turn.tools.settings.namespace))
    log.warning("reservation.gang_name_made", reservation_id=row.reservation_id)
    return {"warning": "The name that its gang finds it by was gone, and was made again"}


def _made_key(gang: Gang, turn: Turn) -> str:
    """They are made ahead of the first pod, which the others follow."""
    turn.hold()
    return turn.tools.gangs.make(gang)


def _key(gang: Gang, turn: Turn) -> str:
    found = turn.tools.gangs.public_key(gang)
    if found is None:
        raise TryAgainError("the keys of its gang are not there", after_s=SOON_S)
    return found
