"""For `pgfleet up`: a new sandbox has nothing at AWS; it is given the volumes and snapshots that the rows name."""

import sqlalchemy as sa

from pgfleet.console.sandbox.aws.handle import ZONE
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.tables.disks import disk_snapshots, disks
from pgfleet.workers.clients.aws.ec2 import ATTACHMENT, DISK, SNAPSHOT, USED

_d, _s = disks.c, disk_snapshots.c


def put_back_disks(conn: Connection, box: Box) -> None:
    """Make the completed snapshots and the volumes of an earlier sandbox again, under their ids."""
    snapshots = sa.select(_s.ebs_snapshot_id, _s.snapshot_id, _s.disk_id, _s.size_gb).where(
        _s.status.in_(["completed", "creating"]), _s.ebs_snapshot_id.is_not(None)
    )
    volumes = sa.select(
        _d.ebs_volume_id, _d.disk_id, _d.attachment, _d.volume_is_new, _d.size_gb, _d.ebs_availability_zone
    ).where(_d.ebs_volume_id.is_not(None))
    box.aws.populate(
        volumes=[
            {
                "id": row["ebs_volume_id"],
                "size_gb": row["size_gb"] or 1,
                "zone": row["ebs_availability_zone"] or ZONE,
                "tags": {
                    DISK: str(row["disk_id"]),
                    ATTACHMENT: str(row["attachment"]),
                    **({} if row["volume_is_new"] else {USED: "true"}),
                },
            }
            for row in fetch(conn, volumes)
        ],
        snapshots=[
            {
                "id": row["ebs_snapshot_id"],
                "size_gb": row["size_gb"] or 1,
                "tags": {DISK: str(row["disk_id"]), SNAPSHOT: str(row["snapshot_id"])},
            }
            for row in fetch(conn, snapshots)
        ],
    )
