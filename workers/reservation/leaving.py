"""Preparing -> queued: a reservation that finds no place gives back its GPUs, and waits for a while."""

from pgfleet.schema.reservation import Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.handover import release
from pgfleet.workers.reservation.completing import complete
from pgfleet.workers.reservation.disk import asks_for_disk, remove_home
from pgfleet.workers.reservation.tools import Turn, hand_out
from pgfleet.workers.runtime.outcomes import Advance, Move, NoPlaceError, Outcome, Wait
from pgfleet.workers.runtime.tickets import Step

LONGEST_PAUSE_S = 900.0


def giving_up_place(step: Step) -> Step:
    """A step of rows that the cluster has no place for now: a quota is used up, say."""

    def prepared(row: Row, turn: Turn) -> Outcome:
        try:
            return step(row, turn)
        except NoPlaceError as error:
            return leave(row, turn, error.shown)

    return prepared


def leave(row: Row, turn: Turn, shown: str) -> Outcome:
    """Back to the line, each time for longer, up to a limit."""
    pause_s = min(turn.tools.settings.unschedulable_s * 2 ** min(row.schedule_failures, 10), LONGEST_PAUSE_S)
    values = {
        "retry_at": turn.later(pause_s),
        "schedule_failures": row.schedule_failures + 1,
        "current_detailed_status": shown,
    }
    return Wait("leaving its pod", turn.now, changes=(Move(row, None, values=values),))


def back_to_line(row: Row, turn: Turn, pod: PodState | None) -> Outcome:
    """Preparing -> queued, once its pod is gone and with it the hold on the GPUs."""
    is_placed = pod is not None and pod.node is not None and not pod.deleting
    if pod is not None and is_placed and pod.reservation_id == row.reservation_id and _may_stay(row, pod, turn):
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


def _may_stay(row: Row, pod: PodState, turn: Turn) -> bool:
    """Whether a pod that has found a node meanwhile can have what goes with it: a quota may be of that, too."""
    try:
        complete(row, pod, turn)
    except NoPlaceError:
        return False
    return True
