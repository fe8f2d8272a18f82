"""What the steps of reservations share: their clients, their tickets, and what a last move writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from pgfleet.schema.environment.fleet import pod_name
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reservation import TICKETS, WAITING, Status
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients import ssh_keys
from pgfleet.workers.clients.kubernetes import home, rights
from pgfleet.workers.clients.kubernetes import pods as kubernetes
from pgfleet.workers.clients.kubernetes.exec import Commands
from pgfleet.workers.clients.kubernetes.gangs.client import Gangs
from pgfleet.workers.clients.kubernetes.inside.pod import Inside
from pgfleet.workers.clients.kubernetes.sweep.belongings import Belongings
from pgfleet.workers.clients.kubernetes.template.reading import Template, read_template
from pgfleet.workers.clients.verdicts import KUBERNETES
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime import kind, tickets
from pgfleet.workers.runtime.outcomes import Calls, Move, NotNowError, Outcome
from pgfleet.workers.runtime.outside.breakers import Breakers, Use

SQL = named(__package__)


@dataclass(frozen=True, slots=True)
class Tools:
    settings: Settings
    pods: kubernetes.Pods
    homes: home.Homes
    inside: Inside
    belongings: Belongings
    gangs: Gangs
    template: Template
    ssh_keys: ssh_keys.SshKeys
    commands: Commands


@contextmanager
def connected(settings: Settings, breakers: Breakers | None) -> Iterator[Tools]:
    """The clients of one process, for as long as it works.

    Raises:
        FleetError: the pod template can't be used, or there is no cluster to work with.
    """
    template = read_template(settings)
    with kubernetes.connected(settings, template, breakers) as pods, ssh_keys.connected(settings, breakers) as keys:
        place = (pods.api, pods.namespace, pods.timeout_s)
        commands = Commands(*place)
        fleet = settings.fleet
        yield Tools(
            settings,
            pods,
            home.Homes(*place, fleet=fleet, tolerations=pods.tolerations),
            Inside(commands),
            Belongings(*place, fleet),
            Gangs(*place, fleet),
            template,
            keys,
            commands,
        )


def probe(tools: Tools, use: Use[Any], dependency: str, calls: Calls) -> None:
    """Ask about nobody; raises NotNowError where that is not answered."""
    if dependency == KUBERNETES:
        tools.pods.probe(calls)
        return
    tools.ssh_keys.remember(use(lambda conn: _users(conn, SQL["users_found"], {"keys": None})))
    tools.ssh_keys.probe(use(lambda conn: _users(conn, SQL["users_waiting"])))


def _users(conn: Connection, statement: bytes, given: dict[str, Any] | None = None) -> list[str]:
    return [row[0] for row in conn.execute(statement, given)]


def lacking(tools: Tools) -> list[str | NotNowError]:
    """What no reservation can be worked on without: rights at a cluster that answers, and an address for SSH keys.

    A cluster that has never answered this worker may be one that a wrong address or token leads to. Keys are for new
    reservations only.
    """
    # Through the client that no breaker stops: nobody's messages wait for these answers yet.
    api, pods = tools.pods.probe.api, tools.pods
    return [*rights.lacking(api, pods.namespace, pods.timeout_s), *tools.ssh_keys.lacking()]


Turn: TypeAlias = kind.Turn[View, Tools]
ticket = partial(tickets.ticket, TICKETS)
hand_out = partial(tickets.hand_out, TICKETS)


def pod_of(row: Row, turn: Turn) -> str:
    """The name of its pod: that in its row, which an older version may have chosen; else the one it would have."""
    return row.pod_name or pod_name(row.reservation_id, turn.tools.settings.fleet)


def ended(row: Row, view: View) -> dict[str, Any]:
    """What a last move writes of a row that has nothing outside: that it is over."""
    nothing = row.status in WAITING and row.reservation_id not in view.held
    return {"reservation_ended": view.now} if nothing else {}


def freed(row: Row) -> dict[str, Any]:
    """What is written of an ended row when nothing of it is left in the cluster."""
    return {"gpus_held": 0, "held_by": None, "held_since": None, **looked_at(row)}


def looked_at(row: Row) -> dict[str, Any]:
    """What is shown of an ended row again when it could not be looked at before."""
    return {"current_detailed_status": row.status.capitalize()}


def changed(row: Row, values: dict[str, Any]) -> tuple[Move, ...]:
    """A change of those columns that have another value by now; none where all are as they should be."""
    new = {name: value for name, value in values.items() if row[name] != value}
    return (Move(row, None, values=new),) if new else ()


def failed(row: Row, view: View, reason: str, **known: Any) -> Outcome:
    """The end by us, with whatever else is known of it."""
    values = {
        **known,
        "failed_at": view.now,
        "failure_reason": reason,
        "current_detailed_status": "Failed",
        **ended(row, view),
    }
    return hand_out(Move(row, Status.FAILED, reason, values))
