"""A reservation's pod: made, watched, torn down. Every look finds what is there and does what is missing."""

from datetime import timedelta
from typing import Any

from pgfleet.schema.reservation import Status, pod_name
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.manifest import pod_body, ssh_service_body
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.handover import release
from pgfleet.workers.reservation.disk import (
    NoRoomError,
    asks_for_disk,
    disk_of,
    home_of,
    is_to_be_listed,
    let_go,
    list_contents,
    make_home,
    remove_home,
    wait_for_release,
)
from pgfleet.workers.reservation.tools import Turn, ended, hand_out
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome, TryAgainError, Wait, wait

UNSCHEDULABLE_EVENTS = 3
LONGEST_PAUSE_S = 900.0


def prepare(row: Row, turn: Turn) -> Outcome:
    """Preparing -> active | queued | failed."""
    settings = turn.tools.settings
    if turn.now - row.status_since > timedelta(seconds=settings.preparing_stuck_s):
        return _failed(row, turn.view, f"not ready within {settings.preparing_stuck_s / 60:g} minutes")
    pod = turn.tools.pods.find(row.pod_name)
    if row.retry_at is not None:
        return _back_to_line(row, turn, pod)
    if pod is None:
        return _start_with_home(row, turn)
    if pod.deleting or pod.reservation_id != row.reservation_id:
        return _look_again(row, turn, "Waiting for an older pod of this name to go")
    if pod.cannot_start:
        return _failed(row, turn.view, f"the pod can't start: {pod.cannot_start}")
    if pod.unschedulable:
        return _unscheduled(row, turn, pod)
    if pod.ready:
        return _ready(row, turn, pod)
    if pod.started_at and turn.now - pod.started_at > timedelta(seconds=settings.pod_ready_s):
        return _failed(row, turn.view, f"SSH did not answer within {settings.pod_ready_s / 60:g} minutes")
    return _look_again(row, turn, "Starting: waiting for SSH to answer")


def _start_with_home(row: Row, turn: Turn) -> Outcome:
    """A reservation with a disk gets its pod when its home is there."""
    try:
        waits = make_home(row, turn) if asks_for_disk(row) else None
    except NoRoomError:
        return _leave(row, turn, "No node: none has room for a pod with a disk now")
    return waits or _start(row, turn)


def _start(row: Row, turn: Turn) -> Outcome:
    users = dict.fromkeys([row.github_user, *row.secondary_users])
    keys = [key for user in users for key in turn.tools.ssh_keys.of(user)]
    if not keys:
        return _failed(row, turn.view, f"none of {', '.join(users)} has an SSH key on GitHub: nobody could log in")
    settings = turn.tools.settings
    gpu_type = turn.view.gpu_types[row.gpu_type]
    body = pod_body(row, gpu_type, keys, settings.pod_image, settings.namespace, home=asks_for_disk(row))
    turn.hold()
    pod = turn.tools.pods.create(body)
    turn.hold()
    service = turn.tools.pods.create_service(ssh_service_body(row, pod.uid, settings.namespace))
    again = turn.later(settings.pod_poll_s)
    return wait(row, "Pod created: waiting for a node", again, node_port=service.node_port)


