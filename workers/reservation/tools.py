"""What the steps of reservations share: their clients, their tickets, and the end of a row."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgfleet.schema.reservation import WAITING
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients import ssh_keys
from pgfleet.workers.clients.kubernetes import home
from pgfleet.workers.clients.kubernetes import pods as kubernetes
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime.outcomes import Send


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


def ticket(row_id: str, number: int, at: datetime | None = None) -> Send:
    return Send({"action": "advance", "reservation_id": row_id, "ticket": number}, at)


def next_ticket(row: Row, at: datetime | None = None) -> Send:
    """The ticket that follows the row's present one; the move that sends it writes `ticket + 1`."""
    return ticket(row.reservation_id, row.ticket + 1, at)


def end_of_line(row: Row, view: View) -> dict[str, Any]:
    """What a last move writes: the next ticket; and for a row that has nothing outside, its end."""
    nothing = row.status in WAITING and row.reservation_id not in view.held
    ended = {"reservation_ended": view.now} if nothing else {}
    return {"ticket": row.ticket + 1, **ended}
