"""What the steps of reservations share: their clients, their tickets, and what a last move writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from pgfleet.schema.reservation import TICKETS, WAITING
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients import ssh_keys
from pgfleet.workers.clients.kubernetes import home
from pgfleet.workers.clients.kubernetes import pods as kubernetes
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime import kind, tickets


@dataclass(frozen=True, slots=True)
class Tools:
    settings: Settings
    pods: kubernetes.Pods
    homes: home.Homes
    ssh_keys: ssh_keys.SshKeys


@contextmanager
def connected(settings: Settings) -> Iterator[Tools]:
    """The clients of one process, for as long as it works."""
    with kubernetes.connected(settings) as pods, ssh_keys.connected(settings) as keys:
        yield Tools(settings, pods, home.Homes(pods.api, pods.namespace, pods.timeout_s), keys)


Turn: TypeAlias = kind.Turn[View, Tools]
ticket = partial(tickets.ticket, TICKETS)
hand_out = partial(tickets.hand_out, TICKETS)


def ended(row: Row, view: View) -> dict[str, Any]:
    """What a last move writes of a row that has nothing outside: that it is over."""
    nothing = row.status in WAITING and row.reservation_id not in view.held
    return {"reservation_ended": view.now} if nothing else {}
