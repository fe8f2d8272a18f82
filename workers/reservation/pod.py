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
from pgfleet.workers.reservation.tools import Tools, end_of_line, next_ticket
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime.kind import Occasion
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome, TryAgainError, Wait, advance

UNSCHEDULABLE_EVENTS = 3
LONGEST_PAUSE_S = 900.0


def prepare(row: Row, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    """Preparing -> active | queued | failed."""
    settings = tools.settings
    if view.now - row.status_since > timedelta(seconds=settings.preparing_stuck_s):
        return _failed(row, view, f"not ready within {settings.preparing_stuck_s / 60:g} minutes")
    pod = tools.pods.find(row.pod_name)
    if row.retry_at is not None:
        return _back_to_line(row, view, tools, occasion, pod)
    if pod is None:
        return _start_with_home(row, view, tools, occasion)
    if pod.deleting or pod.reservation_id != row.reservation_id:
        return _look_again(row, view, tools, "Waiting for an older pod of this name to go")
    if pod.cannot_start:
        return _failed(row, view, f"the pod can't start: {pod.cannot_start}")
    if pod.unschedulable:
        return _unscheduled(row, view, tools, pod)
    if pod.ready:
        return _ready(row, view, tools, occasion, pod)
    if pod.started_at and view.now - pod.started_at > timedelta(seconds=settings.pod_ready_s):
        return _failed(row, view, f"SSH did not answer within {settings.pod_ready_s / 60:g} minutes")
    return _look_again(row, view, tools, "Starting: waiting for SSH to answer")


def _start_with_home(row: Row, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    """A reservation with a disk gets its pod when its home is there."""
    try:
        waits = make_home(row, view, tools, occasion) if asks_for_disk(row) else None
    except NoRoomError:
        return _leave(row, view, tools, "No node: none has room for a pod with a disk now")
    return waits or _start(row, view, tools, occasion)


def _start(row: Row, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    users = dict.fromkeys([row.github_user, *row.secondary_users])
    keys = [key for user in users for key in tools.ssh_keys.of(user)]
    if not keys:
        return _failed(row, view, f"none of {', '.join(users)} has an SSH key on GitHub: nobody could log in")
    settings = tools.settings
    gpu_type = view.gpu_types[row.gpu_type]
    body = pod_body(row, gpu_type, keys, settings.pod_image, settings.namespace, home=asks_for_disk(row))
    occasion.hold()
    pod = tools.pods.create(body)
    occasion.hold()
    service = tools.pods.create_service(ssh_service_body(row, pod.uid, settings.namespace))
    shown = "Pod created: waiting for a node"
    values = {"node_port": service.node_port, "current_detailed_status": shown}
    return Wait(shown, view.now + timedelta(seconds=settings.pod_poll_s), (Move(row, None, values=values),))


def _ready(row: Row, view: View, tools: Tools, occasion: Occasion, pod: PodState) -> Outcome:
    port = row.node_port
    if port is None:
        # Whoever made the pod did not live to write the port down, or to make the service.
        occasion.hold()
        port = tools.pods.create_service(ssh_service_body(row, pod.uid, tools.settings.namespace)).node_port
    if pod.node is None or port is None:
        raise TryAgainError(f"pod {pod.name} is ready but has no node or port yet")
    addresses = tools.pods.node_addresses(pod.node)
    ip = addresses.get("ExternalIP") or addresses.get("InternalIP")
    if ip is None:
        raise TryAgainError(f"node {pod.node} has no address")
    values = {
        "launched_at": view.now,
        "expires_at": view.now + timedelta(hours=row.duration_hours),
        "node_ip": ip,
        "node_private_ip": addresses.get("InternalIP"),
        "node_port": port,
        "ssh_command": f"ssh -p {port} dev@{ip}",
        "current_detailed_status": "Ready",
        "schedule_failures": 0,
        "ticket": row.ticket + 1,
    }
    if asks_for_disk(row):
        disk = disk_of(row, view)
        if not tools.homes.leads_to(home_of(row, disk)):
            occasion.hold()
            tools.pods.delete(pod.name, pod.uid)
            return _look_again(row, view, tools, "Waiting for a pod with an older volume to go")
        values |= {"ebs_volume_id": disk.ebs_volume_id, "ebs_availability_zone": disk.ebs_availability_zone}
    soon = view.now + timedelta(seconds=min(tools.settings.watch_s, row.duration_hours * 3600))
    return advance(row, Status.ACTIVE, "the pod is ready", values, (next_ticket(row, soon),))


def _unscheduled(row: Row, view: View, tools: Tools, pod: PodState) -> Outcome:
    """No node although GPUs are free (spread over nodes): the pod goes, and the row waits for a while."""
    patience = timedelta(seconds=tools.settings.unschedulable_s)
    if view.now - pod.created_at <= patience:
        return _look_again(row, view, tools, f"No node yet: {pod.unschedulable}")
    # A scheduler that aggregates its events tells of the first two at once, and of the third half an hour later.
    long = view.now - pod.created_at > UNSCHEDULABLE_EVENTS * patience
    if not long and tools.pods.scheduling_failures(pod.name, pod.uid) < UNSCHEDULABLE_EVENTS:
        return _look_again(row, view, tools, f"No node yet: {pod.unschedulable}")
    return _leave(row, view, tools, f"No node: {pod.unschedulable}")


def _leave(row: Row, view: View, tools: Tools, shown: str) -> Outcome:
    """Each time for longer, up to a limit."""
    pause_s = min(tools.settings.unschedulable_s * 2 ** min(row.schedule_failures, 10), LONGEST_PAUSE_S)
    values = {
        "retry_at": view.now + timedelta(seconds=pause_s),
        "schedule_failures": row.schedule_failures + 1,
        "current_detailed_status": shown,
    }
    return Wait("leaving its pod", view.now, changes=(Move(row, None, values=values),))


def _back_to_line(row: Row, view: View, tools: Tools, occasion: Occasion, pod: PodState | None) -> Outcome:
    """Preparing -> queued, once its pod is gone and with it the hold on the GPUs."""
    if pod is not None and pod.node is not None and not pod.deleting and pod.reservation_id == row.reservation_id:
        # It has found a node after all.
        return Wait("its pod has found a node", view.now, (Move(row, None, values={"retry_at": None}),))
    if pod is not None and pod.reservation_id == row.reservation_id:
        occasion.hold()
        tools.pods.delete(pod.name, pod.uid)
        return Wait("its pod is going", view.now + timedelta(seconds=tools.settings.teardown_poll_s))
    if asks_for_disk(row) and not remove_home(row, tools, occasion):
        return Wait("its home is going", view.now + timedelta(seconds=tools.settings.teardown_poll_s))
    values = {"gpus_held": 0, "pod_name": None, "node_port": None, "ticket": row.ticket + 1}
    at = max(row.retry_at, view.now)
    back = Move(row, Status.QUEUED, "its pod found no node", values)
    disk = view.held.get(row.reservation_id)
    # Another zone may have room next time: its volume does not go there, its snapshot does.
    left = release(disk, "migration", view.now) if disk and disk.release_asked_at is None else Advance(())
    return Advance((back, *left.changes), (next_ticket(row, at), *left.then))


def _look_again(row: Row, view: View, tools: Tools, shown: str) -> Wait:
    changes = () if row.current_detailed_status == shown else (_showing(row, shown),)
    return Wait(shown, view.now + timedelta(seconds=tools.settings.pod_poll_s), changes)


def _showing(row: Row, shown: str) -> Move:
    return Move(row, None, values={"current_detailed_status": shown})


def _failed(row: Row, view: View, reason: str) -> Outcome:
    values = {
        "failed_at": view.now,
        "failure_reason": reason,
        "current_detailed_status": "Failed",
        **end_of_line(row, view),
    }
    return advance(row, Status.FAILED, reason, values, (next_ticket(row),))


def watch(row: Row, view: View, tools: Tools, occasion: Occasion) -> Outcome:  # noqa: ARG001  # a step
    """Active -> expired. An API error observes nothing: it is raised, and the row is looked at again."""
    settings = tools.settings
    deadline = row.expires_at + timedelta(seconds=settings.expiry_grace_s)
    if view.now > deadline:
        return _expired(row, f"its {_span(row.duration_hours)} are over")
    pod = tools.pods.find(row.pod_name)
    if pod is None or pod.finished or pod.reservation_id != row.reservation_id:
        return _missing(row, view, tools)
    values: dict[str, Any] = _oom(row, pod)
    if row.pod_missing_since is not None:
        values["pod_missing_since"] = None
    changes = (Move(row, None, values=values),) if values else ()
    # The deadline itself is not late enough: one more millisecond is.
    later = min(view.now + timedelta(seconds=settings.watch_s), deadline + timedelta(milliseconds=1))
    return Wait("active", later, changes)


def _span(hours: float) -> str:
    """As a person says it: 4 hours, 30 minutes, 6 seconds."""
    for unit, size in (("hours", 1), ("minutes", 60)):
        if hours * size >= 1:
            return f"{hours * size:g} {unit}"
    return f"{hours * 3600:.0f} seconds"


def _expired(row: Row, reason: str) -> Outcome:
    values = {"ticket": row.ticket + 1, "current_detailed_status": "Expired"}
    return advance(row, Status.EXPIRED, reason, values, (next_ticket(row),))


def _missing(row: Row, view: View, tools: Tools) -> Outcome:
    """Two observations in a row, and not in the first minutes, before a running reservation is given up."""
    settings = tools.settings
    again = view.now + timedelta(seconds=min(settings.watch_s, 10))
    grace_ends = row.launched_at + timedelta(seconds=settings.pod_missing_grace_s)
    if view.now < grace_ends:
        return Wait("its pod is missing, but it is young", max(again, min(grace_ends, row.expires_at)))
    if row.pod_missing_since is None:
        return Wait("its pod is missing", again, (Move(row, None, values={"pod_missing_since": view.now}),))
    return _expired(row, "POD_LOST: its pod is gone or has finished")


def _oom(row: Row, pod: PodState) -> dict[str, Any]:
    new = [kill for kill in pod.oom_kills if row.last_oom_at is None or kill[0] > row.last_oom_at]
    if not new:
        return {}
    last_at, container = new[-1]
    return {"oom_count": row.oom_count + len(new), "last_oom_at": last_at, "oom_container": container}


def teardown(row: Row, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    """After the end: services, pod and home are deleted until they are seen gone; then the GPUs are free.

    With a disk, it is over when the disk is released: its snapshot completed, its volume gone.
    """
    name, disk = pod_name(row.reservation_id), view.held.get(row.reservation_id)
    pod = tools.pods.find(name)
    if disk is not None and is_to_be_listed(row, pod, disk):
        return list_contents(row, disk, view, tools)
    if _deleted(row, pod, tools, occasion):
        return Wait("tearing down", view.now + timedelta(seconds=tools.settings.teardown_poll_s))
    if disk is None:
        return Done("all gone") if row.reservation_ended else _ended(row, view)
    return wait_for_release(row, view) if disk.release_asked_at is not None else let_go(row, disk, view)


def _deleted(row: Row, pod: PodState | None, tools: Tools, occasion: Occasion) -> bool:
    """Ask for the end of all that is there; whether there was anything."""
    name = pod_name(row.reservation_id)
    services = tools.pods.services(name, row.reservation_id)
    for service in services:
        occasion.hold()
        tools.pods.delete_service(service)
    ours = pod is not None and pod.reservation_id == row.reservation_id
    if pod is not None and ours and not pod.deleting:
        occasion.hold()
        tools.pods.delete(pod.name, pod.uid)
    if services or ours:
        return True
    return asks_for_disk(row) and not remove_home(row, tools, occasion)


def _ended(row: Row, view: View) -> Outcome:
    return Advance((Move(row, None, values={"reservation_ended": view.now, "gpus_held": 0}),))