def _ready(row: Row, turn: Turn, pod: PodState) -> Outcome:
    port = row.node_port
    if port is None:
        # Whoever made the pod did not live to write the port down, or to make the service.
        turn.hold()
        port = turn.tools.pods.create_service(ssh_service_body(row, pod.uid, turn.tools.settings.namespace)).node_port
    if pod.node is None or port is None:
        raise TryAgainError(f"pod {pod.name} is ready but has no node or port yet")
    addresses = turn.tools.pods.node_addresses(pod.node)
    ip = addresses.get("ExternalIP") or addresses.get("InternalIP")
    if ip is None:
        raise TryAgainError(f"node {pod.node} has no address")
    values = {
        "launched_at": turn.now,
        "expires_at": turn.now + timedelta(hours=row.duration_hours),
        "node_ip": ip,
        "node_private_ip": addresses.get("InternalIP"),
        "node_port": port,
        "ssh_command": f"ssh -p {port} dev@{ip}",
        "current_detailed_status": "Ready",
        "schedule_failures": 0,
    }
    if asks_for_disk(row):
        disk = disk_of(row, turn.view)
        if not turn.tools.homes.leads_to(home_of(row, disk)):
            turn.hold()
            turn.tools.pods.delete(pod.name, pod.uid)
            return _look_again(row, turn, "Waiting for a pod with an older volume to go")
        values |= {"ebs_volume_id": disk.ebs_volume_id, "ebs_availability_zone": disk.ebs_availability_zone}
    soon = turn.later(min(turn.tools.settings.watch_s, row.duration_hours * 3600))
    return hand_out(Move(row, Status.ACTIVE, "the pod is ready", values), soon)


def _unscheduled(row: Row, turn: Turn, pod: PodState) -> Outcome:
    """No node although GPUs are free (spread over nodes): the pod goes, and the row waits for a while."""
    patience = timedelta(seconds=turn.tools.settings.unschedulable_s)
    if turn.now - pod.created_at <= patience:
        return _look_again(row, turn, f"No node yet: {pod.unschedulable}")
    # A scheduler that aggregates its events reports the first two at once, and the third half an hour later.
    long = turn.now - pod.created_at > UNSCHEDULABLE_EVENTS * patience
    if not long and turn.tools.pods.scheduling_failures(pod.name, pod.uid) < UNSCHEDULABLE_EVENTS:
        return _look_again(row, turn, f"No node yet: {pod.unschedulable}")
    return _leave(row, turn, f"No node: {pod.unschedulable}")


def _leave(row: Row, turn: Turn, shown: str) -> Outcome:
    """Back to the line, each time for longer, up to a limit."""
    pause_s = min(turn.tools.settings.unschedulable_s * 2 ** min(row.schedule_failures, 10), LONGEST_PAUSE_S)
    values = {
        "retry_at": turn.later(pause_s),
        "schedule_failures": row.schedule_failures + 1,
        "current_detailed_status": shown,
    }
    return Wait("leaving its pod", turn.now, changes=(Move(row, None, values=values),))


def _back_to_line(row: Row, turn: Turn, pod: PodState | None) -> Outcome:
    """Preparing -> queued, once its pod is gone and with it the hold on the GPUs."""
    if pod is not None and pod.node is not None and not pod.deleting and pod.reservation_id == row.reservation_id:
        # Its pod has found a node meanwhile.
        return Wait("its pod has found a node", turn.now, (Move(row, None, values={"retry_at": None}),))
    if pod is not None and pod.reservation_id == row.reservation_id:
        turn.hold()
        turn.tools.pods.delete(pod.name, pod.uid)
        return Wait("its pod is going", turn.later(turn.tools.settings.teardown_poll_s))
    if asks_for_disk(row) and not remove_home(row, turn):
        return Wait("its home is going", turn.later(turn.tools.settings.teardown_poll_s))
    values = {"gpus_held": 0, "pod_name": None, "node_port": None}
    back = hand_out(Move(row, Status.QUEUED, "its pod found no node", values), max(row.retry_at, turn.now))
    disk = turn.view.held.get(row.reservation_id)
    # Another zone may have room next time: its volume does not go there, its snapshot does.
    left = release(disk, "migration", turn.now) if disk and disk.release_asked_at is None else Advance()
    return back + left


def _look_again(row: Row, turn: Turn, shown: str) -> Wait:
    return wait(row, shown, turn.later(turn.tools.settings.pod_poll_s))


def _failed(row: Row, view: View, reason: str) -> Outcome:
    values = {
        "failed_at": view.now,
        "failure_reason": reason,
        "current_detailed_status": "Failed",
        **ended(row, view),
    }
    return hand_out(Move(row, Status.FAILED, reason, values))


