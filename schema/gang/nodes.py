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


def nodes_of(values: Mapping[str, Any], total_nodes: int) -> list[dict[str, Any]]:
    """The rows of a reservation, of what its first one has: the disk and Jupyter are that one's alone."""
    if total_nodes == 1:
        return [{**values, "total_nodes": 1}]
    ids = gang_ids(values["reservation_id"], total_nodes)
    return [
        {
            **values,
            **({} if index == 0 else {"disk_name": None, "jupyter_enabled": False, "jupyter_token": None}),
            "reservation_id": node_id,
            "name": node_name(values["name"], index, total_nodes),
            "is_multinode": True,
            "master_reservation_id": ids[0],
            "node_index": index,
            "total_nodes": total_nodes,
        }
        for index, node_id in enumerate(ids)
    ]


def gang_name(row: Mapping[str, Any]) -> str | None:
    """What a gang was called, by the name of one of its rows."""
    name: str = row["name"] or ""
    return name.removesuffix(node_name(None, row["node_index"], row["total_nodes"])).removesuffix(" - ") or None
