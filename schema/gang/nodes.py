"""The nodes of a gang: how many there may be, their ids and their names."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

# A gang is a reservation of so many nodes at most.
NODES_LIMIT = 4


def gang_ids(reservation_id: str, total_nodes: int) -> list[str]:
    """The ids of a gang's rows, node by node: the first is that of its message."""
    return [reservation_id, *(str(uuid5(UUID(reservation_id), str(index))) for index in range(1, total_nodes))]


def node_name(name: str | None, index: int, total_nodes: int) -> str:
    """How the row of one node of a gang is called."""
    return f"{f'{name} - ' if name else ''}node {index + 1}/{total_nodes}"


def gang_name(row: Mapping[str, Any]) -> str | None:
    """What a gang was called, by the name of one of its rows."""
    name: str = row["name"] or ""
    return name.removesuffix(node_name(None, row["node_index"], row["total_nodes"])).removesuffix(" - ") or None
