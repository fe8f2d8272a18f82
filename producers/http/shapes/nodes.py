"""Nodes and their configurations, as the API shows them: a key once, at its making, and texts to whoever runs them."""

from datetime import datetime

from pydantic import ConfigDict

from pgfleet.producers.http.shapes.shown import Json, Shown


class PoolOfNode(Shown):
    """`target_instances`: what a schedule asks for now."""

    oracle_pool_id: str
    name: str
    status: str | None
    is_active: bool
    current_instances: int | None
    active_instances: int | None
    target_instances: int | None
    min_instances: int | None
    max_instances: int | None
    last_reported_at: datetime | None


class Node(Shown):
    """`drift`: it runs another configuration than it should. `skew_s`: how far its clock is behind ours."""

    id: int
    name: str
    region: str
    status: str | None
    status_reason: str | None
    status_since: datetime | None
    error_message: str | None
    last_heartbeat: datetime | None
    seen_s: float | None
    skew_s: float | None
    clock_is_off: bool | None
    config_hash: str | None
    expected_config_hash: str | None
    drift: bool
    deleted_at: datetime | None
    pools: list[PoolOfNode]


class NodeWhole(Node):
    """With what operators say of it."""

    ip_address: str | None
    description: str | None
    created_at: datetime | None


class MadeNode(NodeWhole):
    """`key` is shown this once, and kept nowhere."""

    key: str


class MadeNodeKey(Shown):
    """`key` is shown this once, and kept nowhere; those of before are valid for an hour."""

    node_id: str
    key: str


class Revoked(Shown):
    """How many keys were valid until now."""

    node_id: str
    revoked: int


class HeartbeatReply(Shown):
    """As document 002's upstream replies; `new_config` is there where the node should run another configuration."""

    model_config = ConfigDict(from_attributes=True)

    status: str
    config_update_needed: bool
    current_config_hash: str | None
    new_config: str | None


class Configuration(Shown):
    """Without its text. `is_active`: the node should run it; `is_running`: the node says that it does."""

    id: int
    config_hash: str
    is_active: bool
    is_running: bool
    bytes: int
    scaling_limits: Json | None
    created_at: datetime | None
    activated_at: datetime | None
    activated_by: str | None


class ConfigurationText(Shown):
    """`config_hash`: the SHA-256 of the text."""

    node_id: int
    config_hash: str
    yaml: str


class KeptConfiguration(Shown):
    """The active one now; `changed` unless it was already."""

    id: int
    config_hash: str
    changed: bool
