"""A reservation's pod, made where it is missing, with what goes with it."""

from dataclasses import replace
from typing import Any

from kubernetes.client.exceptions import ApiException

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.guarded import REFUSES, ContestedError, ForbiddenError
from pgfleet.workers.clients.kubernetes.manifest import pod_body
from pgfleet.workers.clients.kubernetes.plain import plain_pod_like
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.reservation.completing import complete
from pgfleet.workers.reservation.disk import NoRoomError, asks_for_disk, make_home
from pgfleet.workers.reservation.gang.network import as_member
from pgfleet.workers.reservation.gang.place import in_order
from pgfleet.workers.reservation.gang.rows import nudges, others
from pgfleet.workers.reservation.keys import NoKeysError, keys_of, warning_of, without_keys
from pgfleet.workers.reservation.leaving import leave
from pgfleet.workers.reservation.pod.looks import longer
from pgfleet.workers.reservation.pod.refusals import avoided, elsewhere, kept, with_refusals
from pgfleet.workers.reservation.tools import Turn, failed
from pgfleet.workers.runtime.outcomes import NoPlaceError, NotNowError, Outcome, wait


def make(row: Row, turn: Turn) -> Outcome:
    """A reservation with a disk gets its pod when its home is there.

    Raises:
        NotNowError: something outside does not answer, or not yet.
    """
    try:
        waits = in_order(row, turn) if row.is_multinode else None
        waits = waits or (make_home(row, turn) if asks_for_disk(row) else None)
        return waits or _start(row, turn)
    except NoRoomError as full:
        return leave(row, turn, str(full))
    except NoKeysError as error:
        return failed(row, turn.view, str(error))
    except NotNowError as error:
        if _alone(row, error, turn):
            return leave(row, turn, error.shown)
        raise


def _alone(row: Row, error: NotNowError, turn: Turn) -> bool:
    """Whether others are answered and this one is not, and not only for a moment: it holds GPUs without a pod."""
    is_out = turn.trouble(error.dependency, error.calls) is not None
    return not is_out and longer(turn, row.status_since, turn.tools.settings.unschedulable_s)


def _start(row: Row, turn: Turn) -> Outcome:
    found = keys_of(row, turn)
    body = pod_body(row, turn.view.gpu_types[row.gpu_type], turn.tools.template, home=asks_for_disk(row))
    body = as_member(kept(elsewhere(body, avoided(row, turn)), row.kept_to_node), row, turn)
    turn.hold()
    pod = _created(row, kept(body, row.kept_to_node), turn)
    port = complete(row, pod, turn, found)
    again = turn.later(turn.tools.settings.pod_poll_s)
    shown = with_refusals(row, turn, "Pod created: waiting for a node")
    made = wait(row, shown, again, node_port=port, **warning_of(row, without_keys(found)))
    return replace(made, then=nudges(others(row, turn.view)))


def _created(row: Row, body: dict[str, Any], turn: Turn) -> PodState:
    """Where a pod is refused by a policy, the same of nobody is asked for: what is refused then is not the user's.

    Raises:
        NoPlaceError: no pod of this size and type would be let in.
    """
    try:
        return turn.tools.pods.create(body)
    except (ForbiddenError, ContestedError) as refused:
        plain = plain_pod_like(row, turn.view.gpu_types[row.gpu_type], turn.tools.template)
        try:
            turn.tools.pods.probe.would_make(plain)
        except (NotNowError, NoPlaceError, ApiException):
            words = f"the operator has to let pods of {row.gpu_count or 'no'} GPUs in: {refused}"
            raise NoPlaceError(REFUSES, words) from refused
        raise
