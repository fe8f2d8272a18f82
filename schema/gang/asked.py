"""Whether what somebody asks for can be one reservation, or a gang, and of how many nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pgfleet.schema.gang.nodes import NODES_LIMIT
from pgfleet.schema.printable import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfleet.schema.reservation import CreateReservation

# A column holds 255 characters, and each node's name says which of the gang it is.
GANG_NAME_LIMIT = 255 - len(f" - node {NODES_LIMIT}/{NODES_LIMIT}")
# More than any instance has: two nodes of 8, where nobody says how many nodes.
TWO_NODES = 16


# What the validators of CreateReservation say, for who checks by the schema.
TOGETHER: dict[str, Any] = {
    "allOf": [
        {
            "if": {
                "anyOf": [
                    {"properties": {"total_nodes": {"type": "integer", "minimum": 2}}, "required": ["total_nodes"]},
                    {"properties": {"gpu_count": {"const": TWO_NODES}}},
                ]
            },
            "then": {"properties": {"name": {"maxLength": GANG_NAME_LIMIT}}},
        },
        {
            "if": {"properties": {"gpu_type": {"pattern": "^cpu-"}}},
            "then": {"properties": {"gpu_count": {"const": 0}, "idle_minutes": {"const": None}}},
            "else": {"properties": {"gpu_count": {"not": {"const": 0}}}},
        },
    ]
}


class Wanted(Protocol):
    """What is asked for, by a message or in a row."""

    @property
    def gpu_type(self) -> str: ...
    @property
    def gpu_count(self) -> int: ...
    @property
    def duration_hours(self) -> float: ...


def unfitting(message: CreateReservation) -> str | None:
    """Which of its fields don't go together, and why."""
    return wrong_count(message) or _long_name(message) or _never_idle(message)


def wrong_count(wanted: Wanted) -> str | None:
    if wanted.gpu_type.startswith("cpu-") and wanted.gpu_count != 0:
        return f"gpu_count: must be 0 for {wanted.gpu_type}; not {wanted.gpu_count}"
    if not wanted.gpu_type.startswith("cpu-") and wanted.gpu_count == 0:
        return f"gpu_count: must be 1, 2, 4, 8 or 16 for {wanted.gpu_type}; not 0"
    return None


def _long_name(message: CreateReservation) -> str | None:
    is_gang = message.nodes > 1 or message.gpu_count == TWO_NODES
    if is_gang and len(message.name or "") > GANG_NAME_LIMIT:
        return f"name: must not have more than {GANG_NAME_LIMIT} characters, as each node's says which it is"
    return None


def _never_idle(message: CreateReservation) -> str | None:
    if message.idle_minutes is not None and not message.gpu_count:
        return f"idle_minutes: {message.gpu_type} has no GPUs that could be idle; leave it out"
    return None


def spread(message: CreateReservation, gpu_type: Mapping[str, Any] | None) -> CreateReservation:
    """What is asked for, node by node: 16 GPUs without a number of nodes are two nodes of 8, where the type has 8."""
    if (
        message.gpu_count == TWO_NODES
        and message.total_nodes is None
        and gpu_type
        and most_of(gpu_type) == TWO_NODES // 2
    ):
        return message.model_copy(update={"gpu_count": TWO_NODES // 2, "total_nodes": 2})
    return message


# Fields of a message that are a column of the same name.
_COPIED = {
    *("reservation_id", "user_id", "github_user", "gpu_type", "gpu_count", "duration_hours", "name", "start_at"),
    *("disk_name", "jupyter_enabled", "idle_minutes"),
    *("dockerimage", "env_vars", "command", "preserve_entrypoint", "secondary_users"),
}


def row_of(message: CreateReservation) -> dict[str, Any]:
    """What a message itself says is in the row that it asks for; of a gang, in the first one (`nodes_of`)."""
    return {**message.model_dump(include=_COPIED), "cli_version": message.version}


def most_of(gpu_type: Mapping[str, Any]) -> int:
    most: int = gpu_type["max_per_node"] or gpu_type["max_gpus"]
    return most


def hint(gpus: int, most: int) -> str:
    """How so many GPUs can be had, where nodes of the most GPUs make them up."""
    nodes = gpus // most if most and gpus % most == 0 else 0
    asks = f"{nodes} nodes with {plural(most, 'GPU')} each: total_nodes {nodes}, gpu_count {most}"
    return f"; ask for {asks}" if 1 < nodes <= NODES_LIMIT else ""
