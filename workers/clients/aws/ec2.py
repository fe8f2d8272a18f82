"""EBS volumes and snapshots of the account that the worker's credentials belong to.

Tags carry the ids of rows, so that what an earlier attempt has made is found again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.aws.session import Service, SnapshotGoneError, VolumeGoneError, nothing, service
from pgfleet.workers.clients.aws.states import (
    NO_VOLUME,
    SnapshotState,
    VolumeState,
    copy_in,
    snapshot_in,
    snapshots_in,
    volume_in,
    volumes_in,
)
from pgfleet.workers.runtime.outcomes import Calls, NoPlaceError, RefusedError, TryAgainError
from pgfleet.workers.runtime.outside.breakers import Breakers

# Tags, whose values are ids of rows; QUARANTINED says since when no row accounts for it.
DISK = "pgfleet:disk_id"
SNAPSHOT = "pgfleet:snapshot_id"
ATTACHMENT = "pgfleet:attachment"
QUARANTINED = "pgfleet:quarantined"
# The fleet's name, if it has one: what has another's is never listed.
FLEET = "pgfleet:fleet"
# A pod may have written to the volume: it is never taken for an unused one, whatever a database says.
USED = "pgfleet:used"

VOLUME_PAGE = 500
SNAPSHOT_PAGE = 1000
MOST_PAGES = 10_000

S = TypeVar("S", VolumeState, SnapshotState)


@dataclass(frozen=True, slots=True)
class Ec2:
    """Every call but the listings is over well within a lease. Errors are those of `aws.Service.ask`."""

    aws: Service
    fleet: str = ""

    @property
    def region(self) -> str:
        return str(self.aws.client.meta.region_name)

    def create_volume(
        self, token: str, zone: str, size_gb: int, from_snapshot: str | None, tags: Mapping[str, str]
    ) -> VolumeState:
        """The volume of this token: made now, or by an earlier call with the same token.

        Raises:
            SnapshotGoneError: the snapshot it was to be made from is not there.
            TokenTakenError: the token was used before, for a volume that was to be another.
        """
        return self.aws.ask(
            "create_volume",
            volume_in,
            # Tokens are the account's: another fleet may have a disk of the same id.
            ClientToken=f"{self.fleet}-{token}" if self.fleet else token,
            AvailabilityZone=zone,
            Size=size_gb,
            VolumeType="gp3",
            **({"SnapshotId": from_snapshot} if from_snapshot else {}),
            **_tagged("volume", stamped(tags, self.fleet)),
        )

    def volume(self, volume_id: str) -> VolumeState | None:
        """The volume as it is; None where AWS says that there is none, as it may of one made a moment ago."""
        try:
            found = self.aws.ask("describe_volumes", volumes_in, VolumeIds=[volume_id])
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
            snapshot_in,
            VolumeId=volume_id,
            Description=description,
            **_tagged("snapshot", stamped(tags, self.fleet)),
        )

    def copy_snapshot(self, ebs_snapshot_id: str, tags: Mapping[str, str], description: str) -> SnapshotState:
        """Begin a copy in the same region. A second call makes a second one: look with `snapshots_tagged` first.

        Raises:
            SnapshotGoneError: there is no such snapshot.
        """
        source = self.snapshot(ebs_snapshot_id)
        if source is None:
            raise SnapshotGoneError(f"there is no snapshot {ebs_snapshot_id} to copy")
        tags = stamped(tags, self.fleet)
        return self.aws.ask(
            "copy_snapshot",
            lambda answer: copy_in(answer, source.size_gb, tags),
            SourceSnapshotId=ebs_snapshot_id,
            SourceRegion=self.aws.client.meta.region_name,
            Description=description,
            **_tagged("snapshot", tags),
        )

    def snapshot(self, ebs_snapshot_id: str) -> SnapshotState | None:
        """The snapshot as it is; None where AWS says that there is none, as it may of one made a moment ago."""
        try:
            found = self.aws.ask("describe_snapshots", snapshots_in, SnapshotIds=[ebs_snapshot_id])
        except SnapshotGoneError:
            return None
        for snapshot in found:
            if snapshot.ebs_snapshot_id == ebs_snapshot_id:
                return snapshot
        raise TryAgainError(f"AWS's answer to DescribeSnapshots does not speak of {ebs_snapshot_id}")

    def snapshots_tagged(self, tag: str, value: str) -> list[SnapshotState]:
        """Our snapshots with this tag, oldest first. One that was begun a moment ago may be missing."""
        filters = [{"Name": f"tag:{tag}", "Values": [value]}]
        listed = self._ours("describe_snapshots", snapshots_in, filters, MaxResults=SNAPSHOT_PAGE, OwnerIds=["self"])
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
        """Every volume of this fleet with the tag DISK, page by page; complete only if it ends without an error."""
        return self._ours("describe_volumes", volumes_in, _OURS, MaxResults=VOLUME_PAGE)

    def volumes_tagged(self, tags: Mapping[str, str]) -> list[VolumeState]:
        """Our volumes with all of these tags. One that was made a moment ago may be missing."""
        filters = [{"Name": f"tag:{tag}", "Values": [value]} for tag, value in tags.items()]
        listed = self._ours("describe_volumes", volumes_in, filters, MaxResults=VOLUME_PAGE)
        return [volume for volume in listed if tags.items() <= volume.tags.items()]

    def snapshots(self) -> Iterator[SnapshotState]:
        """Every snapshot of this fleet with the tag DISK, page by page; complete only if it ends without an error."""
        return self._ours("describe_snapshots", snapshots_in, _OURS, MaxResults=SNAPSHOT_PAGE, OwnerIds=["self"])

    def tag(self, resource_id: str, tags: Mapping[str, str]) -> None:
        """Set these tags; others stay.

        Raises:
            VolumeGoneError, SnapshotGoneError: there is no such resource.
        """
        self.aws.ask("create_tags", nothing, Resources=[resource_id], Tags=_tag_list(tags))

    def is_ours(self, found: VolumeState | SnapshotState) -> bool:
        """Whether it is of this fleet, by its tags; one without a name has what has none."""
        return found.tags.get(FLEET, "") == self.fleet

    def _ours(
        self, method: str, read: Callable[[Any], list[S]], filters: list[dict[str, Any]], **given: Any
    ) -> Iterator[S]:
        """AWS can filter by a tag, but not by there being none."""
        by_name: list[dict[str, Any]] = [{"Name": f"tag:{FLEET}", "Values": [self.fleet]}] if self.fleet else []
        listed = self._pages(method, read, Filters=[*filters, *by_name], **given)
        return (found for found in listed if self.is_ours(found))

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
def connected(settings: Settings, breakers: Breakers | None = None) -> Iterator[Ec2]:
    """Raises FleetError where AWS's own settings (region, profile, endpoint) can't be used."""
    with service("ec2", settings, breakers, partial(probe, fleet=settings.fleet)) as aws:
        yield Ec2(aws, settings.fleet)


def dry_volume(aws: Service, fleet: str) -> dict[str, Any]:
    """A volume with our tags, for a dry run. Its zone may be none that there is: rights are looked at first."""
    zone, tags = f"{aws.client.meta.region_name}a", _tagged("volume", stamped({DISK: "dry-run"}, fleet))
    return {"DryRun": True, "AvailabilityZone": zone, "Size": 1, "VolumeType": "gp3", **tags}


def probe(aws: Service, calls: Calls, fleet: str) -> None:
    """Ask about nobody: a dry run says whether we would be let.

    Raises:
        NotNowError: that is not answered, or nobody would be let.
    """
    asked: dict[Calls, tuple[str, dict[str, Any]]] = {
        Calls.READ: ("describe_volumes", {"MaxResults": 5, "Filters": _OURS}),
        Calls.MAKE: ("create_volume", dry_volume(aws, fleet)),
        Calls.DELETE: ("delete_volume", {"DryRun": True, "VolumeId": NO_VOLUME}),
    }
    method, given = asked[calls]
    try:
        aws.ask(method, nothing, **given)
    except (RefusedError, NoPlaceError, TryAgainError):
        # A dry run that would be let ends as an error, too; whatever else was answered is an answer.
        return


def stamped(tags: Mapping[str, str], fleet: str) -> Mapping[str, str]:
    """With the fleet's name. Whatever is made goes through here."""
    return {**tags, FLEET: fleet} if fleet else tags


def _tagged(kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """AWS refuses a list of no tags."""
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": _tag_list(tags)}]} if tags else {}


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
