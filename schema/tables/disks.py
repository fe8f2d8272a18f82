"""Persistent disks, their snapshots, what is asked of them, and what nobody accounts for (003, 008, 017, 022)."""

from pgfleet.schema.tables.described import described

disks = described("public.disks", machine="disk", shows="detail")
disk_snapshots = described("public.disk_snapshots", machine="disk_snapshot", shows="failure_reason")
disk_operations = described("public.disk_operations", machine="disk_operation", shows="detail")
disk_quarantine = described("public.disk_quarantine")

# Triggers on snapshots and operations write into their disk's row, too: whoever settles locks it first.
for _table in (disks, disk_snapshots, disk_operations):
    _table.info["counts_into"] = (disks, "disk_id")
