"""The demo's disk: two reservations use it one after the other, and nothing of it is left at AWS but its snapshots."""

from collections.abc import Iterator

import sqlalchemy as sa

from pgfleet.console.demo.story import DISK
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.disk import Status
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.tables.disks import disk_snapshots, disks

_d, _s = disks.c, disk_snapshots.c
USES = 2
# What a snapshot takes in the demo.
SNAPSHOT_S = 1.5


def wrong_disk(conn: Connection, box: Box) -> Iterator[str]:
    """What is not as it should be in the end."""
    found = fetch(conn, sa.select(_d.disk_id, _d.status, _d.snapshot_count).where(_d.disk_name == DISK))
    if [(disk["status"], disk["snapshot_count"]) for disk in found] != [(Status.AVAILABLE, USES)]:
        yield f"its rows: {found}"
        return
    state = box.aws.state()
    kept = fetch(conn, sa.select(_s.ebs_snapshot_id, _s.content_s3).where(_s.disk_id == found[0]["disk_id"]))
    if state["volumes"]:
        yield f"volumes at AWS: {', '.join(state['volumes'])}"
    if {snapshot["ebs_snapshot_id"] for snapshot in kept} != set(state["snapshots"]):
        yield f"snapshots at AWS: {', '.join(state['snapshots'])}"
    for snapshot in kept:
        if (snapshot["content_s3"] or "").removeprefix("s3://") not in state["objects"]:
            yield f"no listing of {snapshot['ebs_snapshot_id']}"
