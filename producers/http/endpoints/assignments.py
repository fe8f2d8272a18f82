"""`/v1/assignments` and `/v1/hopsworks-clusters`: who is where, and what administrators ask about them."""

from dataclasses import replace
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError, Shape, Waiting
from pgfleet.producers.http.paging import Listing, paged
from pgfleet.producers.http.sending import Asks, accepted, asked, said
from pgfleet.producers.http.shapes.assignments import (
    Assignment,
    AssignmentWhole,
    HopsworksCluster,
    HopsworksClusterWhole,
)
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.assignment import MACHINE, QUEUE, Assign, Drain, Reactivate, Release, Request, Suspend
from pgfleet.schema.errors import Refusal
from pgfleet.schema.messages import Name, Uuid
from pgfleet.schema.reads import assignment as reads
from pgfleet.schema.reads import hopsworks as clusters
from pgfleet.schema.reads.about import action_of, history
from pgfleet.schema.reads.pages import assignment as pages
from pgfleet.schema.rows.row import Row

PATH = "/v1/assignments"
ONE = f"{PATH}/{{user_id}}"
READ, WRITE = "assignments.read", "assignments.write"
CLUSTERS = "/v1/hopsworks-clusters"
ONE_CLUSTER = f"{CLUSTERS}/{{id}}"
CLUSTERS_READ, CLUSTERS_WRITE = "hopsworks-clusters.read", "hopsworks-clusters.write"
MOST_FAILURES = 200


class AssignmentFilter(Listing):
    """`waiting`: those who wait for a seat or an account."""

    status: Annotated[Name, Field(json_schema_extra={"enum": [*reads.ORDER, reads.NONE]})] | None = None
    cluster_id: Uuid | None = None
    user_id: Name | None = None
    waiting: bool = False


class NewAssignment(Shape):
    """Without a cluster it is the least loaded one, of a team member the owner's."""

    user_id: Name
    cluster_id: Uuid | None = None


class Leaving(Shape):
    reason: Name


class Nothing(Shape):
    """A body that says nothing."""


def whose_users(call: Call, given: str | None) -> list[str] | None:
    """Which users of Hopsworks may be seen: one's own, of those the one that is named; None is everybody."""
    if call.owner is None:
        return None if given is None else [given]
    return [user for user in reads.own_users(call.conn) if given in (None, user)]


def found(call: Call) -> Row:
    """The user that the path names.

    Raises:
        NotFoundError: there is none that the principal may see.
    """
    user_id = call.path["user_id"]
    users = whose_users(call, user_id)
    row = reads.user(call.conn, user_id) if users else None
    if row is None:
        raise NotFoundError(f"there is no user {user_id[:60]} of Hopsworks")
    return row


def list_assignments(call: Call) -> Answer:
    wanted = call.asked(AssignmentFilter)
    status = None if wanted.status is None else reads.read_status(wanted.status)
    filters = reads.UserFilters(wanted.cluster_id, status, wanted.waiting)
    return paged(pages.listed(call.conn, filters, whose_users(call, wanted.user_id), wanted.wanted))


def get_assignment(call: Call) -> Answer:
    row = found(call)
    moves = history(call.conn, MACHINE, [row["assignment_id"]] if row["assignment_id"] else [])
    waiting = reads.requests(call.conn, row["user_id"])
    body = {
        **row,
        "history": [{"at": move["at"], "what": move["to_status"], "why": move["reason"]} for move in moves],
        "requests": [{"action": action_of(message), "due_at": message["vt"]} for message in waiting],
        "open_failures": reads.failures(call.conn, row["user_id"]),
    }
    return Answer(body, about=row["assignment_id"])


def assign_user(call: Call) -> Answer:
    body = call.given(NewAssignment)
    if reads.user(call.conn, body.user_id) is None:
        raise NotFoundError(f"there is no user {body.user_id[:60]} of Hopsworks")
    asked(call, QUEUE, Assign, {"assigned_by": "admin", **said(body)})
    return _accepted(body.user_id)


def release_user(call: Call) -> Answer:
    return _ask(call, Release)


def suspend_user(call: Call) -> Answer:
    return _ask(call, Suspend)


def reactivate_user(call: Call) -> Answer:
    return _ask(call, Reactivate)


def _ask(call: Call, model: type[Request]) -> Answer:
    row = found(call)
    asked(call, QUEUE, model, {**said(call.body), "user_id": row["user_id"]})
    return _accepted(row["user_id"], row["email"])