def watch(row: Row, turn: Turn) -> Outcome:
    """Active -> expired. An API error observes nothing: it is raised, and the row is looked at again."""
    settings = turn.tools.settings
    deadline = row.expires_at + timedelta(seconds=settings.expiry_grace_s)
    if turn.now > deadline:
        return _expired(row, f"its {_span(row.duration_hours)} are over")
    pod = turn.tools.pods.find(row.pod_name)
    if pod is None or pod.finished or pod.reservation_id != row.reservation_id:
        return _missing(row, turn)
    values: dict[str, Any] = _oom(row, pod)
    if row.pod_missing_since is not None:
        values["pod_missing_since"] = None
    changes = (Move(row, None, values=values),) if values else ()
    # It expires after the deadline, not at it: hence one millisecond more.
    later = min(turn.later(settings.watch_s), deadline + timedelta(milliseconds=1))
    return Wait("active", later, changes)


def _span(hours: float) -> str:
    """As a person says it: 4 hours, 30 minutes, 6 seconds."""
    for unit, size in (("hours", 1), ("minutes", 60)):
        if hours * size >= 1:
            return f"{hours * size:g} {unit}"
    return f"{hours * 3600:.0f} seconds"


def _expired(row: Row, reason: str) -> Outcome:
    return hand_out(Move(row, Status.EXPIRED, reason, {"current_detailed_status": "Expired"}))


def _missing(row: Row, turn: Turn) -> Outcome:
    """Two observations in a row, and not in the first minutes, before a running reservation is given up."""
    settings = turn.tools.settings
    again = turn.later(min(settings.watch_s, 10))
    grace_ends = row.launched_at + timedelta(seconds=settings.pod_missing_grace_s)
    if turn.now < grace_ends:
        return Wait("its pod is missing, but it is young", max(again, min(grace_ends, row.expires_at)))
    if row.pod_missing_since is None:
        return Wait("its pod is missing", again, (Move(row, None, values={"pod_missing_since": turn.now}),))
    return _expired(row, "POD_LOST: its pod is gone or has finished")


def _oom(row: Row, pod: PodState) -> dict[str, Any]:
    new = [kill for kill in pod.oom_kills if row.last_oom_at is None or kill[0] > row.last_oom_at]
    if not new:
        return {}
    last_at, container = new[-1]
    return {"oom_count": row.oom_count + len(new), "last_oom_at": last_at, "oom_container": container}


def teardown(row: Row, turn: Turn) -> Outcome:
    """After the end: services, pod and home are deleted until they are seen gone; then the GPUs are free.

    With a disk, it is over when the disk is released: its snapshot completed, its volume gone.
    """
    name, disk = pod_name(row.reservation_id), turn.view.held.get(row.reservation_id)
    pod = turn.tools.pods.find(name)
    if disk is not None and is_to_be_listed(row, pod, disk):
        return list_contents(row, disk, turn)
    if _deleted(row, pod, turn):
        return Wait("tearing down", turn.later(turn.tools.settings.teardown_poll_s))
    if disk is None:
        return Done("all gone") if row.reservation_ended else _ended(row, turn.view)
    return wait_for_release(row, turn.view) if disk.release_asked_at is not None else let_go(row, disk, turn.view)


def _deleted(row: Row, pod: PodState | None, turn: Turn) -> bool:
    """Delete services, pod and home; whether any of them was still there."""
    name = pod_name(row.reservation_id)
    services = turn.tools.pods.services(name, row.reservation_id)
    for service in services:
        turn.hold()
        turn.tools.pods.delete_service(service)
    ours = pod is not None and pod.reservation_id == row.reservation_id
    if pod is not None and ours and not pod.deleting:
        turn.hold()
        turn.tools.pods.delete(pod.name, pod.uid)
    if services or ours:
        return True
    return asks_for_disk(row) and not remove_home(row, turn)


def _ended(row: Row, view: View) -> Outcome:
    return Advance((Move(row, None, values={"reservation_ended": view.now, "gpus_held": 0}),))
