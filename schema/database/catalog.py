"""What a database must hold for the program to work on it: SQL files, functions and queues."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

FUNCTIONS = (
    "autoscaler.answer_drift",
    "autoscaler.apply_schedules",
    "autoscaler.audit",
    "autoscaler.audit_write",
    "autoscaler.log_lifecycle",
    "autoscaler.measured_at",
    "autoscaler.roll_up",
    "autoscaler.sweep_offline",
    "autoscaler.take_heartbeats",
    "autoscaler.take_pools",
    "autoscaler.tell_drift",
    "autoscaler.tells_error",
    "autoscaler.unit_of",
    "clusters.add_cluster_node",
    "clusters.assess",
    "clusters.cluster_of",
    "clusters.create_cluster",
    "clusters.decommission_cluster",
    "clusters.get_cluster_events",
    "clusters.get_cluster_health_summary",
    "clusters.get_cluster_info",
    "clusters.guard_leaders",
    "clusters.lock_cluster",
    "clusters.log_event",
    "clusters.node_health",
    "clusters.note_operator",
    "clusters.note_read",
    "clusters.promote_to_primary",
    "clusters.random_word",
    "clusters.recommendations",
    "clusters.record_cluster_metrics",
    "clusters.score",
    "clusters.silence_of",
    "clusters.status_of",
    "clusters.sweep_offline",
    "clusters.take_heartbeats",
    "clusters.update_node_status",
    "hopsworks.add_usage_hours",
    "hopsworks.ask_to_close",
    "hopsworks.count_seats",
    "hopsworks.decrement_cluster_users",
    "hopsworks.guard_seats",
    "hopsworks.increment_cluster_users",
    "hopsworks.keep_assignment",
    "hopsworks.leave_cluster",
    "hopsworks.make_breaker",
    "hopsworks.move_on",
    "hopsworks.projects_allowed",
    "hopsworks.seat_candidates",
    "hopsworks.sync_username",
    "hopsworks.tell_line",
    "hopsworks.use_of_day",
    "pgmq.create",
    "pgmq.send",
    "public.count_gpus",
    "public.count_heartbeats",
    "public.count_snapshots",
    "public.create_fleet_roles",
    "public.create_queue",
    "public.day_partition",
    "public.fleet_now",
    "public.fleet_queues",
    "public.grant_fleet_roles",
    "public.guard_disk_owner",
    "public.guard_disk_volume",
    "public.guard_gpus",
    "public.guard_machine",
    "public.guard_machine_by_row",
    "public.heartbeat_lag",
    "public.in_words",
    "public.is_secret",
    "public.keep_days",
    "public.keep_house",
    "public.log_move",
    "public.log_moves",
    "public.make_day_partition",
    "public.may_see",
    "public.move_actor",
    "public.move_reason",
    "public.names_in_reservations",
    "public.nodes_in_queue",
    "public.note_reservation_move",
    "public.note_status_since",
    "public.note_sweep",
    "public.prune_rows",
    "public.refuse_move",
    "public.refuse_value",
    "public.request_user",
    "public.ring",
    "public.ring_on_send",
    "public.switch_row_level_security",
    "public.tell_disk_of_operation",
    "public.tell_who_waits",
    "public.tell_who_waits_for_disk",
    "public.too_many",
    "public.touch_last_updated",
    "public.touch_updated_at",
    "public.users_of_reservations",
    "public.why_hold_back",
)

QUEUES = ("gpu_reservations", "disk_operations", "cluster_assignments", "node_heartbeats")

# In the order in which they are applied.
_FOLDERS = ("schema", "fixtures")


@dataclass(frozen=True)
class SqlFile:
    """One numbered file; `version` is its folder and name: `schema/001_users_and_keys`."""

    version: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def is_fixture(self) -> bool:
        return self.version.startswith("fixtures/")


def is_ours(version: str) -> bool:
    """Whether a recorded migration is one of this program's; its table may be shared with others."""
    return version.startswith(tuple(f"{folder}/" for folder in _FOLDERS))


def sql_files() -> list[SqlFile]:
    """Every SQL file of the program, schema first, in the order of their names."""
    return [file for folder in _FOLDERS for file in sorted(_read(folder), key=lambda file: file.version)]


def _read(folder: str) -> Iterator[SqlFile]:
    for path in files(f"pgfleet.{folder}").iterdir():
        if path.name.endswith(".sql"):
            # The same file checked out on Windows is the same file.
            text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
            yield SqlFile(f"{folder}/{path.name.removesuffix('.sql')}", text)
