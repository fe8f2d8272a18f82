"""`/v1/nodes/{id}/configurations`: what a node should run, what it should have run before; a node sees its own."""

import hashlib
from typing import Annotated

from pydantic import Field, StringConstraints

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError, Shape
from pgfleet.producers.http.shapes.nodes import Configuration, ConfigurationText, KeptConfiguration
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.nodes import configurations
from pgfleet.schema.reads import node as reads
from pgfleet.schema.reads.pages.keyset import MOST, USUAL

PATH = "/v1/nodes/{id}/configurations"
ACTIVE, ONE = f"{PATH}/active", f"{PATH}/{{configuration}}"
READ, WRITE = "configurations.read", "configurations.write"
BIGGEST = 2**63 - 1


class Before(Shape):
    """Which page."""

    limit: Annotated[int, Field(ge=1, le=MOST)] = USUAL
    cursor: Annotated[int, Field(ge=1, le=BIGGEST)] | None = None


class NewConfiguration(Shape):
    """Checked as YAML, and hashed as it is, letter by letter."""

    yaml: Annotated[str, StringConstraints(max_length=262_144)]


def _node(call: Call) -> int:
    """The node that the path names; a node names none but itself."""
    call.must_see(call.path["id"], f"node {call.path['id'][:40]}")
    return call.number("id", "node")


def list_configurations(call: Call) -> Answer:
    node, asked = _node(call), call.asked(Before)
    rows = configurations.listing(call.conn, node, before=asked.cursor, most=asked.limit + 1)
    if not rows and reads.by_number(call.conn, node) is None:
        raise NotFoundError(f"there is no node {node}")
    shown = rows[: asked.limit]
    return Answer({"items": shown, "next": str(shown[-1]["id"]) if len(rows) > asked.limit else None})


def add_configuration(call: Call) -> Answer:
    node = _node(call)
    try:
        given = configurations.read(call.given(NewConfiguration).yaml)
    except configurations.BadConfiguration as error:
        raise BadMessage(f"yaml: {str(error).removeprefix('yaml_config: ')}") from None
    kept = configurations.add(call.conn, node, given)
    headers = {"Location": f"/v1/nodes/{node}/configurations/{kept.id}"}
    body = {"id": kept.id, "config_hash": kept.hash, "changed": kept.changed}
    return Answer(body, headers=headers, about=str(kept.id), name=kept.hash)


def get_active_configuration(call: Call) -> Answer:
    node = _node(call)
    return _text(call, node, None, f"node {node} has no active configuration")


def get_configuration(call: Call) -> Answer:
    node = _node(call)
    wanted = call.number("configuration", "configuration", BIGGEST)
    return _text(call, node, wanted, f"node {node} has no configuration {wanted}")


def _text(call: Call, node: int, wanted: int | None, missing: str) -> Answer:
    text = configurations.text_of(call.conn, node, wanted)
    if text is None:
        raise NotFoundError(missing)
    return Answer({"node_id": node, "config_hash": hashlib.sha256(text.encode()).hexdigest(), "yaml": text})


def activate_configuration(call: Call) -> Answer:
    node = _node(call)
    wanted = call.number("configuration", "configuration", BIGGEST)
    config_hash = configurations.activate(call.conn, node, wanted)
    return Answer({"id": wanted, "config_hash": config_hash, "changed": True}, about=str(wanted), name=config_hash)


def _audit(done: str) -> Audit:
    return Audit(f"NODE_CONFIGURATION_{done}", "CONFIG", "node_configuration")


ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        "A node's configurations, the newest first, without their text",
        READ,
        list_configurations,
        Page[Configuration],
        asks=Before,
        refuses=(404,),
    ),
    Endpoint(
        "POST",
        PATH,
        "Give a node a new configuration, which is the active one from then on",
        WRITE,
        add_configuration,
        KeptConfiguration,
        NewConfiguration,
        status=201,
        audit=_audit("CREATED"),
        refuses=(404,),
        example={"yaml": "pools:\n- instance_pool_id: ocid1.instancepool.1\n  scaling_limits: {min: 1, max: 10}\n"},
    ),
    # Before the one that takes any word there.
    Endpoint(
        "GET",
        ACTIVE,
        "The configuration that a node should run; a node asks for its own",
        READ,
        get_active_configuration,
        ConfigurationText,
        refuses=(404,),
    ),
    Endpoint("GET", ONE, "The text of one", READ, get_configuration, ConfigurationText, refuses=(404,)),
    Endpoint(
        "POST",
        f"{ONE}/activate",
        "Make one that the node had before the active one again",
        WRITE,
        activate_configuration,
        KeptConfiguration,
        audit=_audit("ACTIVATED"),
        refuses=(404,),
    ),
)
