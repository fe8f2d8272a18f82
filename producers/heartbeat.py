"""Heartbeats: one at a time, or as many as a gateway has gathered. Each is checked, then sent.

With a connection they join the caller's transaction; without one they use DATABASE_URL and commit by themselves.
Whoever is neither a worker nor sends with the node's own login needs the node's key: it makes the proof.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Required, TypedDict, Unpack

from psycopg.types.json import Jsonb

from pgfleet.producers.sending import at_the_door, check, put
from pgfleet.schema.database.sessions import connect
from pgfleet.schema.heartbeat import QUEUE, SOURCES, Heartbeat
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.nodes.proofs import hash_of, proof_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import read_settings

SEND_MANY = "select pgmq.send_batch(%s, %s::jsonb[])"


class Pool(TypedDict, total=False):
    """An instance pool as its node sees it: the fields of `PoolReport`."""

    oracle_pool_id: Required[str]
    current_instances: Required[int]
    active_instances: Required[int]
    avg_cpu_utilization: Required[float]
    avg_memory_utilization: Required[float]
    max_cpu_utilization: float | None
    max_memory_utilization: float | None
    pool_status: Literal["healthy", "warning", "error"]
    is_active: bool
    scaling_event: str | None
    scaling_reason: str | None


class HeartbeatFields(TypedDict, total=False):
    """What a node may say of itself: the fields of `AutoscalerHeartbeat`, or of `ClusterHeartbeat`."""

    id: str
    node_id: Required[int | str]
    sent_at: str
    status: Required[str]
    error_message: str | None
    config_hash: str | None
    metrics: dict[str, Any] | None
    reply_to: str | bool | None
    proof: str | None
    pools: Sequence[Pool]
    cpu_usage_percent: float | None
    memory_usage_percent: float | None
    disk_usage_percent: float | None
    load_average: float | None
    network: dict[str, float]


def heartbeat(
    conn: Connection | None = None,
    *,
    source: str = "autoscaler",
    key: str | None = None,
    **fields: Unpack[HeartbeatFields],
) -> str:
    """Report for a node; the heartbeat's id. Without an `id` or `sent_at`, a new one and now; with its `key`, a proof.

    Raises:
        BadMessage: a field is missing or out of range; nothing was sent.
    """
    if source not in SOURCES:
        raise BadMessage(f"source: {source!r} is not known; known are {', '.join(SOURCES)}")
    fields.setdefault("id", str(uuid.uuid4()))
    fields.setdefault("sent_at", datetime.now(UTC).isoformat())
    message = proven(check(SOURCES[source], {"source": source, **fields}), key)
    if conn is not None:
        put(conn, QUEUE, message)
    else:
        with connect(read_settings().dsn(), autocommit=True) as own:
            put(own, QUEUE, message)
    return str(message.id)


def proven(message: Heartbeat, key: str | None) -> Heartbeat:
    """The heartbeat with a proof made from its node's key; as it is where there is none."""
    if key is None:
        return message
    return message.model_copy(update={"proof": proof_of(hash_of(key), message.model_dump(mode="json"))})


def heartbeats(conn: Connection, messages: Sequence[Heartbeat]) -> None:
    """Send many that were checked already, in one statement.

    A proof is of what its node wrote, letter by letter: who passes on heartbeats with proofs sends their bodies unread.
    """
    bodies = [Jsonb(message.model_dump(mode="json", exclude_none=True)) for message in messages]
    with at_the_door():
        conn.execute(SEND_MANY, (QUEUE, bodies))
