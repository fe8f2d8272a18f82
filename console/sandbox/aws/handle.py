"""A handle on the sandbox's AWS (EC2's volumes and snapshots, and S3): where it is, and its switches as methods.

Starting it imports moto, which takes seconds; importing this module does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.orders import ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

REGION = "us-east-2"
ZONE = "us-east-2a"
BUCKET = "pgfleet-contents"
INSTANCE = "i-0123456789abcdef0"


@dataclass(frozen=True, slots=True)
class Aws:
    """The same for a server in a thread and for one in a process of its own."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead AWS's programs and libraries here. The bucket is a setting of pgfleet."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def hold_snapshots(self, progress: int | None = 40) -> None:
        """Snapshots and copies made from now on stay `pending` at this percentage; None ends this for later ones."""
        self._set("hold_snapshots", progress=progress)

    def complete_snapshots(self, ids: Sequence[str] | None = None) -> None:
        """These are `completed`; without ids, all that are pending."""
        self._set("complete_snapshots", ids=ids)

    def fail_snapshots(self, ids: Sequence[str] | None = None, message: str = "an error of the sandbox") -> None:
        """These end as `error`, with this StateMessage; without ids, all that are pending."""
        self._set("fail_snapshots", ids=ids, message=message)

    def set_progress(self, snapshot_id: str, percent: int) -> None:
        self._set("set_progress", snapshot_id=snapshot_id, percent=percent)

    def hold_volumes(self, *, held: bool = True) -> None:
        """Volumes made from now on stay `creating` until `complete_volumes`."""
        self._set("hold_volumes", held=held)

    def complete_volumes(self) -> None:
        self._set("complete_volumes")

    def fault(self, action: str, **wanted: Any) -> None:
        """The next requests of this name (a regular expression) go wrong; fields as in `aws.faults.AwsFault`.

        A name is EC2's action (`CreateVolume`), or method and path of a request to S3 (`PUT /pgfleet-contents/.*`).
        """
        self._set("fault", action=action, **wanted)

    def clear_faults(self) -> None:
        self._set("clear_faults")

    def attach(self, volume_id: str, instance: str = INSTANCE) -> None:
        self._set("attach", volume_id=volume_id, instance=instance)

    def detach(self, volume_id: str) -> None:
        self._set("detach", volume_id=volume_id)

    def blind(self, seconds: float = 0.0) -> None:
        """For so long, searches by tag miss what is made from now on; zero ends it."""
        self._set("blind", seconds=seconds)

    def make_volume(self, size_gb: int = 10, tags: Mapping[str, str] | None = None, **more: Any) -> str:
        """Make a volume as another program would. Returns its id; `more`: id, zone, snapshot_id, created_at."""
        made: str = self._set("make_volume", size_gb=size_gb, tags=tags, **_dated(more))
        return made

    def put_clock_ahead(self, seconds: float) -> None:
        """From now on its clock says so much more: in the `Date` of its answers, and of what is made."""
        self._set("put_clock_ahead", seconds=seconds)

    def make_snapshot(self, tags: Mapping[str, str] | None = None, **more: Any) -> str:
        """Make a snapshot as another program would, completed unless `status` says otherwise. Returns its id.

        `more`: id, volume_id, size_gb, started_at, status, owner_id.
        """
        made: str = self._set("make_snapshot", tags=tags, **_dated(more))
        return made

    def populate(
        self, volumes: Sequence[Mapping[str, Any]] = (), snapshots: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, list[str]]:
        """Make many at once, of fields as for `make_volume` and `make_snapshot`. Returns the new ids, in that order."""
        given = {"volumes": [_dated(one) for one in volumes], "snapshots": [_dated(one) for one in snapshots]}
        made: dict[str, list[str]] = self._set("populate", **given)
        return made

    def forget(self, resource_id: str) -> None:
        """Delete a volume or snapshot as another program would."""
        self._set("forget", resource_id=resource_id)

    def refuse_deletes(self, snapshot_id: str, *, refused: bool = True) -> None:
        """Its deletion is answered with InvalidSnapshot.InUse."""
        self._set("refuse_deletes", snapshot_id=snapshot_id, refused=refused)

    def state(self) -> dict[str, Any]:
        """`volumes` and `snapshots` by id, S3 `objects` by bucket/key, `requests` by action, `faults_left`.

        `log` has every request in order, as [action, the id or value that it names].
        """
        found: dict[str, Any] = self._set("state")
        return found

    def requests(self, action: str) -> int:
        """How many of an EC2 action, or of an S3 method, since the start or the last reset."""
        return int(self._set("requests").get(action, 0))

    def reset(self) -> None:
        """Everything is as at the start: an empty bucket, and nothing else."""
        self._set("reset")

    def _set(self, switch: str, **given: Any) -> Any:
        return ask(self.url, "POST", f"aws/{switch}", given)


def _dated(given: Mapping[str, Any]) -> dict[str, Any]:
    dates: dict[str, datetime] = {name: value for name, value in given.items() if hasattr(value, "isoformat")}
    return {**given, **{name: at.isoformat() for name, at in dates.items()}}
