"""`/_sandbox/aws/`: the switches by which tests and the demo steer the sandbox's AWS, and its state."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from moto.core.exceptions import ServiceException
from moto.core.models import DEFAULT_ACCOUNT_ID

from pgfleet.console.sandbox.aws.ebs import NO_VOLUME, TimedSnapshot
from pgfleet.console.sandbox.aws.faults import read_fault
from pgfleet.console.sandbox.aws.handle import ZONE

if TYPE_CHECKING:
    from moto.ec2.models.elastic_block_store import Snapshot, Volume

    from pgfleet.console.sandbox.aws.server import AwsApplication

PREFIX = "/_sandbox/aws/"


class AwsControl:
    """A public method for each switch, but for `answer`; those of `Aws` say what they do."""

    def __init__(self, application: AwsApplication) -> None:
        self._aws = application
        self._ebs = application.ebs

    def answer(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        switch = environ["PATH_INFO"].removeprefix(PREFIX)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            status, result = "200 OK", self._set(switch, json.loads(body or "{}"))
        except (ValueError, TypeError, LookupError, ServiceException) as error:
            status, result = "400 Bad Request", {"message": f"{type(error).__name__}: {error}"}
        text = json.dumps(result).encode()
        return status, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))], text

    def _set(self, switch: str, given: dict[str, Any]) -> Any:
        if switch.startswith("_") or switch == "answer" or not hasattr(self, switch):
            raise ValueError(f"the sandbox's AWS has no switch {switch!r}")
        with self._aws.lock:
            return getattr(self, switch)(**given)

    def put_clock_ahead(self, seconds: float) -> None:
        self._ebs.habits.ahead += timedelta(seconds=seconds)

    def hold_snapshots(self, progress: int | None) -> None:
        self._ebs.habits.held_percent = progress

    def complete_snapshots(self, ids: list[str] | None) -> None:
        for snapshot in self._pending(ids):
            snapshot.complete()

    def fail_snapshots(self, ids: list[str] | None, message: str) -> None:
        for snapshot in self._pending(ids):
            snapshot.fail(message)

    def set_progress(self, snapshot_id: str, percent: int) -> None:
        (snapshot,) = self._pending([snapshot_id])
        snapshot.percent = percent

    def hold_volumes(self, *, held: bool) -> None:
        self._ebs.habits.hold_volumes = held

    def complete_volumes(self) -> None:
        self._ebs.habits.being_made.clear()

    def fault(self, **wanted: Any) -> None:
        self._aws.faults.add(read_fault(wanted))

    def clear_faults(self) -> None:
        self._aws.faults.clear()

    def attach(self, volume_id: str, instance: str) -> None:
        self._ebs.attach(volume_id, instance)

    def detach(self, volume_id: str) -> None:
        self._ebs.get_volume(volume_id).attachment = None

    def blind(self, seconds: float) -> None:
        self._ebs.habits.blind_until = time.monotonic() + seconds
        self._ebs.habits.unseen.clear()

    def make_volume(
        self,
        size_gb: int = 10,
        zone: str = ZONE,
        tags: dict[str, str] | None = None,
        snapshot_id: str | None = None,
        created_at: str | None = None,
        **own: str,
    ) -> str:
        volume = self._ebs.put_volume(size_gb, zone, tags or {}, snapshot_id, **own)
        if created_at is not None:
            volume.create_time = _at(created_at)
        return str(volume.id)

    def make_snapshot(
        self,
        volume_id: str = NO_VOLUME,
        size_gb: int = 10,
        tags: dict[str, str] | None = None,
        started_at: str | None = None,
        **changes: Any,
    ) -> str:
        if started_at is not None:
            changes |= {"start_time": _at(started_at), "completion_time": _at(started_at)}
        known = {"id", "status", "owner_id", "start_time", "completion_time"}
        unknown = set(changes) - known
        if unknown:
            raise ValueError(f"a snapshot has no {sorted(unknown)}")
        return str(self._ebs.put_snapshot(volume_id, size_gb, tags or {}, **changes).id)

    def populate(self, volumes: list[dict[str, Any]], snapshots: list[dict[str, Any]]) -> dict[str, list[str]]:
        return {
            "volumes": [self.make_volume(**volume) for volume in volumes],
            "snapshots": [self.make_snapshot(**snapshot) for snapshot in snapshots],
        }

    def forget(self, resource_id: str) -> None:
        self._ebs.forget(resource_id)

    def refuse_deletes(self, snapshot_id: str, *, refused: bool) -> None:
        (self._ebs.habits.undeletable.add if refused else self._ebs.habits.undeletable.discard)(snapshot_id)

    def reset(self) -> None:
        self._aws.reset()

    def requests(self) -> dict[str, int]:
        return dict(self._aws.requests)

    def state(self) -> dict[str, Any]:
        return {
            "volumes": {volume.id: self._volume(volume) for volume in self._ebs.volumes.values()},
            "snapshots": {snapshot.id: self._snapshot(snapshot) for snapshot in self._ebs.snapshots.values()},
            "objects": self._aws.objects(),
            "requests": self.requests(),
            "log": list(self._aws.log),
            "faults_left": self._aws.faults.left(),
        }

    def _volume(self, volume: Volume) -> dict[str, Any]:
        return {
            "state": self._ebs.state_of(volume),
            "zone": volume.availability_zone,
            "size_gb": volume.size,
            "snapshot": volume.snapshot_id,
            "attached_to": volume.attachment.instance_id if volume.attachment else None,
            "tags": dict(self._ebs.tags.get(volume.id, {})),
        }

    def _snapshot(self, snapshot: Snapshot) -> dict[str, Any]:
        self._ebs.seen(snapshot)
        return {
            "state": snapshot.status,
            "progress": int(snapshot.progress.removesuffix("%")),
            "volume": snapshot.volume_id,
            "size_gb": snapshot.volume_size,
            "description": snapshot.description,
            "tags": dict(self._ebs.tags.get(snapshot.id, {})),
            "ours": snapshot.owner_id == DEFAULT_ACCOUNT_ID,
        }

    def _pending(self, ids: list[str] | None) -> list[TimedSnapshot]:
        """Those of these ids; without ids, all that are pending."""
        if ids is not None:
            return [self._ebs.snapshots[one] for one in ids]  # type: ignore[misc]  # ours are all timed
        found = self._ebs.snapshots.values()
        return [one for one in found if isinstance(one, TimedSnapshot) and one.status == "pending"]


def _at(text: str) -> datetime:
    """A time as moto has them: UTC, without a time zone."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
