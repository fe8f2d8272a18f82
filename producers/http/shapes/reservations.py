"""Reservations, GPU types and lines, as the API shows them."""

from datetime import datetime

from pgfleet.producers.http.shapes.shown import Move, Shown


class Place(Shown):
    """Where it stands, while it waits."""

    reason_code: str | None = None
    position: int | None = None
    ahead: int | None = None
    eta: datetime | None = None
    eta_is_promised: bool | None = None


class Reservation(Place):
    reservation_id: str
    user_id: str
    name: str | None
    status: str
    status_reason: str | None
    status_since: datetime
    gpu_type: str | None
    gpu_count: int | None
    gpus_held: int | None
    duration_hours: float | None
    created_at: datetime
    start_at: datetime | None
    launched_at: datetime | None
    expires_at: datetime | None
    reservation_ended: datetime | None
    current_detailed_status: str | None
    failure_reason: str | None
    warning: str | None
    ssh_command: str | None
    fqdn: str | None
    pod_name: str | None
    node_index: int | None
    total_nodes: int | None
    master_reservation_id: str | None
    retried_from: str | None
    disk_name: str | None
    disk_size_gb: int | None
    secondary_users: list[str] | None
    jupyter_enabled: bool | None
    jupyter_url: str | None
    jupyter_error: str | None
    idle_minutes: int | None
    exit_code: int | None
    exit_reason: str | None
    waits_for: str | None


class Timeline(Shown):
    """What happened to a reservation, and what comes next, in one order."""

    reservation: Reservation
    past: list[Move]
    coming: list[Move]
    paused: str | None
    gang: list[Reservation]


class Logs(Shown):
    """What the pod wrote: of one that has ended what is kept, of one that runs the next chunk.

    `text` is null where nothing is kept, or nothing has come yet. `cursor` is for what follows; null where nothing
    does, and `ended` says why. Whoever does not ask again within a minute begins anew.
    """

    reservation_id: str
    status: str
    text: str | None
    cursor: str | None
    has_more: bool
    ended: str | None


class DryRun(Shown):
    """Whether it would start now, and if not why and when."""

    starts_now: bool
    reason_code: str | None
    reason: str
    ahead: int
    eta: datetime | None
    would_hold: bool | None
    next_times: list[datetime]


class GpuType(Shown):
    gpu_type: str
    is_active: bool | None
    total_cluster_gpus: int | None
    held_gpus: int
    free_gpus: int
    waiting: int
    next_free_at: datetime | None
    max_gpus: int | None
    max_per_node: int | None
    max_reservable: int | None
    full_nodes_available: int | None
    running_instances: int | None
    desired_capacity: int | None
    last_availability_update: datetime | None


class LinePlace(Shown):
    """Somebody in line: how much they want, not who they are. `is_mine` where it is the principal's own."""

    position: int
    gpus: int
    nodes: int
    reason_code: str | None
    eta: datetime | None
    eta_is_promised: bool
    is_mine: bool
    reservation_id: str | None


class Line(Shown):
    gpu_type: str
    free_gpus: int
    total_cluster_gpus: int
    waiting: int
    booked: int
    next_free_at: datetime | None
    front: list[LinePlace]
