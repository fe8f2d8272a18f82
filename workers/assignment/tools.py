"""What the steps of assignments share: their clients, their tickets, and what people are told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pgfleet.schema.assignment import Held
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.assignment.view import View
from pgfleet.workers.clients.hopsworks import client as hopsworks
from pgfleet.workers.clients.kubernetes import usage
from pgfleet.workers.runtime.kind import Occasion
from pgfleet.workers.runtime.outcomes import Move, Send

ADMIT = Send({"action": "admit"})
AHEAD_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Tools:
    settings: Settings
    hopsworks: hopsworks.Hopsworks
    usage: usage.Usage


@contextmanager
def connected(settings: Settings) -> Iterator[Tools]:
    """The clients of one process, for as long as it works."""
    with hopsworks.connected(settings) as server, usage.connected(settings) as meter:
        yield Tools(settings, server, meter)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a row's turn has at hand."""

    view: View
    tools: Tools
    occasion: Occasion

    def later(self, seconds: float) -> datetime:
        return self.view.now + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a row can't go on now."""

    code: Held
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


def told(row: Row, detail: str, values: Mapping[str, Any] | None = None) -> tuple[Move, ...]:
    """Show it in the row, unless it says so already."""
    if not values and row.detail == detail:
        return ()
    return (Move(row, None, values={**(values or {}), "detail": detail}),)


def ticket(user_id: str, number: int, at: datetime | None = None, cluster_id: UUID | None = None) -> Send:
    """A row's turn; with the cluster on which its account is to be made, if it is."""
    body = {"action": "advance", "user_id": user_id, "ticket": number}
    return Send(body if cluster_id is None else {**body, "cluster_id": str(cluster_id)}, at)


def next_ticket(row: Row, cluster_id: UUID | None = None) -> Send:
    """The ticket that follows the row's present one; the move that sends it writes `ticket + 1`."""
    return ticket(row.user_id, row.ticket + 1, cluster_id=cluster_id or row.hopsworks_cluster_id)


def close_account(user_id: str, cluster_id: str, account_id: int | None = None) -> Send:
    """As the database sends it when a row leaves a cluster (025)."""
    body = {"action": "close_account", "user_id": user_id, "cluster_id": cluster_id, "account_id": account_id}
    return Send(body)


def urgent(turn: Turn, body: dict[str, Any]) -> Send:
    """To be looked at before all that waits: messages are taken in the order of the time that they are due."""
    return Send(body, turn.later(-AHEAD_S))


def cluster_of(row: Row, view: View) -> Row:
    """The cluster that a row with a seat is on."""
    return view.clusters[str(row.hopsworks_cluster_id)]
