"""Heartbeats: the states of nodes and clusters, and the messages of the queue `node_heartbeats`.

The moves between the states are in `019_heartbeat_machine.sql`, the statements that make them in the
files from `142_node_heartbeats.sql` to `145_offline_sweeps.sql`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from pgfleet.schema.asking import Role, Whose
from pgfleet.schema.messages import BadMessage, Message, Name, Sweep, matching, read_message, read_time

QUEUE = "node_heartbeats"
# By these a body that is refused still says what it is about.
IDS = ("node_id", "id")
METRICS_LIMIT = 65_536
METRIC_NAME_LIMIT = 100
METRICS_COUNT_LIMIT = 1000
DEPTH_LIMIT = 20
# Whatever a node measures is less; and people can add up billions of such numbers.
MOST = 1e30
NAMES_LIMIT = 255


class NodeStatus(StrEnum):
    """Who moves an autoscaler node on from each state."""

    INACTIVE = "INACTIVE"  # its first heartbeat
    ACTIVE = "ACTIVE"  # an error that it reports, or its silence
    ERROR = "ERROR"  # a heartbeat without an error, or its silence
    OFFLINE = "OFFLINE"  # its next heartbeat


class ClusterNodeStatus(StrEnum):
    """Who moves a cluster's node on from each state."""

    PROVISIONING = "provisioning"  # its first heartbeat
    ONLINE = "online"  # an error that it reports, or its silence
    OFFLINE = "offline"  # its next heartbeat
    MAINTENANCE = "maintenance"  # an operator
    ERROR = "error"  # a heartbeat without an error, or its silence
    DECOMMISSIONING = "decommissioning"  # nobody


class ClusterStatus(StrEnum):
    """Who moves a cluster on from each state."""

    INITIALIZING = "initializing"  # its first node online
    ACTIVE = "active"  # its health
    DEGRADED = "degraded"  # its health
    MAINTENANCE = "maintenance"  # its health, or the operator who set it
    OFFLINE = "offline"  # its health
    DECOMMISSIONING = "decommissioning"  # nobody


# json.dumps would make one for each message.
_AS_JSON = json.JSONEncoder(allow_nan=False)


def _utc(moment: datetime) -> datetime:
    """In UTC: not every offset that Python takes is one to the database."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999") from None


def _uuid(value: object) -> object:
    try:
        return UUID(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a UUID") from None


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11 else value


def _small(metrics: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(_AS_JSON.encode(metrics))
    except (ValueError, RecursionError):
        raise ValueError("must not hold NaN or Infinity, nor be nested without end") from None
    if size > METRICS_LIMIT:
        raise ValueError(f"must not be larger than {METRICS_LIMIT // 1024} KiB; it has {size // 1024}")
    if len(metrics) > METRICS_COUNT_LIMIT:
        raise ValueError(f"must have at most {METRICS_COUNT_LIMIT} entries; it has {len(metrics)}")
    for name, value in metrics.items():
        if len(name) > METRIC_NAME_LIMIT:
            raise ValueError(f"names must have at most {METRIC_NAME_LIMIT} characters")
        if isinstance(value, (dict, list)) and _deeper(value, DEPTH_LIMIT):
            raise ValueError(f"{name} must not be nested deeper than {DEPTH_LIMIT} levels")
        if _has_too_large(value):
            raise ValueError(f"{name} is too large a number")
    return metrics


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _deeper(value: Any, levels: int) -> bool:
    return levels < 0 or any(_deeper(part, levels - 1) for part in _parts(value))


def _has_too_large(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return abs(value) > MOST
    return any(map(_has_too_large, _parts(value)))


def _as_a_wish(given: Any) -> str | bool | None:
    """Text that is short stays as it is; of anything else it counts only that it is there."""
    return given if given is None or (isinstance(given, str) and len(given) <= NAMES_LIMIT) else True


def _distinct(pools: tuple["PoolReport", ...]) -> tuple["PoolReport", ...]:
    if len({pool.oracle_pool_id for pool in pools}) < len(pools):
        raise ValueError("must not hold the same pool twice")
    return pools


HeartbeatId = Annotated[UUID, BeforeValidator(_uuid)]
NodeNumber = Annotated[int, BeforeValidator(_number), Field(ge=1, le=2_147_483_647)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Metrics = Annotated[dict[str, Any], AfterValidator(_small)]
Load = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Figure = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
FigureName = Annotated[str, StringConstraints(max_length=METRIC_NAME_LIMIT)]
# Any value asks for an answer; where it goes is not the sender's to say.
AnswerMe = Annotated[Any, AfterValidator(_as_a_wish)]
PROOF = r"^[0-9a-f]{64}$"
Proof = Annotated[
    str,
    matching(PROOF, "must be an HMAC-SHA256 in hex, of 64 lower-case digits"),
    Field(json_schema_extra={"pattern": PROOF}),
]
Status = Annotated[str, StringConstraints(min_length=1, max_length=50)]
Text = Annotated[str, StringConstraints(max_length=10_000)]


class PoolReport(Message):
    """An instance pool as its node sees it."""

    oracle_pool_id: Name
    current_instances: Count
    active_instances: Count
    avg_cpu_utilization: Percent
    avg_memory_utilization: Percent
    max_cpu_utilization: Percent | None = None
    max_memory_utilization: Percent | None = None
    pool_status: Literal["healthy", "warning", "error"] = "healthy"
    is_active: bool = True
    scaling_event: Annotated[str, StringConstraints(max_length=100)] | None = None
    scaling_reason: Text | None = None


class _Heartbeat(Message):
    """A node reports in. The same `id` twice is counted once.

    With `reply_to`, whatever its value, the node is answered in its own queue where it should run another
    configuration. `proof` is what a sender needs that is neither a worker nor the node's own login: HMAC-SHA256 in hex
    of `<source>.<node_id>.<id>.<sent_at>`, as the message has them, with the hex SHA-256 of the node's key for a key.
    """

    action: Literal["heartbeat"] = "heartbeat"
    id: HeartbeatId
    sent_at: Annotated[AwareDatetime, BeforeValidator(read_time), AfterValidator(_utc)]
    status: Status
    error_message: Text | None = None
    config_hash: Annotated[str, StringConstraints(max_length=64)] | None = None
    metrics: Metrics | None = None
    reply_to: AnswerMe = None
    proof: Proof | None = None


class AutoscalerHeartbeat(_Heartbeat):
    """An autoscaler's node reports in, with its pools. The same `id` twice is counted once."""

    source: Literal["autoscaler"] = "autoscaler"
    node_id: NodeNumber
    pools: Annotated[tuple[PoolReport, ...], Field(max_length=1000, strict=False), AfterValidator(_distinct)] = ()


