"""What the steps of assignments share: their clients, their tickets, and why rows wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from pgfleet.schema.assignment import TICKETS, Held
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.assignment.billing.view import BillingView
from pgfleet.workers.assignment.view import View
from pgfleet.workers.clients.hopsworks import client as hopsworks
from pgfleet.workers.clients.kubernetes import usage
from pgfleet.workers.runtime import kind, tickets
from pgfleet.workers.runtime.outcomes import Advance, Move, Send
from pgfleet.workers.runtime.outside.breakers import Breakers

ADMIT = Send({"action": "admit"})


@dataclass(frozen=True, slots=True)
class Tools:
    settings: Settings
    hopsworks: hopsworks.Hopsworks
    usage: usage.Usage


@contextmanager
def connected(settings: Settings, breakers: Breakers | None) -> Iterator[Tools]:
    """The clients of one process, for as long as it works."""
    with hopsworks.connected(settings, breakers) as server, usage.connected(settings) as meter:
        yield Tools(settings, server, meter)


Turn: TypeAlias = kind.Turn[View, Tools]
BillingTurn: TypeAlias = kind.Turn[BillingView, Tools]


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a row can't go on now."""

    code: Held
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


def ticket(user_id: str, number: int, cluster_id: UUID | None = None, at: datetime | None = None) -> Send:
    """A row's turn; with the cluster on which its account is to be made, if it is."""
    return tickets.ticket(TICKETS, user_id, number, at, **_on(cluster_id))


def hand_out(move: Move, cluster_id: UUID | None = None, at: datetime | None = None) -> Advance:
    """A change of a row, with its next ticket: for the cluster that it goes to, or is on."""
    return tickets.hand_out(TICKETS, move, at, **_on(cluster_id or move.row.hopsworks_cluster_id))


def _on(cluster_id: UUID | None) -> dict[str, str]:
    return {} if cluster_id is None else {"cluster_id": str(cluster_id)}


def close_account(user_id: str, cluster_id: str) -> Send:
    """As the database sends it when a row leaves a cluster (130)."""
    return Send({"action": "close_account", "user_id": user_id, "cluster_id": cluster_id})


def follow_message(user_id: str) -> Send:
    return Send({"action": "follow", "user_id": user_id})


def cluster_of(row: Row, view: View) -> Row:
    """The cluster that a row with a seat is on."""
    return view.clusters[str(row.hopsworks_cluster_id)]


def is_late(turn: Turn, asked_at: datetime | None) -> bool:
    """Whether a message was sent before what was last asked for."""
    return asked_at is not None and turn.sent_at < asked_at
