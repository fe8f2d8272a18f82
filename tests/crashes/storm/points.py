"""Where a process of the storm kills itself: around each effect, and at each stage of a claim and of a settlement."""

from collections.abc import Iterator

Point = tuple[str, str]
CLIENTS = "pgfleet.workers.clients"
KUBERNETES = f"{CLIENTS}.kubernetes"
RUNTIME = "pgfleet.workers.runtime"
ASKED = "pgfleet.producers.http.answering"

EFFECTS: dict[str, tuple[str, ...]] = {
    "reservation": (
        f"{CLIENTS}.ssh_keys:SshKeys.of",
        *(
            f"{KUBERNETES}.pods:Pods.{name}"
            for name in ("create", "create_keys", "create_service", "node", "delete_keys", "delete_service", "delete")
        ),
        *(
            f"{KUBERNETES}.home:Homes.{name}"
            for name in ("_made_volume", "_made_claim", "contents", "remove", "_delete")
        ),
        *(f"{KUBERNETES}.gangs.client:Gangs.{name}" for name in ("make", "_made_secret", "_let_in")),
        f"{KUBERNETES}.inside.jupyter:start",
        f"{KUBERNETES}.inside.jupyter:stop",
        "pgfleet.workers.reservation.access.users:add_keys",
    ),
    "disk": (
        *(
            f"{CLIENTS}.aws.ec2:Ec2.{name}"
            for name in ("create_volume", "volume", "snapshots_tagged", "create_snapshot", "copy_snapshot", "snapshot")
        ),
        f"{CLIENTS}.aws.ec2:Ec2.delete_volume",
        f"{CLIENTS}.aws.contents:Contents.put",
    ),
    "assignment": tuple(
        f"{CLIENTS}.hopsworks.client:Hopsworks.{name}"
        for name in ("find", "_create", "set_enabled", "set_max_projects")
    ),
    "heartbeat": ("pgfleet.schema.queue.kernel:delete", "pgfleet.workers.heartbeat.calls:take"),
    "event": (f"{CLIENTS}.webhooks.posting:Webhooks.post",),
    # Of a request: before its answer is kept, before the commit, and after it, when nobody has been answered.
    "api": (f"{ASKED}:kept", f"{ASKED}:Desk._answer"),
}
STEPPED: tuple[Point, ...] = (
    (f"{RUNTIME}.serve:work", "before"),
    (f"{RUNTIME}.work:begin", "after"),
    (f"{RUNTIME}.settle:_give_up_messages", "after"),
    (f"{RUNTIME}.settle:_change_rows", "after"),
    (f"{RUNTIME}.settle:_send", "after"),
    (f"{RUNTIME}.settle:_is_all_written", "after"),
    (f"{RUNTIME}.settle:_try", "after"),
)
SETTLED: dict[str, tuple[str, ...]] = {
    "reservation": (
        *(f"reservations={status}" for status in ("pending", "queued", "preparing", "active", "expired", "cancelled")),
        "reservations.reservation_ended",
        "reservations.jupyter_url",
        "disks=attached",
        "disks.release_asked_at",
    ),
    "disk": (
        "disk_operations=completed",
        *(f"disks={status}" for status in ("creating", "available")),
        "disks.ebs_volume_id",
        *(f"disk_snapshots={status}" for status in ("pending", "creating", "completed")),
    ),
    "assignment": tuple(
        f"user_hopsworks_assignments={status}" for status in ("creating_user", "active", "released", "suspended")
    ),
    "event": tuple(f"event_subscriptions={status}" for status in ("active", "failing", "off")),
}


def points_of(kind: str) -> list[Point]:
    return list(_points_of(kind))


def _points_of(kind: str) -> Iterator[Point]:
    if kind != "api":
        yield "pgfleet.schema.queue.claims:claim", "after"
    yield from ((place, when) for place in EFFECTS[kind] for when in ("before", "after"))
    if kind == "heartbeat":
        yield f"{RUNTIME}.bulk:_commit", "after"
    elif kind != "api":
        yield from STEPPED
    yield from ((f"settle {label}", when) for label in SETTLED.get(kind, ()) for when in ("during", "before", "after"))
