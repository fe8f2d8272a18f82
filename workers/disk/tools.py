"""What the steps of disks share: their clients, and how they wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pgfleet.schema.disk import QUEUE
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.aws import contents, ec2
from pgfleet.workers.disk.view import View
from pgfleet.workers.runtime.kind import Occasion
from pgfleet.workers.runtime.outcomes import Move, Outcome, Send, Wait


@dataclass(frozen=True, slots=True)
class Tools:
    settings: Settings
    ec2: ec2.Ec2
    contents: contents.Contents | None


@contextmanager
def connected(settings: Settings) -> Iterator[Tools]:
    """The clients of one process, for as long as it works."""
    with ec2.connected(settings) as cloud, contents.connected(settings) as listings:
        yield Tools(settings, cloud, listings)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a row's turn has at hand."""

    view: View
    tools: Tools
    occasion: Occasion

    def later(self, seconds: float) -> datetime:
        return self.view.now + timedelta(seconds=seconds)

    @property
    def volume_poll(self) -> datetime:
        return self.later(self.tools.settings.volume_poll_s)

    @property
    def snapshot_poll(self) -> datetime:
        return self.later(self.tools.settings.snapshot_poll_s)


def wait(row: Row, detail: str, until: datetime, **values: Any) -> Outcome:
    """Look again; what it waits for is shown in the row, unless it says so already."""
    shown = {**values, **({} if row.get("detail", detail) == detail else {"detail": detail})}
    return Wait(detail, until, (Move(row, None, values=shown),) if shown else ())


def proceed(operation_id: Any) -> Send:
    return Send({"action": "proceed", "operation_id": str(operation_id)}, queue=QUEUE)


def told(disk_id: Any, view: View) -> tuple[Send, ...]:
    """For those who have asked something of a disk, when it has come on."""
    return tuple(proceed(operation_id) for operation_id in view.live_operations.get(str(disk_id), ()))
