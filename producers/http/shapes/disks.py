"""Disks, their snapshots and what was asked of them, as the API shows them."""

from datetime import date, datetime

from pgfleet.producers.http.shapes.shown import Shown


class Snapshot(Shown):
    snapshot_id: str
    kind: str | None
    status: str
    status_reason: str | None
    progress_percent: int | None
    size_gb: int | None
    created_at: datetime
    completed_at: datetime | None
    deleted_at: datetime | None
    failure_reason: str | None


class Operation(Shown):
    operation_id: str
    action: str
    user_id: str
    disk_name: str
    source_disk: str | None
    status: str
    status_reason: str | None
    status_since: datetime
    error: str | None
    detail: str | None
    created_at: datetime
    finished_at: datetime | None
    snapshot_id: str | None
    progress_percent: int | None


class Disk(Shown):
    disk_id: str
    disk_name: str
    user_id: str
    status: str
    status_reason: str | None
    status_since: datetime
    size_gb: int | None
    disk_size: str | None
    created_at: datetime
    last_used: datetime | None
    detail: str | None
    attach_error: str | None
    reservation_id: str | None
    reason_code: str | None
    snapshot_count: int
    pending_snapshot_count: int
    pending_percent: int | None
    last_snapshot_at: datetime | None
    delete_date: date | None
    next_snapshot_id: str | None


class DiskWhole(Disk):
    snapshots: list[Snapshot]
    operations: list[Operation]


class Stray(Shown):
    """What the cloud has and no row accounts for; `disk_name` and `user_id` where it says whose it was."""

    resource_id: str
    disk_id: str | None
    snapshot_id: str | None
    reason: str
    found_at: datetime
    gone_at: datetime | None
    disk_name: str | None
    user_id: str | None
    disk_status: str | None


class StrayPod(Shown):
    """A pod under our label that no row accounts for; its GPUs are taken off the free ones until it is gone."""

    pod_name: str
    namespace: str
    reservation_id: str | None
    gpu_type: str | None
    node_name: str | None
    gpus: int
    reason: str
    found_at: datetime
    gone_at: datetime | None