class ClusterHeartbeat(_Heartbeat):
    """A node of a cluster reports in. Fields called `network_...` are kept with its metrics."""

    model_config = ConfigDict(
        json_schema_extra={"patternProperties": {"^network_": {"type": "number", "minimum": 0, "maximum": MOST}}}
    )

    source: Literal["cluster"] = "cluster"
    node_id: Name
    cpu_usage_percent: Percent | None = None
    memory_usage_percent: Percent | None = None
    disk_usage_percent: Percent | None = None
    load_average: Load | None = None
    network: dict[FigureName, Figure] = Field(default_factory=dict, max_length=100)

    @model_validator(mode="before")
    @classmethod
    def _gather_network(cls, given: Any) -> Any:
        figures = {name: value for name, value in given.items() if name.startswith("network_")}
        if not figures:
            return given
        others = {name: value for name, value in given.items() if name not in figures}
        before = others.get("network", {})
        if not isinstance(before, dict):
            raise ValueError("network must be an object")  # noqa: TRY004  # pydantic's way to refuse
        return {**others, "network": {**before, **figures}}


class RollUp(Message):
    """Write the minute's analytics and what schedules ask for; sent by the clock."""

    action: Literal["roll_up"]


# A node speaks for itself, and whoever else brings a heartbeat brings the proof of its node with it.
WHOSE = "node_id"
MAY = dict.fromkeys(Role, Whose.PROVEN) | {Role.NODE: Whose.OWN}

Heartbeat = AutoscalerHeartbeat | ClusterHeartbeat
HeartbeatMessage = Heartbeat | Sweep | RollUp

SOURCES: Mapping[str, type[AutoscalerHeartbeat] | type[ClusterHeartbeat]] = {
    "autoscaler": AutoscalerHeartbeat,
    "cluster": ClusterHeartbeat,
}
CLOCK: Mapping[str, type[Message]] = {"sweep": Sweep, "roll_up": RollUp}
# What others may send: the clock's own messages are left out.
REQUESTS: Mapping[str, type[Message]] = {f"heartbeat of {source}": model for source, model in SOURCES.items()}
_ACTIONS: Mapping[str, Mapping[str, type[Message]]] = {
    source: {"heartbeat": model, **CLOCK} for source, model in SOURCES.items()
}


def read(body: Any) -> HeartbeatMessage:
    """The message that a body is.

    Raises:
        BadMessage: with a reason that a person understands.
    """
    actions = _ACTIONS["autoscaler"]
    if isinstance(body, dict) and body.get("action") == "heartbeat":
        source = body.get("source")
        if not isinstance(source, str) or source not in SOURCES:
            raise BadMessage(f"source: {str(source)[:60]!r} is not known; known are {', '.join(SOURCES)}")
        actions = _ACTIONS[source]
    message: HeartbeatMessage = read_message(body, actions)  # type: ignore[assignment]
    return message


# Of one model each: where it may be of several, each heartbeat is tried as each of them.
_TEXTS: Mapping[str, TypeAdapter[Any]] = {source: TypeAdapter(list[model]) for source, model in SOURCES.items()}  # type: ignore[valid-type]


def text_of(source: str, heartbeats: Sequence[Heartbeat]) -> str:
    """Heartbeats of one source as the JSON array that `take_heartbeats` takes."""
    return _TEXTS[source].dump_json(heartbeats).decode()
