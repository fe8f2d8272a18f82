"""moto's EC2 with what moto leaves out of volumes and snapshots, and with switches that hold, fail and hide them.

Importing it imports moto, which takes seconds: do so in a function.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_block_store import Snapshot, Volume, VolumeAttachment
from moto.ec2.utils import random_snapshot_id, random_volume_id

# What AWS writes as the volume of a snapshot that was copied.
NO_VOLUME = "vol-ffffffff"


class TimedSnapshot(Snapshot):
    """A snapshot whose state and progress are set by a switch, or grow with time until `due_at`."""

    percent = 100
    state_message = ""
    completion_time: datetime | None = None
    begun_at = 0.0
    due_at: float | None = None

    @property
    def progress(self) -> str:
        return f"{self.percent}%"

    def look(self, now: float) -> None:
        """Bring state and progress to what they are at this time."""
        if self.status != "pending" or self.due_at is None:
            return
        if now >= self.due_at:
            self.complete()
        else:
            self.percent = int(100 * (now - self.begun_at) / (self.due_at - self.begun_at))

    def complete(self) -> None:
        self.status, self.percent, self.completion_time = "completed", 100, _utc_now()

    def fail(self, message: str) -> None:
        self.status, self.state_message = "error", message


@dataclass(slots=True)
class Habits:
    """What the switches have set: for what is made from now on, and for some things that are there."""

    snapshot_s: float = 0.0
    ahead: timedelta = timedelta(0)
    held_percent: int | None = None
    hold_volumes: bool = False
    being_made: set[str] = field(default_factory=set)
    undeletable: set[str] = field(default_factory=set)
    blind_until: float = 0.0
    unseen: set[str] = field(default_factory=set)

    @property
    def blind(self) -> bool:
        return time.monotonic() < self.blind_until

    def note_made(self, resource_id: str) -> None:
        if self.blind:
            self.unseen.add(resource_id)

    def look(self) -> set[str]:
        """The ids that a search at this time does not see yet."""
        if not self.blind:
            self.unseen.clear()
        return self.unseen


class Ebs(EC2Backend):
    def __init__(self, region_name: str, snapshot_s: float) -> None:
        self._snapshot_s = snapshot_s
        self.habits = Habits(snapshot_s)
        self.by_tag: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        super().__init__(region_name, DEFAULT_ACCOUNT_ID)

    def empty(self) -> None:
        for kept in (self.volumes, self.snapshots, self.tags, self.by_tag):
            kept.clear()
        self.habits = Habits(self._snapshot_s)

    def create_tags(self, resource_ids: list[str], tags: dict[str, str]) -> bool:
        done = super().create_tags(resource_ids, tags)
        for tag in tags.items():
            self.by_tag[tag].update(dict.fromkeys(resource_ids))
        return done

    def describe_tags(self, filters: dict[str, list[str]] | None = None) -> list[dict[str, str]]:
        """Looks up the tags of one resource, where moto would go through the tags of all."""
        match filters:
            case {"resource-id": [str(resource_id)], **others} if not others:
                return [{"key": key, "value": value} for key, value in self.tags.get(resource_id, {}).items()]
        return super().describe_tags(filters)

    def create_volume(
        self, size: int, zone_name: str, snapshot_id: str | None = None, *more: Any, **named: Any
    ) -> Volume:
        if self.get_zone_by_name(zone_name) is None:
            raise EC2ClientError("InvalidZone.NotFound", f"The zone '{zone_name}' does not exist.")
        if snapshot_id:
            source = self.completed(snapshot_id)
            if size and int(size) < source.volume_size:
                raise EC2ClientError("InvalidParameterValue", f"Snapshot is larger than the volume: {size} GiB")
        volume = super().create_volume(size, zone_name, snapshot_id, *more, **named)
        volume.size = int(volume.size)
        volume.create_time += self.habits.ahead
        self.habits.note_made(volume.id)
        if self.habits.hold_volumes:
            self.habits.being_made.add(volume.id)
        return volume

    def delete_volume(self, volume_id: str) -> Volume:
        self._made(volume_id)
        return super().delete_volume(volume_id)

    def create_snapshot(
        self, volume_id: str, description: str, owner_id: str | None = None, from_ami: str | None = None
    ) -> Snapshot:
        self._made(volume_id)
        snapshot = TimedSnapshot(
            self, random_snapshot_id(), self.get_volume(volume_id), description, owner_id=owner_id, from_ami=from_ami
        )
        return self._begin(snapshot)

    def copy_snapshot(
        self, source_snapshot_id: str, source_region: str, description: str, kms_key_id: str | None
    ) -> Snapshot:
        if source_region != self.region_name:
            raise EC2ClientError("InvalidParameterValue", f"nothing is simulated in {source_region}")
        source = self.completed(source_snapshot_id)
        volume = SimpleNamespace(id=NO_VOLUME, size=source.volume_size)
        return self._begin(TimedSnapshot(self, random_snapshot_id(), volume, description, kms_key_id=kms_key_id))

    def delete_snapshot(self, snapshot_id: str) -> Snapshot:
        if snapshot_id in self.habits.undeletable:
            said = f"The snapshot {snapshot_id} is currently in use by ami-0123456789abcdef0"
            raise EC2ClientError("InvalidSnapshot.InUse", said)
        return super().delete_snapshot(snapshot_id)

    def completed(self, snapshot_id: str) -> Snapshot:
        """A snapshot that can be read; raises AWS's errors otherwise."""
        snapshot = self.get_snapshot(snapshot_id)
        self.seen(snapshot)
        if snapshot.status != "completed":
            raise EC2ClientError("IncorrectState", f"Snapshot is in invalid state - {snapshot.status}")
        return snapshot

    def seen(self, snapshot: Snapshot) -> None:
        if isinstance(snapshot, TimedSnapshot):
            snapshot.look(time.monotonic())

    def state_of(self, volume: Volume) -> str:
        return "creating" if volume.id in self.habits.being_made else volume.status

    def attach(self, volume_id: str, instance: str) -> None:
        volume = self.get_volume(volume_id)
        holder = SimpleNamespace(id=instance)
        volume.attachment = VolumeAttachment(volume, holder, "/dev/sdf", "attached")  # type: ignore[abstract]

    def put_volume(
        self,
        size_gb: int,
        zone: str,
        tags: dict[str, str],
        snapshot_id: str | None = None,
        *,
        id: str | None = None,  # noqa: A002
    ) -> Volume:
        """Make a volume as another program would."""
        place, name = self.get_zone_by_name(zone), id or random_volume_id()
        volume = Volume(self, name, size_gb, place, snapshot_id, volume_type="gp3")  # type: ignore[abstract]
        volume.create_time += self.habits.ahead
        self.volumes[volume.id] = volume
        self.create_tags([volume.id], tags)
        self.habits.note_made(volume.id)
        return volume

    def put_snapshot(self, volume_id: str, size_gb: int, tags: dict[str, str], **changes: Any) -> TimedSnapshot:
        """Make a snapshot as another program would; `changes` are set as its attributes."""
        volume = self.volumes.get(volume_id) or SimpleNamespace(id=volume_id, size=size_gb)
        snapshot = TimedSnapshot(self, random_snapshot_id(), volume, "")
        snapshot.start_time += self.habits.ahead
        snapshot.completion_time = snapshot.start_time
        for name, value in changes.items():
            setattr(snapshot, name, value)
        self.snapshots[snapshot.id] = snapshot
        self.create_tags([snapshot.id], tags)
        self.habits.note_made(snapshot.id)
        return snapshot

    def forget(self, resource_id: str) -> None:
        """Delete it as another program would. Raises KeyError if it is not there."""
        kept: dict[str, Any] = self.snapshots if resource_id in self.snapshots else self.volumes
        del kept[resource_id]
        self.tags.pop(resource_id, None)

    def _begin(self, snapshot: TimedSnapshot) -> Snapshot:
        snapshot.start_time += self.habits.ahead
        self.snapshots[snapshot.id] = snapshot
        self.habits.note_made(snapshot.id)
        held, takes_s = self.habits.held_percent, self.habits.snapshot_s
        if held is not None:
            snapshot.status, snapshot.percent = "pending", held
        elif takes_s > 0:
            snapshot.status, snapshot.percent = "pending", 0
            snapshot.begun_at = time.monotonic()
            snapshot.due_at = snapshot.begun_at + takes_s
        else:
            snapshot.complete()
        return snapshot

    def _made(self, volume_id: str) -> None:
        if volume_id in self.habits.being_made:
            raise EC2ClientError("IncorrectState", f"The volume '{volume_id}' is 'creating'")


def _utc_now() -> datetime:
    """The time as moto has it: UTC, without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None)
