"""What the steps of assignments share: their clients, their tickets, and what people are told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from schema.assignment import Held
from schema.rows import Row
from schema.settings import Settings
from workers.assignment_view import View
from workers.clients import hopsworks, usage
from workers.runtime.kind import Occasion
from workers.runtime.outcomes import Move, Send

ADMIT = Send({"action": "admit"})


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


def ticket(user_id: str, number: int, at: datetime | None = None) -> Send:
    return Send({"action": "advance", "user_id": user_id, "ticket": number}, at)


def next_ticket(row: Row, at: datetime | None = None) -> Send:
    """The ticket that follows the row's present one; the move that sends it writes `ticket + 1`."""
    return ticket(row.user_id, row.ticket + 1, at)


def close_account(row: Row) -> tuple[Send, ...]:
    """For a row that leaves its cluster: what may be on the server is deactivated."""
    return () if row.hopsworks_cluster_id is None else (_close(row, row.hopsworks_cluster_id, row.hopsworks_user_id),)


def close_left_account(row: Row) -> tuple[Send, ...]:
    """The same, once more, for the cluster that a row was on before."""
    if row.left_cluster_id in (None, row.hopsworks_cluster_id):
        return ()
    return (_close(row, row.left_cluster_id, None),)


def _close(row: Row, cluster_id: UUID, account_id: int | None) -> Send:
    body = {"action": "close_account", "user_id": row.user_id, "cluster_id": str(cluster_id), "account_id": account_id}
    return Send(body)


def cluster_of(row: Row, view: View) -> Row:
    """The cluster that a row with a seat is on."""
    return view.clusters[str(row.hopsworks_cluster_id)]
