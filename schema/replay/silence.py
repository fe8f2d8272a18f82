"""Silent nodes that a sweep holds back, because most are silent at once, are believed gone when a person says so."""

from datetime import timedelta

import sqlalchemy as sa

from pgfleet.schema.nodes.heard import proven_in_queue
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import fetch, sign
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings


def believe(conn: Connection, machine: str, settings: Settings, who: str) -> Row:
    """Sweep over the nodes of a `node` or `cluster_node` (145) as a worker does; who is silent is gone.

    Returns:
        What the sweep saw: `alive`, `silent`, `marked`, and `held_back`, where no person can know better: heartbeats
        wait, or nobody looked.
    """
    proven = sa.literal(proven_in_queue(conn), sa.ARRAY(sa.Text))
    sweeps = {
        "node": sa.func.autoscaler.sweep_offline(
            timedelta(seconds=settings.node_offline_s), settings.mass_outage_share, who, proven
        ),
        "cluster_node": sa.func.clusters.sweep_offline(
            settings.cluster_offline_intervals, settings.mass_outage_share, False, who, proven
        ),
    }
    columns = ("alive", "silent", "marked", "held_back")
    seen = sweeps[machine].table_valued(*columns)
    with conn.transaction():
        sign(conn, who, f"believed gone by {who}")
        (row,) = fetch(conn, sa.select(*(seen.c[name] for name in columns)))
    return row
