"""Jupyter of a reservation: on or off in its row, and made so in its pod while that runs.

    asked for: jupyter_enabled, and a token of its own --> a look at the active pod: service <pod>-jupyter, the program
    in it --> jupyter_port, jupyter_url; or jupyter_error, and the reservation goes on

A container that was started again has lost it: `jupyter_in` says in which it was started. Where it has ended by itself,
which is looked for every few minutes, it stays so until its user switches it on again: what ended it may be theirs.
"""

import secrets
from datetime import timedelta
from typing import Any

import structlog

from pgfleet.schema.reservation import DisableJupyter, EnableJupyter, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.inside import jupyter
from pgfleet.workers.clients.kubernetes.manifest import jupyter_service_body
from pgfleet.workers.clients.kubernetes.names import jupyter_name
from pgfleet.workers.clients.kubernetes.pod import PodState, ServiceState
from pgfleet.workers.reservation.access.noting import noted
from pgfleet.workers.reservation.gang.rows import rows_of_gang
from pgfleet.workers.reservation.tools import Turn, hand_out
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Done,
    Move,
    NeverError,
    NoPlaceError,
    NotNowError,
    Outcome,
    TryAgainError,
)

TOKEN_BYTES = 32
GONE: dict[str, Any] = {"jupyter_url": None, "jupyter_port": None, "jupyter_error": None, "jupyter_in": None}

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def wanted() -> dict[str, Any]:
    """What is written of a row that is to have Jupyter: a token that nobody had before."""
    return {"jupyter_enabled": True, "jupyter_token": secrets.token_urlsafe(TOKEN_BYTES)}


def switch(row: Row, message: EnableJupyter | DisableJupyter, turn: Turn) -> Outcome:
    """What a user asks: the row says so at once, its pod when it is looked at; that is now if it is active.

    Of a gang the first node has it, whichever is asked; that it was done is noted of all, as the same request may come
    by another.
    """
    on, rows = isinstance(message, EnableJupyter), rows_of_gang(row, turn.view)
    first = rows[0]
    if on and first.jupyter_enabled and first.jupyter_error is None:
        return Done("Jupyter is on already")
    if not on and not first.jupyter_enabled:
        return Done("Jupyter is off already")
    told = f"Jupyter {'on' if on else 'off'}{' on its first node' if first.is_multinode else ''}"
    # Switched on again after a failure, it is tried once more.
    new = {**wanted(), "jupyter_error": None, "jupyter_in": None} if on else {"jupyter_enabled": False}
    move = Move(first, None, values={**new, **noted(first, message, told, turn)})
    rest = Advance(tuple(Move(each, None, values=noted(each, message, told, turn)) for each in rows[1:]))
    return rest + (hand_out(move, turn.now) if first.status == Status.ACTIVE else Advance((move,)))


def kept(row: Row, pod: PodState, turn: Turn) -> dict[str, Any]:
    """What is to be written of the Jupyter of an active reservation, when it is as its row wants it.

    No trouble with it is raised: the reservation goes on.
    """
    try:
        return _on(row, pod, turn) if row.jupyter_enabled else _off(row, pod, turn)
    except (NoPlaceError, NotNowError) as error:
        return _failed(row, error.shown)
    except (NeverError, TryAgainError) as error:
        return _failed(row, str(error))


def _failed(row: Row, trouble: str) -> dict[str, Any]:
    return {"jupyter_error": trouble, "jupyter_in": None} if row.jupyter_enabled else {"jupyter_error": trouble}


def _on(row: Row, pod: PodState, turn: Turn) -> dict[str, Any]:
    if row.jupyter_token is None:
        # A row that another service has inserted: written first, used at the next look.
        return wanted()
    service = _service(row, pod, turn)
    place = f"{pod.uid}/{pod.restarts}"
    reached = {"jupyter_port": service.node_port, "jupyter_url": url_of(row.node_ip, service.node_port)}
    if row.jupyter_in == place:
        return {} if row.jupyter_error is not None else reached | _looked_at(row, pod, turn)
    turn.hold()
    started = jupyter.start(turn.tools.commands, pod.name, row.jupyter_token)
    if started.trouble is None:
        return {**reached, "jupyter_error": None, "jupyter_in": place, "jupyter_looked_at": turn.now}
    return {**GONE, "jupyter_error": started.trouble, "jupyter_in": None if started.again else place}


def _looked_at(row: Row, pod: PodState, turn: Turn) -> dict[str, Any]:
    """Now and then, whether the program still runs; its service goes on, for when it is switched on again."""
    seen_at = row.jupyter_looked_at
    if seen_at is not None and turn.now - seen_at < timedelta(seconds=turn.tools.settings.idle_poll_s):
        return {}
    turn.hold()
    ended = jupyter.ended(turn.tools.commands, pod.name, row.jupyter_token)
    looked = {"jupyter_looked_at": turn.now}
    if ended is None:
        return looked
    log.warning("reservation.jupyter_ended", reservation_id=row.reservation_id)
    told = f"{ended}; `pgfleet jupyter on {row.reservation_id}` starts it again"
    return {**looked, "jupyter_url": None, "jupyter_port": None, "jupyter_error": told}


def _service(row: Row, pod: PodState, turn: Turn) -> ServiceState:
    """The one that is there is taken if it is this pod's."""
    found = turn.tools.pods.service(jupyter_name(pod.name), seen_too=True)
    if found is None or found.owner_uid != pod.uid:
        turn.hold()
        found = turn.tools.pods.create_service(jupyter_service_body(row, pod.uid, turn.tools.settings.namespace))
    if found.node_port is None:
        raise TryAgainError(f"service {found.name} has no port yet")
    return found


def url_of(ip: str, port: int | None) -> str:
    """Without the token: addresses are shown, logged and kept in histories of browsers."""
    return f"http://[{ip}]:{port}/" if ":" in ip else f"http://{ip}:{port}/"


def _off(row: Row, pod: PodState, turn: Turn) -> dict[str, Any]:
    """The way in goes first: it is closed though the program may not be asked now."""
    if row.jupyter_token is None:
        return {}
    turn.hold()
    turn.tools.pods.delete_service(jupyter_name(pod.name))
    still = jupyter.stop(turn.tools.commands, pod.name)
    if still is not None:
        return {**GONE, "jupyter_error": f"off, but its program may still run in the pod: {still}"}
    return {**GONE, "jupyter_token": None}
