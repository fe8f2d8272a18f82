"""All that the steps of assignment messages look at, loaded in one round trip."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from pgfleet.schema.assignment import (
    BILLING,
    Admit,
    Assign,
    CloseAccount,
    Drain,
    DrainPage,
    Reactivate,
    Request,
    Suspend,
    SweepAccounts,
    SweepSeats,
    Ticket,
)
from pgfleet.schema.messages import Message, Sweep
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, rows_in
from pgfleet.schema.rows.whole import join_by_hash
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.hopsworks import (
    accounts_to_close,
    health_check_failures,
    hopsworks_clusters,
    hopsworks_users,
    user_hopsworks_assignments,
)
from pgfleet.workers.assignment.billing import view as billing
from pgfleet.workers.assignment.billing.view import BillingView

# How many rows one look at the line may seat, or one sweep may find; more are seen by the next look.
LINE_LIMIT = 100
REPAIR_LIMIT = 500
PAGE = 100

SQL = named(__package__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another user with the same mailbox, on a cluster."""

    user_id: str
    cluster_id: str
    status: str
    account_id: int | None


@dataclass(frozen=True, slots=True)
class View:
    """The rows as they are at `now`. Rows and users by user, clusters by their id as text.

    Attributes:
        rows: assignments of the users asked about, and of their owners.
        line: assignments that may find a seat, oldest first.
        open_failures: what is wrong at present, by (cluster, check, user or '').
        members: for each owner asked about, the team members that have an assignment.
        neighbours: for each user asked about, those with the same mailbox that are on a cluster.
        turns: (user, ticket, cluster) of rows that get a turn, by the action of the sweep.
        closings: accounts that users have left on clusters, closed by now or not, by (user, cluster).
        holders: whose an account is, by (cluster, number): on clusters where one is made or closed.
        unclosed: (user, cluster) of those that nobody is about to close.
        split: members that are on another cluster than their owner.
        admit_is_due: whether somebody is about to look at the line, who has not begun.
        drains: the numbers of the messages that drain a cluster.
        counted: how many seats of each cluster are counted as taken, and how many assignments it has, at one moment
            after the clusters were read.
        pages: the next users of a cluster that is drained, in order.
        billing: what billing looks at, where it was asked.
    """

    now: datetime
    rows: dict[str, Row]
    users: dict[str, Row]
    clusters: dict[str, Row]
    line: list[Row] = field(default_factory=list)
    open_failures: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)
    neighbours: dict[str, list[Neighbour]] = field(default_factory=dict)
    turns: dict[str, list[tuple[str, int, UUID | None]]] = field(default_factory=dict)
    closings: dict[tuple[str, str], Row] = field(default_factory=dict)
    holders: dict[tuple[str, int], str] = field(default_factory=dict)
    unclosed: list[tuple[str, str]] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    admit_is_due: bool = False
    drains: dict[str, list[int]] = field(default_factory=dict)
    counted: dict[str, tuple[int | None, int]] = field(default_factory=dict)
    pages: dict[Drain | DrainPage, list[str]] = field(default_factory=dict)
    billing: BillingView | None = None


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> View:
    """The view of some messages: their users with their owners, every cluster, and what sweeps among them need."""
    line = _line(conn, settings) if _some(messages, Admit) else []
    pages = {message: _page(conn, message) for message in messages if isinstance(message, (Drain, DrainPage))}
    asked_about = {message.user_id for message in messages if isinstance(message, Request)}
    users = sorted(asked_about.union((row.user_id for row in line), *pages.values()))
    asked = [message for message in messages if isinstance(message, BILLING)]
    with conn.pipeline():
        if _some(messages, Sweep, SweepAccounts, SweepSeats):
            join_by_hash(conn)
        now = conn.execute(SQL["now"])
        rows, people = (conn.execute(text, {"users": users}) for text in (SQL["assignments"], SQL["users"]))
        clusters = conn.execute(SQL["clusters"])
        failures, neighbours = (conn.execute(text, {"users": users}) for text in (SQL["failures"], SQL["neighbours"]))
        members = conn.execute(SQL["members"], {"users": users}) if _some(messages, Admit, Suspend, Reactivate) else ()
        leaves = _some(messages, Ticket, CloseAccount)
        closings = conn.execute(SQL["closings"], {"users": users}) if leaves else None
        holders = conn.execute(SQL["holders"], _made_or_closed(messages)) if leaves else ()
        drains = conn.execute(SQL["drains"], {"clusters": [message.cluster_id for message in pages]}) if pages else ()
        admit_is_due = conn.execute(SQL["admit_is_due"]) if _some(messages, Assign) else ()
        turns = dict(_ask_turns(conn, messages, settings))
        unclosed = conn.execute(SQL["unclosed"], {"most": REPAIR_LIMIT}) if _some(messages, Sweep) else ()
        split = conn.execute(SQL["split"], {"most": REPAIR_LIMIT}) if _some(messages, Sweep) else ()
        # Only after the clusters: a seat taken in between makes the cluster's version old, and so the count.
        counted = conn.execute(SQL["counted"]) if _some(messages, SweepSeats) else None
    return View(
        now=now.fetchall()[0][0],
        rows={row.user_id: row for row in rows_in(user_hopsworks_assignments, rows)},
        users={row.id: row for row in rows_in(hopsworks_users, people)},
        clusters={str(row.id): row for row in rows_in(hopsworks_clusters, clusters)},
        line=line,
        open_failures={_place(row): row for row in rows_in(health_check_failures, failures)},
        members=_grouped((row[0], row[1]) for row in members),
        neighbours=_grouped((user_id, Neighbour(*other)) for user_id, *other in neighbours),
        turns={asker: [(row[0], row[1], row[2]) for row in cursor] for asker, cursor in turns.items()},
        closings=_closings(closings) if closings is not None else {},
        holders={(row[0], row[1]): row[2] for row in holders},
        unclosed=[(row[0], row[1]) for row in unclosed],
        split=[row[0] for row in split],
        admit_is_due=any(row[0] for row in admit_is_due),
        drains=_grouped((row[0], row[1]) for row in drains),
        counted={row[0]: (row[1], row[2]) for row in counted or ()},
        pages=pages,
        billing=billing.load(conn, asked, settings) if asked else None,
    )


