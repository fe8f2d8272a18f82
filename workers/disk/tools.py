"""What the steps of disks share: their clients, when they look again, and whom they send on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from pgfleet.schema.disk import QUEUE, SNAPSHOT_TICKETS
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.aws import contents, ec2, rights
from pgfleet.workers.clients.verdicts import EC2
from pgfleet.workers.disk.view import View
from pgfleet.workers.runtime import kind, tickets
from pgfleet.workers.runtime.outcomes import Calls, NotNowError, Send
from pgfleet.workers.runtime.outside.breakers import Breakers, Use


@dataclass(frozen=True, slots=True)
class Tools:
    settings: Settings
    ec2: ec2.Ec2
    contents: contents.Contents | None


@contextmanager
def connected(settings: Settings, breakers: Breakers | None) -> Iterator[Tools]:
    """The clients of one process, for as long as it works."""
    with ec2.connected(settings, breakers) as cloud, contents.connected(settings, breakers) as listings:
        yield Tools(settings, cloud, listings)


def probe(tools: Tools, use: Use[Any], dependency: str, calls: Calls) -> None:  # noqa: ARG001  # no row is needed
    """Ask about nobody; raises NotNowError where that is not answered."""
    asked = tools.ec2.aws if dependency == EC2 else tools.contents and tools.contents.aws
    if asked and asked.guard:
        asked.guard.probe(calls)


def lacking(tools: Tools) -> list[str | NotNowError]:
    """What no disk can be worked on without: AWS has to let the worker in, when it answers."""
    return rights.lacking(tools.ec2, tools.contents)


Turn: TypeAlias = kind.Turn[View, Tools]
# A change of a snapshot, with its next ticket.
hand_out_snapshot = partial(tickets.hand_out, SNAPSHOT_TICKETS)


def volume_poll(turn: Turn) -> datetime:
    return turn.later(turn.tools.settings.volume_poll_s)


def snapshot_poll(turn: Turn) -> datetime:
    return turn.later(turn.tools.settings.snapshot_poll_s)


def proceed(operation_id: Any) -> Send:
    return Send({"action": "proceed", "operation_id": str(operation_id)}, queue=QUEUE)


def proceed_all(disk_id: Any, view: View) -> tuple[Send, ...]:
    """For each operation that waits for a disk, when something has become of it."""
    return tuple(proceed(operation_id) for operation_id in view.live_operations.get(str(disk_id), ()))
