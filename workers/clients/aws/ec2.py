"""EBS volumes and snapshots of the account that the worker's credentials belong to.

Tags carry the ids of rows, so that what an earlier attempt has made is found again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.aws.session import Service, SnapshotGoneError, VolumeGoneError, nothing, service
from pgfleet.workers.runtime.outcomes import TryAgainError

# Tags, whose values are ids of rows; QUARANTINED says since when no row accounts for it.
DISK = "pgfleet:disk_id"
SNAPSHOT = "pgfleet:snapshot_id"
ATTACHMENT = "pgfleet:attachment"
QUARANTINED = "pgfleet:quarantined"
# A pod may have written to the volume: it is never taken for an unused one, whatever a database says.
USED = "pgfleet:used"

VOLUME_PAGE = 500
SNAPSHOT_PAGE = 1000
MOST_PAGES = 10_000
# What AWS writes as the volume of a snapshot that was copied.
NO_VOLUME = "vol-ffffffff"

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class VolumeState:
    volume_id: str
    state: str  # creating, available, in-use, deleting, deleted, error
    zone: str
    size_gb: int
    tags: Mapping[str, str]
    attached_to: tuple[str, ...]  # instances that it is not detached from
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SnapshotState:
    ebs_snapshot_id: str
    volume_id: str
    state: str  # pending, completed, error, recoverable, recovering
    progress_percent: int | None
    started_at: datetime
    completed_at: datetime | None
    size_gb: int
    tags: Mapping[str, str]
    message: str | None


@dataclass(frozen=True, slots=True)
class Ec2:
    """Every call but the listings is over well within a lease. Errors are those of `aws.Service.ask`."""

    aws: Service

    @property
    def region(self) -> str:
        return str(self.aws.client.meta.region_name)

    def create_volume(
        self, token: str, zone: str, size_gb: int, from_snapshot: str | None, tags: Mapping[str, str]
    ) -> VolumeState:
        """The volume of this token: made now, or by an earlier call with the same token.

        Raises:
            SnapshotGoneError: the snapshot it was to be made from is not there.
        """
        return self.aws.ask(
            "create_volume",
            _volume,
            ClientToken=token,
            AvailabilityZone=zone,
            Size=size_gb,
            VolumeType="gp3",
            **({"SnapshotId": from_snapshot} if from_snapshot else {}),
            **_tagged("volume", tags),
        )

    def volume(self, volume_id: str) -> VolumeState | None:
        """The volume as it is; None where AWS says that there is none, as it may of one made a moment ago."""
        try:
            found = self.aws.ask("describe_volumes", _volumes, VolumeIds=[volume_id])
        except VolumeGoneError:
            return None
        for volume in found:
            if volume.volume_id == volume_id:
                return None if volume.state == "deleted" else volume
        raise TryAgainError(f"AWS's answer to DescribeVolumes does not speak of {volume_id}")

    def delete_volume(self, volume_id: str) -> None:
        """Delete it; it may be gone already. While it is attached this is TryAgainError."""
        try:
            self.aws.ask("delete_volume", nothing, VolumeId=volume_id)
        except VolumeGoneError:
            return

    def create_snapshot(self, volume_id: str, tags: Mapping[str, str], description: str) -> SnapshotState:
        """Begin a new snapshot. A second call makes a second one: look with `snapshots_tagged` first.

        Raises:
            VolumeGoneError: there is no such volume.
        """
        return self.aws.ask(
            "create_snapshot",
            _snapshot,
            VolumeId=volume_id,
            Description=description,
            **_tagged("snapshot", tags),
        )

    def copy_snapshot(self, ebs_snapshot_id: str, tags: Mapping[str, str], description: str) -> SnapshotState:
        """Begin a copy in the same region. A second call makes a second one: look with `snapshots_tagged` first.

        Raises:
            SnapshotGoneError: there is no such snapshot.
        """
        source = self.snapshot(ebs_snapshot_id)
        if source is None:
            raise SnapshotGoneError(f"there is no snapshot {ebs_snapshot_id} to copy")
        return self.aws.ask(
            "copy_snapshot",
            lambda answer: _copy(answer, source.size_gb, tags),
            SourceSnapshotId=ebs_snapshot_id,
            SourceRegion=self.aws.client.meta.region_name,
            Description=description,
            **_tagged("snapshot", tags),
        )

    def snapshot(self, ebs_snapshot_id: str) -> SnapshotState | None:
        """The snapshot as it is; None where AWS says that there is none, as it may of one made a moment ago."""
        try:
            found = self.aws.ask("describe_snapshots", _snapshots, SnapshotIds=[ebs_snapshot_id])
        except SnapshotGoneError:
            return None
        for snapshot in found:
            if snapshot.ebs_snapshot_id == ebs_snapshot_id:
                return snapshot
        raise TryAgainError(f"AWS's answer to DescribeSnapshots does not speak of {ebs_snapshot_id}")

    def snapshots_tagged(self, tag: str, value: str) -> list[SnapshotState]:
        """Our snapshots with this tag, oldest first. One that was begun a moment ago may be missing."""
        asked = {"OwnerIds": ["self"], "Filters": [{"Name": f"tag:{tag}", "Values": [value]}]}
        listed = self._pages("describe_snapshots", _snapshots, MaxResults=SNAPSHOT_PAGE, **asked)
        # AWS reads `*` and `?` in the value as wildcards.
        found = [snapshot for snapshot in listed if snapshot.tags.get(tag) == value]
        return sorted(found, key=lambda snapshot: (snapshot.started_at, snapshot.ebs_snapshot_id))

    def delete_snapshot(self, ebs_snapshot_id: str) -> None:
        """Delete it; it may be gone already. While an image uses it this is TryAgainError."""
        try:
            self.aws.ask("delete_snapshot", nothing, SnapshotId=ebs_snapshot_id)
        except SnapshotGoneError:
            return

    def volumes(self) -> Iterator[VolumeState]:
        """Every volume with the tag DISK, page by page. It is complete only if it ends without an error."""
        return self._pages("describe_volumes", _volumes, MaxResults=VOLUME_PAGE, Filters=_OURS)

    def snapshots(self) -> Iterator[SnapshotState]:
        """Every snapshot with the tag DISK, page by page. It is complete only if it ends without an error."""
        asked = {"OwnerIds": ["self"], "Filters": _OURS}
        return self._pages("describe_snapshots", _snapshots, MaxResults=SNAPSHOT_PAGE, **asked)

    def tag(self, resource_id: str, tags: Mapping[str, str]) -> None:
        """Set these tags; others stay.

        Raises:
            VolumeGoneError, SnapshotGoneError: there is no such resource.
        """
        self.aws.ask("create_tags", nothing, Resources=[resource_id], Tags=_tag_list(tags))

    def _pages(self, method: str, read: Callable[[Any], list[S]], **given: Any) -> Iterator[S]:
        more: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            page, token = self.aws.ask(method, lambda answer: (read(answer), answer.get("NextToken")), **given, **more)
            yield from page
            if not token:
                return
            if more.get("NextToken") == token:
                raise TryAgainError(f"AWS answered {method} with the same page twice")
            more = {"NextToken": token}
        raise TryAgainError(f"AWS's answers to {method} go on after {MOST_PAGES} pages")


_OURS = [{"Name": "tag-key", "Values": [DISK]}]


@contextmanager
def connected(settings: Settings) -> Iterator[Ec2]:
    """Raises FleetError where AWS's own settings (region, profile, endpoint) can't be used."""
    with service("ec2", settings) as aws:
        yield Ec2(aws)


def _volumes(answer: Any) -> list[VolumeState]:
    # An answer without the list is not an empty list: it says nothing about what there is.
    return [_volume(found) for found in answer["Volumes"]]


def _volume(found: Any) -> VolumeState:
    attachments = [one for one in found.get("Attachments", ()) if one.get("State") != "detached"]
    return VolumeState(
        volume_id=found["VolumeId"],
        state=found["State"],
        zone=found["AvailabilityZone"],
        size_gb=found["Size"],
        tags=_tags(found),
        attached_to=tuple(one.get("InstanceId") or one.get("AssociatedResource") or "unknown" for one in attachments),
        created_at=found["CreateTime"],
    )


def _snapshots(answer: Any) -> list[SnapshotState]:
    return [_snapshot(found) for found in answer["Snapshots"]]


def _snapshot(found: Any) -> SnapshotState:
    progress = found.get("Progress", "").removesuffix("%")
    return SnapshotState(
        ebs_snapshot_id=found["SnapshotId"],
        volume_id=found.get("VolumeId") or NO_VOLUME,
        state=found["State"],
        progress_percent=int(progress) if progress.isdecimal() else None,
        started_at=found["StartTime"],
        completed_at=found.get("CompletionTime"),
        size_gb=found["VolumeSize"],
        tags=_tags(found),
        message=found.get("StateMessage") or None,
    )


def _copy(answer: Any, size_gb: int, tags: Mapping[str, str]) -> SnapshotState:
    """AWS answers with no more than the copy's id, and may not list it yet."""
    return SnapshotState(
        ebs_snapshot_id=answer["SnapshotId"],
        volume_id=NO_VOLUME,
        state="pending",
        progress_percent=None,
        started_at=parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]),
        completed_at=None,
        size_gb=size_gb,
        tags=dict(tags),
        message=None,
    )


def _tags(found: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", ())}


def _tagged(kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """AWS refuses a list of no tags."""
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": _tag_list(tags)}]} if tags else {}


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
