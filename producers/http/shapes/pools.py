"""Pools and schedules, as the API shows them."""

from pgfleet.producers.http.shapes.nodes import PoolOfNode
from pgfleet.producers.http.shapes.shown import Shown


class Pool(PoolOfNode):
    """`switched_off`: an operator has, and so it stays whatever its node reports."""

    id: int
    node_id: int
    region: str
    switched_off: bool | None


class Schedule(Shown):
    """How many instances a node's pools shall have between two times of the day, UTC."""

    id: int
    node_id: int
    name: str
    start_time: str
    end_time: str
    target_instances: int
    is_active: bool | None
