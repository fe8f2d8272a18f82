"""Volumes and snapshots as AWS's answers describe them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

# What AWS writes as the volume of a snapshot that was copied.
NO_VOLUME = "vol-ffffffff"


@dataclass(frozen=True, slots=True)
class VolumeState:
    volume_id: str
    state: str  # creating, available, in-use, deleting, deleted, error
    zone: str
    size_gb: int
    tags: Mapping[str, str]
    attached_to: tuple[str, ...]  # instances that it is not detached from
    # By AWS's clock, as it answered: ours is not compared with it.
    age: timedelta


@dataclass(frozen=True, slots=True)
class SnapshotState:
    ebs_snapshot_id: str
    volume_id: str
    state: str  # pending, completed, error, recoverable, recovering
    progress_percent: int | None
    started_at: datetime
    age: timedelta
    completed_at: datetime | None
    size_gb: int
    tags: Mapping[str, str]
    message: str | None


def volumes_in(answer: Any) -> list[VolumeState]:
    # An answer without the list is not an empty list: it says nothing about what there is.
    at = _answered_at(answer)
    return [_volume_of(found, at) for found in answer["Volumes"]]


def volume_in(answer: Any) -> VolumeState:
    return _volume_of(answer, _answered_at(answer))


def _volume_of(found: Any, now: datetime) -> VolumeState:
    attachments = [one for one in found.get("Attachments", ()) if one.get("State") != "detached"]
    return VolumeState(
        volume_id=found["VolumeId"],
        state=found["State"],
        zone=found["AvailabilityZone"],
        size_gb=found["Size"],
        tags=_tags(found),
        attached_to=tuple(one.get("InstanceId") or one.get("AssociatedResource") or "unknown" for one in attachments),
        age=now - found["CreateTime"],
    )


def snapshots_in(answer: Any) -> list[SnapshotState]:
    at = _answered_at(answer)
    return [_snapshot_of(found, at) for found in answer["Snapshots"]]


def snapshot_in(answer: Any) -> SnapshotState:
    return _snapshot_of(answer, _answered_at(answer))


def _snapshot_of(found: Any, now: datetime) -> SnapshotState:
    progress = found.get("Progress", "").removesuffix("%")
    return SnapshotState(
        ebs_snapshot_id=found["SnapshotId"],
        volume_id=found.get("VolumeId") or NO_VOLUME,
        state=found["State"],
        progress_percent=int(progress) if progress.isdecimal() else None,
        started_at=found["StartTime"],
        age=now - found["StartTime"],
        completed_at=found.get("CompletionTime"),
        size_gb=found["VolumeSize"],
        tags=_tags(found),
        message=found.get("StateMessage") or None,
    )


def copy_in(answer: Any, size_gb: int, tags: Mapping[str, str]) -> SnapshotState:
    """AWS answers with no more than the copy's id, and may not list it yet."""
    return SnapshotState(
        ebs_snapshot_id=answer["SnapshotId"],
        volume_id=NO_VOLUME,
        state="pending",
        progress_percent=None,
        started_at=_answered_at(answer),
        age=timedelta(0),
        completed_at=None,
        size_gb=size_gb,
        tags=dict(tags),
        message=None,
    )


def _answered_at(answer: Any) -> datetime:
    """What AWS's clock said."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def _tags(found: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", ())}
