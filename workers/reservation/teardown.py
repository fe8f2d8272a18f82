"""After the end: what a reservation still has outside goes, until it is seen gone.

A reservation that an operator has let go of (`release_by_force`) is over at once, and its GPUs are free. What is left
of it is still deleted, without waiting for its node, and looked at until it is gone.
"""

from datetime import datetime
from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.names import home_name
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.handover import release_when_detached
from pgfleet.workers.reservation.disk import (
    asks_for_disk,
    is_to_be_listed,
    let_go,
    list_contents,
    remove_home,
    wait_for_release,
)
from pgfleet.workers.reservation.tools import Turn, changed, freed, looked_at, pod_of
from pgfleet.workers.runtime.outcomes import Advance, Done, NeverError, Outcome, TryAgainError, Wait

# A teardown that takes long is looked at after this share of the time that it has taken, up to a limit.
PAUSE_SHARE = 0.1
LONGEST_PAUSE_S = 60.0


def teardown(row: Row, turn: Turn) -> Outcome:
    """After the end: services, keys, pod and home are deleted until they are seen gone; then the GPUs are free.

    With a disk, it is over when the disk is released: its snapshot completed, its volume gone.
    """
    disk, forced = turn.view.held.get(row.reservation_id), row.forced_at is not None
    pod = turn.tools.pods.find(pod_of(row, turn))
    if disk is not None and not forced and is_to_be_listed(row, pod, disk):
        return list_contents(row, disk, turn)
    logs = {} if forced else _last_words(row, pod, turn)
    try:
        left = _delete(row, pod, turn)
        # What was asked to go just now may be gone at the next look.
        shown = {} if left is None or _is_asked(row, pod) else _held(row, left, turn.now)
    except (NeverError, TryAgainError) as refused:
        left = str(refused)
        shown = _held(row, left, turn.now)
    if left is not None and forced:
        return _let_go_by_force(row, disk, left, turn)
    if left is not None:
        return Wait(left, _next_look(row, turn), changed(row, {**logs, **shown}))
    if disk is None:
        return _ended(row, turn)
    return wait_for_release(row, turn.view) if disk.release_asked_at is not None else let_go(row, disk, turn.view)


def _last_words(row: Row, pod: PodState | None, turn: Turn) -> dict[str, Any]:
    """What its container wrote, read before the pod is deleted; a reservation that failed has it already."""
    if pod is None or pod.deleting or pod.reservation_id != row.reservation_id or row.pod_logs is not None:
        return {}
    logs = turn.tools.pods.logs(pod.name)
    return {"pod_logs": logs} if logs else {}


def _is_asked(row: Row, pod: PodState | None) -> bool:
    """Whether its pod has been asked to go just now."""
    return pod is not None and pod.reservation_id == row.reservation_id and not pod.deleting


def _delete(row: Row, pod: PodState | None, turn: Turn) -> str | None:
    """Delete services, keys, pod and home; what was still there, None for nothing.

    Raises:
        NeverError, TryAgainError: some of it may not be deleted, in the words of who refuses that. Where it is services
            or keys, the pod was asked to go all the same.
    """
    own, forced = pod is not None and pod.reservation_id == row.reservation_id, row.forced_at is not None
    services: list[str] = []
    keys: list[str] = []
    refused: NeverError | TryAgainError | None = None
    try:
        services, keys = delete_belongings(pod_of(row, turn), row.reservation_id, turn)
    except (NeverError, TryAgainError) as error:
        refused = error
    if pod is not None and own and (not pod.deleting or forced):
        turn.hold()
        turn.tools.pods.delete(pod.name, pod.uid, at_once=forced)
    if refused is not None:
        raise refused
    if pod is not None and own:
        return _terminating(pod)
    if services or keys:
        return f"its {'service' if services else 'config map'} {(services or keys)[0]} is being deleted"
    if asks_for_disk(row) and not remove_home(row, turn):
        return f"its volume {home_name(pod_of(row, turn))} is being deleted"
    return None


def delete_belongings(pod: str, reservation_id: str | None, turn: Turn) -> tuple[list[str], list[str]]:
    """The services and the config maps of a reservation's pod that were still there; they are deleted."""
    pods = turn.tools.pods
    services, keys = pods.services(pod, reservation_id), pods.keys(pod, reservation_id)
    for service in services:
        turn.hold()
        pods.delete_service(service)
    for config_map in keys:
        turn.hold()
        pods.delete_keys(config_map)
    return services, keys


def _terminating(pod: PodState) -> str:
    where = f" on node {pod.node}" if pod.node else ""
    kept = f", kept by {', '.join(pod.finalizers)}," if pod.finalizers else ""
    return f"its pod {pod.name}{where} is terminating{kept}"


def _held(row: Row, left: str, now: datetime) -> dict[str, Any]:
    """What is written of that which is left: since when it is this."""
    return looked_at(row) | ({} if row.held_by == left else {"held_by": left, "held_since": now})


def _next_look(row: Row, turn: Turn) -> datetime:
    lasted_s = turn.waited(row.forced_at or row.status_since).total_seconds()
    return turn.later(max(min(lasted_s * PAUSE_SHARE, LONGEST_PAUSE_S), turn.tools.settings.teardown_poll_s))


def _let_go_by_force(row: Row, disk: Row | None, left: str, turn: Turn) -> Outcome:
    """It is over; its disk is released when AWS says that nobody has the volume any more."""
    values = {"gpus_held": 0, **_held(row, left, turn.now)}
    if disk is None and row.reservation_ended is None:
        values["reservation_ended"] = turn.now
    asks = disk is not None and disk.release_asked_at is None
    released = release_when_detached(disk, turn.now) if disk is not None and asks else Advance()
    return Wait(left, _next_look(row, turn), (*changed(row, values), *released.changes), released.then)


def _ended(row: Row, turn: Turn) -> Outcome:
    over = {} if row.reservation_ended else {"reservation_ended": turn.now}
    changes = changed(row, {**freed(row), **over})
    return Advance(changes) if changes else Done("all gone")
