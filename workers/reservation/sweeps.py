"""Pods without a live row: those of ended rows are torn down, those that no row accounts for are set aside.

What a pod has left behind when it was gone (services, keys, a home) is swept alike.
"""

import structlog

from pgfleet.schema.messages import ID_LIMIT
from pgfleet.schema.reservation import FINAL, SuspectPod
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.reservations import pod_quarantine
from pgfleet.workers.clients.kubernetes.names import home_name
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.clients.kubernetes.sweep.belongings import Belonging
from pgfleet.workers.reservation.teardown import delete_belongings
from pgfleet.workers.reservation.tools import Turn, ticket
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, New, NotNowError, Outcome, Send

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def sweep_pods(turn: Turn) -> Done:
    """Whatever has no live row is looked at closely, and so is what was set aside."""
    left, pods = _belongings(turn), turn.tools.pods.managed()
    suspects = {pod.uid: _suspect(pod.uid, pod.name, pod.reservation_id) for pod in pods if _is_suspect(pod, turn)}
    suspects |= {uid: _suspect(uid, row.pod_name, row.reservation_id) for uid, row in turn.view.quarantined.items()}
    there = {pod.name for pod in pods}
    alone = sorted(
        (each.pod, each.reservation_id or "") for each in left if each.pod not in there and _is_suspect(each, turn)
    )
    return Done("pods looked after", then=(*suspects.values(), *(_suspect("", *each) for each in alone)))


def _is_suspect(thing: PodState | Belonging, turn: Turn) -> bool:
    return thing.reservation_id is None or thing.reservation_id not in turn.view.unended


def _suspect(uid: str, name: str, reservation_id: str | None) -> Send:
    message = SuspectPod(pod_uid=uid, pod_name=name, reservation_id=_named(reservation_id))
    return Send(message.model_dump())


def _named(reservation_id: str | None) -> str:
    """What a pod says whose it is, if a reservation can be called so."""
    found = reservation_id or ""
    return found if len(found) <= ID_LIMIT and found.isprintable() else ""


def _belongings(turn: Turn) -> set[Belonging]:
    """What goes with pods. It is listed before them, and made after them: what has no pod then has lost it."""
    found = turn.tools.belongings.in_namespace()
    try:
        return found | turn.tools.belongings.volumes()
    except NotNowError as error:
        # Volumes are the cluster's: who may not list them still looks after pods.
        log.warning("homes.unlisted", reason=str(error))
        return found


def suspect(message: SuspectPod, turn: Turn) -> Outcome:
    """A pod, or what one has left, that no live row accounted for.

    Its row is loaded after it was seen, and so can't be about to come. An ended row gets a ticket, and so tears down
    what came after its end. A pod without a row is set aside: it is not known whose it is, and a database that was
    restored has forgotten it. What such a pod has left when it is gone is deleted.
    """
    row = turn.view.rows.get(message.reservation_id)
    pod = turn.tools.pods.find(message.pod_name)
    if pod is None:
        return _out_of_quarantine(message, turn, "the pod is gone", _clear(message, row, turn))
    if pod.uid != message.pod_uid:
        return _out_of_quarantine(message, turn, "there is another pod of its name")
    if _named(pod.reservation_id) != message.reservation_id:
        return Done("it is of another reservation", (_suspect(pod.uid, pod.name, pod.reservation_id),))
    if row is None:
        return _into_quarantine(message, turn)
    nudge = (ticket(row.reservation_id),) if row.status in FINAL else ()
    return _out_of_quarantine(message, turn, "its row accounts for it", nudge)


def _clear(message: SuspectPod, row: Row | None, turn: Turn) -> tuple[Send, ...]:
    """See to what a pod that is gone has left: an ended row does it itself, a live one has use for it."""
    if row is not None:
        return (ticket(row.reservation_id),) if row.status in FINAL else ()
    owner = message.reservation_id or None
    services, keys = delete_belongings(message.pod_name, owner, turn)
    turn.hold()
    turn.tools.homes.remove(home_name(message.pod_name), owner)
    if services or keys:
        log.warning("pod.belongings_deleted", pod=message.pod_name, names=[*services, *keys])
    return ()


def _into_quarantine(message: SuspectPod, turn: Turn) -> Outcome:
    known = turn.view.quarantined.get(message.pod_uid)
    owner = message.reservation_id
    reason = f"there is no reservation {owner}" if owner else "it names no reservation"
    if known is not None:
        back = Advance((Move(known, None, reason, {"gone_at": None, "found_at": turn.now}),))
        return Done("in quarantine already") if known.gone_at is None else back
    log.warning("pod.quarantined", pod=message.pod_name, reason=reason)
    values = {
        "pod_uid": message.pod_uid,
        "pod_name": message.pod_name,
        "namespace": turn.tools.settings.namespace,
        "reservation_id": owner or None,
        "reason": reason,
        "found_at": turn.now,
        **turn.tools.pods.place(message.pod_name),
    }
    return Advance((New(pod_quarantine, None, reason, values),))


def _out_of_quarantine(message: SuspectPod, turn: Turn, why: str, then: tuple[Send, ...] = ()) -> Outcome:
    known = turn.view.quarantined.get(message.pod_uid)
    if known is None or known.gone_at is not None:
        return Done(why, then)
    return Advance((Move(known, None, why, {"gone_at": turn.now}),), then)
