"""Sets the totals of the GPU types to what a sandbox's nodes have, so that an admitted reservation finds a node."""

from collections.abc import Sequence

import sqlalchemy as sa

from pgfleet.console.sandbox.kubernetes.nodes import parse_group
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.tables.gpu_types import gpu_types

_g = gpu_types.c


def set_capacity(conn: Connection, nodes: Sequence[str]) -> None:
    """Total GPUs by type, from node groups such as `h100:2x8`; types without nodes have none."""
    totals = {group.gpu_type: group.count * group.gpus for group in map(parse_group, nodes)}
    total = sa.case(totals, value=_g.gpu_type, else_=0)
    changed = _g.total_cluster_gpus.is_distinct_from(total)
    fetch(conn, sa.update(gpu_types).where(changed).values(total_cluster_gpus=total))
