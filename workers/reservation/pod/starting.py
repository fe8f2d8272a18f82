"""A pod of ours that does not answer yet: what it waits for, for how long it may, and when it is given up.

    no node ----------> a node took it --------> its image is pulled --------> it runs --------> SSH answers
    unschedulable_s:    refused: a new pod       image_pull_s, with            pod_ready_s
    back to the line    for another node         the volumes before it
                                                 may_heal_s for what a registry does not know, and what can't be made

A node that is silent, not ready or gone for node_silent_s loses its pod, which goes back to the line: that is not the
row's. All times are from our own first look that saw it so (looks.py).
"""

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.clients.kubernetes.status.conditions import Place
from pgfleet.workers.clients.kubernetes.status.containers import Waiting, Waits
from pgfleet.workers.clients.kubernetes.status.events import Making
from pgfleet.workers.clients.kubernetes.status.logs import with_last_line
from pgfleet.workers.reservation.completing import complete
from pgfleet.workers.reservation.leaving import leave
from pgfleet.workers.reservation.pod.looks import Seen, ending, longer, ooms, seen, so_far
from pgfleet.workers.reservation.pod.refusals import with_refusals
from pgfleet.workers.reservation.tools import Turn, failed
from pgfleet.workers.runtime.outcomes import Outcome, wait

# A scheduler that works looks at a pod at once.
SCHEDULER_S = 10.0
# A container that crashes is started again by its kubelet, each time later: the fifth crash is after two minutes.
CRASHES = 5
# A pod that starts says so within seconds; then its node is asked whether it still answers.
QUIET_S = 30.0
# States as looks remember them: of its node, whatever its containers do; and of one that has no image to get yet.
SILENT = "node_silent"
MAKING = "making"
# Volumes and a network are there in less.
MAKING_S = 10.0


def place(row: Row, pod: PodState, turn: Turn) -> Outcome:
    """A pod on no node. Its GPUs stay held meanwhile: it may get them at any moment."""
    assert pod.unplaced is not None  # noqa: S101  # the caller has looked
    why = pod.unplaced
    look = seen(row, pod, why.place, turn)
    match why.place:
        case Place.UNSCHEDULABLE if longer(turn, look.since, turn.tools.settings.unschedulable_s):
            return leave(row, turn, with_refusals(row, turn, f"No node: {why.text}"))
        case Place.GATED:
            shown = f"SCHEDULING_GATED: its scheduling waits for {why.text}{so_far(turn, look.since)}"
        case Place.UNSEEN if longer(turn, look.since, SCHEDULER_S):
            shown = f"NO_SCHEDULER: no scheduler has looked at it ({why.text}){so_far(turn, look.since)}"
        case Place.UNSEEN:
            shown = "Pod created: waiting for a node"
        case _:
            shown = f"No node yet: {why.text}"
    return _look_again(row, turn, shown, look)


def start(row: Row, pod: PodState, turn: Turn) -> Outcome:
    """A pod on a node, where SSH does not answer yet."""
    if (silence := _silence(row, pod, turn)) is not None:
        return _silent(row, pod, silence, turn)
    if pod.running:
        return _run(row, pod, turn)
    if pod.crashes is not None:
        return _crash(row, pod, turn)
    if pod.waits is not None and pod.waits.kind is not Waiting.PULLING:
        return _blocked(row, pod, pod.waits, turn)
    return _made(row, pod, turn)


def give_up(row: Row, pod: PodState, turn: Turn, reason: str) -> Outcome:
    """Failed, with the last of what its container wrote: nobody can read that once the pod is gone.

    Where the container has ended, its last line says why, and is told.
    """
    logs = turn.tools.pods.logs(pod.name, previous=pod.crashes is not None)
    said = with_last_line(reason, logs) if pod.crashes or pod.ended else reason
    return failed(row, turn.view, said, pod_logs=logs, **ooms(row, pod), **ending(pod))


def _made(row: Row, pod: PodState, turn: Turn) -> Outcome:
    """Its container is being made: its image is pulled, as events say, or what comes before that isn't there yet."""
    is_known = row.pod_uid == pod.uid and row.pod_state == Waiting.PULLING
    making = Making(gets_image=True) if is_known else turn.tools.pods.events.making(pod.name, pod.uid)
    look = seen(row, pod, Waiting.PULLING if making.gets_image else MAKING, turn)
    patience_s = turn.tools.settings.image_pull_s
    if longer(turn, look.placed_at, patience_s):
        what = "image was not pulled" if making.gets_image else "container was not made"
        why = "" if making.gets_image or not making.trouble else f": {making.trouble}"
        return give_up(row, pod, turn, f"its {what} within {patience_s / 60:g} minutes{why}")
    if making.gets_image:
        return _look_again(row, turn, f"Pulling its image{so_far(turn, look.placed_at)}", look)
    if longer(turn, look.since, MAKING_S):
        # What its node waits for may be ours, and deleted by somebody.
        complete(row, pod, turn)
    shown = f"On its node: its container is being made{so_far(turn, look.placed_at)}"
    return _look_again(row, turn, f"{shown}; {making.trouble}" if making.trouble else shown, look)


