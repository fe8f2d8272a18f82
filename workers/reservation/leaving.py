"""Preparing -> queued: a reservation that finds no place gives back its GPUs, and waits for a while."""

from datetime import datetime

from pgfleet.schema.reservation import Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.handover import release
from pgfleet.workers.reservation.completing import complete
from pgfleet.workers.reservation.disk import asks_for_disk, remove_home
from pgfleet.workers.reservation.gang.rows import nudges, of_node, others, rows_of_gang
from pgfleet.workers.reservation.tools import Turn, hand_out, pod_of
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
    """Back to the line, each time for longer, up to a limit; a gang as a whole."""
    pause_s = min(turn.tools.settings.unschedulable_s * 2 ** min(row.schedule_failures, 10), LONGEST_PAUSE_S)
    values = {"retry_at": turn.later(pause_s), "schedule_failures": row.schedule_failures + 1}
    rest = [each for each in others(row, turn.view) if each.status == Status.PREPARING]
    told = {each.reservation_id: of_node(row, shown) for each in rest} | {row.reservation_id: shown}
    moves = tuple(
        Move(each, None, values={**values, "current_detailed_status": told[each.reservation_id]})
        for each in (row, *rest)
    )
    return Wait("leaving its pod", turn.now, moves, nudges(rest))


def back_to_line(row: Row, turn: Turn, pod: PodState | None) -> Outcome:
    """Preparing -> queued, once its pod is gone and with it the hold on the GPUs; a gang when all its pods are."""
    is_placed = pod is not None and pod.node is not None and not pod.deleting
    alone = not row.is_multinode
    if (
        alone
        and pod is not None
        and is_placed
        and pod.reservation_id == row.reservation_id
        and _may_stay(row, pod, turn)
    ):
        return Wait("its pod has found a node", turn.now, (Move(row, None, values={"retry_at": None}),))
    if pod is not None and pod.reservation_id == row.reservation_id:
        turn.hold()
        turn.tools.pods.delete(pod.name, pod.uid)
        return Wait("its pod is going", turn.later(turn.tools.settings.teardown_poll_s))
    rows = [each for each in rows_of_gang(row, turn.view) if each.status == Status.PREPARING]
    if any(_has_pod(each, turn) for each in rows if each.key != row.key):
        return Wait("the pods of its gang are going", turn.later(turn.tools.settings.teardown_poll_s))
    if any(asks_for_disk(each) and not remove_home(each, turn) for each in rows):
        return Wait("its home is going", turn.later(turn.tools.settings.teardown_poll_s))
    return sum((_back(each, max(row.retry_at, turn.now), turn) for each in rows), Advance())


def _has_pod(row: Row, turn: Turn) -> bool:
    pod = turn.tools.pods.find(pod_of(row, turn))
    return pod is not None and pod.reservation_id == row.reservation_id


def _back(row: Row, at: datetime, turn: Turn) -> Advance:
    values = {"gpus_held": 0, "pod_name": None, "node_port": None, "placement": None}
    reason = "its pod found no node" if not row.is_multinode else "its gang found no nodes"
    back = hand_out(Move(row, Status.QUEUED, reason, values), at)
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
