"""A heartbeat as a node sends it over HTTP: the published message without what its key says already."""

from typing import Any

from pydantic import AwareDatetime, GetJsonSchemaHandler, RootModel, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pgfleet.schema.heartbeat import AutoscalerHeartbeat, ClusterHeartbeat, HeartbeatId, NodeNumber
from pgfleet.schema.messages import Name


class HeartbeatOfNode(AutoscalerHeartbeat):
    """An autoscaler's node reports in. Whose it is, its key says; without an id or a time it has new ones."""

    node_id: NodeNumber | None = None  # type: ignore[assignment]  # filled in before it is sent
    id: HeartbeatId | None = None  # type: ignore[assignment]  # same
    sent_at: AwareDatetime | None = None  # type: ignore[assignment]  # same


class HeartbeatOfClusterNode(ClusterHeartbeat):
    """A node of a cluster reports in. Whose it is, its key says; without an id or a time it has new ones."""

    node_id: Name | None = None  # type: ignore[assignment]  # filled in before it is sent
    id: HeartbeatId | None = None  # type: ignore[assignment]  # same
    sent_at: AwareDatetime | None = None  # type: ignore[assignment]  # same


_EITHER: TypeAdapter[Any] = TypeAdapter(HeartbeatOfNode | HeartbeatOfClusterNode)


class HeartbeatBody(RootModel[dict[str, Any]]):
    """Read by the gateway, which knows the node and so which of the two it has to be."""

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(_EITHER.core_schema)
