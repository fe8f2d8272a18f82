"""`/v1/nodes`: nodes of the autoscaler, their keys, and the heartbeats of all nodes."""

from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

from pgfleet.producers.http.endpoint import (
    Answer,
    Audit,
    Call,
    Endpoint,
    NotFoundError,
    NotPermittedError,
    Shape,
    left_out,
)
from pgfleet.producers.http.paging import Listing, paged
from pgfleet.producers.http.sending import said
from pgfleet.producers.http.shapes.heartbeats import HeartbeatBody
from pgfleet.producers.http.shapes.nodes import HeartbeatReply, MadeNode, MadeNodeKey, Node, NodeWhole, Revoked
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.heartbeat import QUEUE, NodeStatus
from pgfleet.schema.messages import ONE_LINE, BadMessage, Name
from pgfleet.schema.nodes import keys, writes
from pgfleet.schema.reads import node as reads
from pgfleet.schema.reads.pages import node as pages
from pgfleet.schema.rows.row import Row

PATH = "/v1/nodes"
ONE = f"{PATH}/{{id}}"
READ, WRITE = "nodes.read", "nodes.write"


def _address(text: str) -> str:
    """As the database writes it; of an IPv6 address without a zone."""
    try:
        found = ip_address(text)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None
    if getattr(found, "scope_id", None) is not None or getattr(found, "ipv4_mapped", None) is not None:
        raise ValueError("must be an IPv4 or IPv6 address, without a zone and not one within the other")
    return str(found)


Region = Annotated[str, StringConstraints(min_length=1, max_length=100), ONE_LINE]
EITHER = {"type": "string", "maxLength": 45, "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
Address = Annotated[str, StringConstraints(max_length=45), AfterValidator(_address), WithJsonSchema(EITHER)]
Description = Annotated[str, StringConstraints(max_length=1000)]


class NodeFilter(Listing):
    """Which nodes. `name`: a part of it; `drift`: it runs what it should not; `deleted`: removed ones, too."""

    status: NodeStatus | None = None
    region: Region | None = None
    name: Name | None = None
    drift: bool = False
    deleted: bool = False

    @property
    def filters(self) -> reads.NodeFilters:
        return reads.NodeFilters(self.status, self.deleted, region=self.region, name=self.name, drift_only=self.drift)


class NewNode(Shape):
    name: Name
    region: Region
    ip_address: Address | None = None
    description: Description | None = None


class NodeChange(Shape):
    """What is not named stays; null empties `ip_address` and `description`."""

    name: Name = left_out()
    region: Region = left_out()
    ip_address: Address | None = left_out()
    description: Description | None = left_out()


def changes_in(call: Call) -> dict[str, Any]:
    """What a change names.

    Raises:
        BadMessage: it names nothing.
    """
    found = said(call.body)
    if not found:
        raise BadMessage("the body: names nothing to change")
    return found


def found(call: Call) -> Row:
    """The node that the path names by its number, be it one that was removed.

    Raises:
        NotFoundError: there is none.
    """
    return _read(call, call.number("id", "node"))


def _read(call: Call, number: int) -> Row:
    row = reads.by_number(call.conn, number)
    if row is None:
        raise NotFoundError(f"there is no node {number}")
    return row


def list_nodes(call: Call) -> Answer:
    asked = call.asked(NodeFilter)
    return paged(pages.listed(call.conn, asked.filters, asked.wanted))


def get_node(call: Call) -> Answer:
    return Answer(found(call))


def create_node(call: Call) -> Answer:
    number, key = keys.add_node(call.conn, said(call.body))
    row = _read(call, number)
    headers = {"Location": f"{PATH}/{number}"}
    return Answer({**row, "key": key}, headers=headers, about=str(number), name=row["name"])


def change_node(call: Call) -> Answer:
    number = call.number("id", "node")
    writes.change_node(call.conn, number, changes_in(call))
    row = found(call)
    return Answer(row, about=str(number), name=row["name"])


def remove_node(call: Call) -> Answer:
    row = found(call)
    if not keys.remove(call.conn, str(row["id"])):
        raise NotFoundError(f"there is no node {row['id']} any more")
    return Answer(status=204, about=str(row["id"]), name=row["name"])


def rotate_node_key(call: Call) -> Answer:
    node = call.path["id"]
    return Answer({"node_id": node, "key": keys.rotate(call.conn, node)}, about=node)


def revoke_node_keys(call: Call) -> Answer:
    node = call.path["id"]
    return Answer({"node_id": node, "revoked": keys.revoke(call.conn, node)}, about=node)


def send_heartbeat(call: Call) -> Answer:
    """What is wrong with it by itself is told at once; the rest comes with the answer of its batch."""
    node = call.principal.username
    if call.path["id"] != node:
        raise NotPermittedError(f"node {node} may send nothing but its own heartbeat")
    reply = call.batcher.submit(node, call.given(HeartbeatBody).root)
    return Answer(reply.result() if reply.done() else reply)


def _audit(done: str) -> Audit:
    return Audit(f"NODE_{done}", "NODE", "node")


ENDPOINTS = (
    Endpoint(
        "GET", PATH, "Nodes, the newest first, each with its pools", READ, list_nodes, Page[Node], asks=NodeFilter
    ),
    Endpoint(
        "POST",
        PATH,
        "Make a node and its key, which is shown this once",
        WRITE,
        create_node,
        MadeNode,
        NewNode,
        status=201,
        audit=_audit("CREATED"),
        lost="Give it another key (POST /v1/nodes/{id}/rotate-key).",
        example={"name": "autoscaler-1", "region": "eu-frankfurt-1"},
    ),
    Endpoint("GET", ONE, "One node, by its number", READ, get_node, NodeWhole, refuses=(404,)),
    Endpoint(
        "PATCH",
        ONE,
        "Change what is said of a node",
        WRITE,
        change_node,
        NodeWhole,
        NodeChange,
        audit=_audit("UPDATED"),
        refuses=(404,),
        example={"description": "by the door"},
    ),
    Endpoint(
        "DELETE",
        ONE,
        "Remove a node and its keys; its history stays",
        WRITE,
        remove_node,
        status=204,
        audit=_audit("DELETED"),
        refuses=(404,),
    ),
    Endpoint(
        "POST",
        f"{ONE}/rotate-key",
        "Give a node a new key, which is shown this once; those of before are valid for an hour. A node of a cluster, "
        "too, by its id",
        WRITE,
        rotate_node_key,
        MadeNodeKey,
        status=201,
        audit=_audit("KEY_ROTATED"),
        lost="Give it another key, with another Idempotency-Key; DELETE /v1/nodes/{id}/keys ends those of before.",
        refuses=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{ONE}/keys",
        "End all keys of a node now. Of a node of a cluster, too, by its id",
        WRITE,
        revoke_node_keys,
        Revoked,
        audit=_audit("KEYS_REVOKED"),
        refuses=(404,),
    ),
    Endpoint(
        "POST",
        f"{ONE}/heartbeat",
        "A node reports in, by its own key, and hears which configuration it should run",
        "nodes.heartbeat",
        send_heartbeat,
        HeartbeatReply,
        HeartbeatBody,
        queue=QUEUE,
        is_alone=True,
        example={"status": "ok", "metrics": {"cpu_percent": 12.5}},
    ),
)