def _accepted(user_id: str, name: str | None = None) -> Answer:
    return accepted(user_id, f"{PATH}/{quote(user_id, safe='')}", name)


class Draining(Shape):
    """`move`: its users go elsewhere, as far as there is room."""

    move: bool = True


def cluster_found(call: Call) -> Row:
    """The cluster that the path names, by its id or its name, or the beginning of one that no other has.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return clusters.resolve(call.conn, call.path["id"])
    except Refusal as error:
        raise NotFoundError(f"there is no Hopsworks cluster {call.path['id'][:60]}") from error


def list_hopsworks_clusters(call: Call) -> Answer:
    return Answer({"items": clusters.listing(call.conn)})


def get_hopsworks_cluster(call: Call) -> Answer:
    return Answer(_whole(call, cluster_found(call)))


def _whole(call: Call, row: Row) -> Row:
    more = {
        "waiting": clusters.waiting(call.conn).get(row["id"], {}),
        "open_failures": clusters.failures(call.conn, row["id"], MOST_FAILURES),
        "free_elsewhere": clusters.free_elsewhere(call.conn, row["id"]),
    }
    return Row({**row, **more})


def drain_hopsworks_cluster(call: Call) -> Answer:
    row = cluster_found(call)
    call.conn.execute("select hopsworks.close_to_users(%s)", (row["id"],))
    if call.given(Draining).move:
        asked(call, QUEUE, Drain, {"cluster_id": row["id"]})
    return accepted(row["id"], f"{CLUSTERS}/{row['id']}", row["name"])


def open_hopsworks_cluster(call: Call) -> Answer:
    row = cluster_found(call)
    call.conn.execute("select hopsworks.open_to_users(%s)", (row["id"],))
    seen = cluster_found(replace(call, path={"id": row["id"]}))
    return Answer(_whole(call, seen), about=row["id"], name=row["name"])


_asks = Asks(WRITE, QUEUE, "assignment", "USER")
_asks_cluster = Asks(CLUSTERS_WRITE, QUEUE, "hopsworks_cluster", "SYSTEM")
ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        "Users that have a place on a Hopsworks cluster, or had one",
        READ,
        list_assignments,
        Page[Assignment],
        asks=AssignmentFilter,
    ),
    _asks(
        "POST",
        PATH,
        "Give a user a seat and an account",
        "ASKED",
        assign_user,
        NewAssignment,
        {"user_id": "auth0|5f7c8ec7c33c6c004bbafe82"},
    ),
    Endpoint(
        "GET",
        ONE,
        "One user, and what happened to their assignment",
        READ,
        get_assignment,
        AssignmentWhole,
        asks=Waiting,
        refuses=(404,),
        machine=MACHINE,
    ),
    _asks(
        "POST",
        f"{ONE}/release",
        "Take seat and account back; the account is deactivated, not deleted",
        "RELEASED",
        release_user,
        Leaving,
        {"reason": "has left the company"},
    ),
    _asks(
        "POST",
        f"{ONE}/suspend",
        "Keep a user, and the team of an owner, from logging in",
        "SUSPENDED",
        suspend_user,
        Nothing,
    ),
    _asks(
        "POST",
        f"{ONE}/reactivate",
        "Let a user in again, and the team with an owner",
        "REACTIVATED",
        reactivate_user,
        Nothing,
    ),
    Endpoint(
        "GET",
        CLUSTERS,
        "Hopsworks clusters by name: load, health, who waits",
        CLUSTERS_READ,
        list_hopsworks_clusters,
        Page[HopsworksCluster],
    ),
    Endpoint(
        "GET",
        ONE_CLUSTER,
        "One of them, with what is wrong with it",
        CLUSTERS_READ,
        get_hopsworks_cluster,
        HopsworksClusterWhole,
        refuses=(404,),
    ),
    _asks_cluster(
        "POST",
        f"{ONE_CLUSTER}/drain",
        "Close it to new users; its users go elsewhere, as far as there is room",
        "DRAINED",
        drain_hopsworks_cluster,
        Draining,
        {"move": True},
    ),
    Endpoint(
        "POST",
        f"{ONE_CLUSTER}/open",
        "Let it take new users again; whoever was asked to leave and has not left stays",
        CLUSTERS_WRITE,
        open_hopsworks_cluster,
        HopsworksClusterWhole,
        audit=Audit("HOPSWORKS_CLUSTER_OPENED", "SYSTEM", "hopsworks_cluster"),
        refuses=(404,),
    ),
)