def _run(row: Row, pod: PodState, turn: Turn) -> Outcome:
    """Also between two crashes: the time for SSH is counted from the first time that it ran."""
    look, settings = seen(row, pod, "running", turn), turn.tools.settings
    crashed = f"; its container crashed {_times(pod)}" if pod.crashes else ""
    if longer(turn, look.running_at, settings.pod_ready_s):
        return give_up(row, pod, turn, f"SSH did not answer within {settings.pod_ready_s / 60:g} minutes{crashed}")
    if pod.crashes is not None and pod.crashes.number >= CRASHES:
        return give_up(row, pod, turn, f"its container crashed {_times(pod)}")
    waiting = f"Starting: waiting for SSH to answer{so_far(turn, look.running_at)}{crashed}"
    return _look_again(row, turn, waiting, look)


def _crash(row: Row, pod: PodState, turn: Turn) -> Outcome:
    """Between two starts: it is given a few of them."""
    assert pod.crashes is not None  # noqa: S101  # the caller has looked
    look = seen(row, pod, "crashing", turn)
    since = look.running_at or look.placed_at
    if pod.crashes.number >= CRASHES or longer(turn, since, turn.tools.settings.may_heal_s):
        return give_up(row, pod, turn, f"its container crashed {_times(pod)}")
    return _look_again(row, turn, f"CRASHING: its container crashed {_times(pod)}; it is started again", look)


def _times(pod: PodState) -> str:
    assert pod.crashes is not None  # noqa: S101  # the caller has looked
    number = pod.crashes.number
    return f"{f'{number} times' if number > 1 else 'once'}: {pod.crashes.last.text}"


def _blocked(row: Row, pod: PodState, waits: Waits, turn: Turn) -> Outcome:
    """Its container can't be made now."""
    settings, kind = turn.tools.settings, _remembered(row, pod, waits)
    look = seen(row, pod, kind, turn)
    if kind is Waiting.NEVER:
        return give_up(row, pod, turn, f"the pod can't start: {waits.text}")
    image = kind is Waiting.IMAGE
    since, patience_s = (look.placed_at, settings.image_pull_s) if image else (look.since, settings.may_heal_s)
    if longer(turn, since, patience_s):
        return give_up(row, pod, turn, f"the pod can't start, for {patience_s / 60:g} minutes: {waits.text}")
    doing = "Starting its container" if kind is Waiting.STARTING else "Pulling its image"
    return _look_again(row, turn, f"{doing}{so_far(turn, look.placed_at)}; {waits.text}", look)


def _remembered(row: Row, pod: PodState, waits: Waits) -> Waiting:
    """A kubelet that backs off may leave out why: then it is still what it was."""
    unsaid = waits.kind is Waiting.IMAGE and "Back-off" in waits.message and ": " not in waits.message
    known = row.pod_uid == pod.uid and row.pod_state == Waiting.IMAGE_MISSING
    return Waiting.IMAGE_MISSING if unsaid and known else waits.kind


def _silence(row: Row, pod: PodState, turn: Turn) -> str | None:
    """What its node says of itself, where nothing has happened for some time."""
    is_known = row.pod_uid == pod.uid and (row.pod_state == SILENT or longer(turn, row.pod_state_since, QUIET_S))
    if pod.node is None or not is_known:
        return None
    node = turn.tools.pods.node(pod.node)
    if node is None:
        return f"NODE_DELETED: its node {pod.node} was deleted"
    code = "NODE_SILENT" if node.silent else "NODE_NOT_READY"
    return f"{code}: its node {pod.node} {node.manner}: {node.trouble}" if node.trouble else None


def _silent(row: Row, pod: PodState, said: str, turn: Turn) -> Outcome:
    """Its node is given time; then others are. The GPUs stay held until the pod is seen gone."""
    look = seen(row, pod, SILENT, turn)
    if not longer(turn, look.since, turn.tools.settings.node_silent_s):
        return _look_again(row, turn, said, look)
    turn.hold()
    turn.tools.pods.delete(pod.name, pod.uid)
    return leave(row, turn, said)


def _look_again(row: Row, turn: Turn, shown: str, look: Seen) -> Outcome:
    again = turn.later(turn.tools.settings.pod_poll_s)
    return wait(row, with_refusals(row, turn, shown), again, **look.values)