def _made_or_closed(messages: Sequence[Message]) -> dict[str, list[str]]:
    """Whose account may be made, and on which clusters one may be closed."""
    return {
        "users": [message.user_id for message in messages if isinstance(message, Ticket)],
        "clusters": [message.cluster_id for message in messages if isinstance(message, CloseAccount)],
    }


def _some(messages: Sequence[Message], *types: type[Message]) -> bool:
    return any(isinstance(message, types) for message in messages)


def _line(conn: Connection, settings: Settings) -> list[Row]:
    asked = {"most": LINE_LIMIT + 1, "overflow": settings.members_overflow}
    return list(rows_in(user_hopsworks_assignments, conn.execute(SQL["line"], asked)))


def _ask_turns(conn: Connection, messages: Sequence[Message], settings: Settings) -> Iterator[tuple[str, Cursor]]:
    """By the action of the sweep that asks."""
    if _some(messages, Sweep):
        yield "sweep", conn.execute(SQL["untended"], {"most": REPAIR_LIMIT})
    if _some(messages, SweepAccounts):
        every = timedelta(seconds=settings.account_check_s)
        yield "sweep_accounts", conn.execute(SQL["due"], {"check_every": every, "most": REPAIR_LIMIT})


def _page(conn: Connection, message: Drain | DrainPage) -> list[str]:
    after = message.after if isinstance(message, DrainPage) else ""
    asked = {"cluster": message.cluster_id, "after": after, "most": PAGE}
    return [row[0] for row in conn.execute(SQL["page"], asked)]


def _closings(cursor: Cursor) -> dict[tuple[str, str], Row]:
    return {(row.user_id, str(row.hopsworks_cluster_id)): row for row in rows_in(accounts_to_close, cursor)}


def _place(failure: Row) -> tuple[str, str, str]:
    return str(failure.hopsworks_cluster_id), failure.check_name, failure.user_id or ""


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    grouped: dict[str, list[T]] = {}
    for first, second in pairs:
        grouped.setdefault(first, []).append(second)
    return grouped
