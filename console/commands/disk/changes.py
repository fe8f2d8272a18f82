"""What people ask of their disks; a worker does it, and `pgfleet disk operation` follows it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import typer

from pgfleet.console.connection import database
from pgfleet.producers import disk as producer
from pgfleet.producers.submit.commands import AsJson, Timeout, User
from pgfleet.producers.submit.disk import Wait, finish
from pgfleet.producers.submit.following import Output
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.disk import DEFAULT_SIZE_GB, SnapshotStatus, Status
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import disk as reads
from pgfleet.schema.reads import operation as operations
from pgfleet.schema.reads.hold import purge_date
from pgfleet.schema.reservation import FINAL
from pgfleet.schema.settings import read_settings

# Given who asks and the disk as it is now, None where it is not there yet; sends, and returns the operation's id.
Send = Callable[[Connection, str, dict[str, Any] | None], str]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A disk's name.")]


def create(  # noqa: PLR0913  # one parameter an option
    name: Name,
    *,
    size: Annotated[int, typer.Option(metavar="GB", help="10 to 10000.")] = DEFAULT_SIZE_GB,
    user: User = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Make a new, empty disk. A reservation with --disk makes its own, too."""
    owner = user or default_user()
    with database() as conn:
        if not operations.on_their_way(conn, owner, name):
            _refuse_taken(reads.by_name(conn, owner, name))
        with named_as_options({"size_gb": "--size", "disk_name": "NAME", "user_id": "--user"}):
            operation_id = producer.create_disk(owner, name, size, conn)
        finish(conn, operation_id, f"create of disk {printable(name)} sent", Output(wait, timeout, as_json))


def snapshot(
    name: Name, *, user: User = None, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Keep a copy of a disk in use as it is now. One that nobody uses has its copy already."""

    def send(conn: Connection, owner: str, row: dict[str, Any] | None) -> str:
        _refuse_deleted(row)
        return producer.snapshot_disk(owner, name, conn)

    _ask(name, user, send, Output(wait, timeout, as_json), f"snapshot of disk {printable(name)} asked for")


def delete(
    name: Name, *, user: User = None, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Delete a disk that nobody uses. For 30 days it can be brought back."""

    def send(conn: Connection, owner: str, row: dict[str, Any] | None) -> str:
        _refuse_deleted(row)
        _refuse_held(row)
        return producer.delete_disk(owner, name, conn)

    _ask(name, user, send, Output(wait, timeout, as_json), f"delete of disk {printable(name)} sent")


def undelete(
    name: Name, *, user: User = None, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Bring a deleted disk back, while it is not purged."""

    def send(conn: Connection, owner: str, row: dict[str, Any] | None) -> str:
        if row is not None and row["status"] == Status.PURGED:
            raise Refusal(f"Too late: disk {printable(name)} is purged.")
        if row is not None and row["status"] != Status.DELETED:
            raise Refusal(f"Disk {printable(name)} is not deleted: it is {row['status']}.")
        return producer.undelete_disk(owner, name, conn)

    _ask(name, user, send, Output(wait, timeout, as_json), f"undelete of disk {printable(name)} sent")


def clone(  # noqa: PLR0913  # one parameter an option
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The disk to copy.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="What to call the copy.")],
    *,
    user: User = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Make a new disk with what another one holds: of one in use, what it holds now."""

    def send(conn: Connection, owner: str, row: dict[str, Any] | None) -> str:
        _refuse_deleted(row)
        if not operations.on_their_way(conn, owner, target):
            _refuse_taken(reads.by_name(conn, owner, target))
        return producer.clone_disk(owner, source, target, conn)

    what = f"clone of disk {printable(source)} to {printable(target)} sent"
    _ask(source, user, send, Output(wait, timeout, as_json), what)


def restore(  # noqa: PLR0913  # one parameter an option
    name: Name,
    given: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="A snapshot's id, or the beginning of it.")],
    *,
    user: User = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Let the next reservation find what an older snapshot holds. The newer ones stay."""

    def send(conn: Connection, owner: str, row: dict[str, Any] | None) -> str:
        _refuse_deleted(row)
        _refuse_held(row)
        chosen = reads.resolve_snapshot(conn, reads.resolve(conn, name, owner), given)
        if chosen["status"] != SnapshotStatus.COMPLETED:
            raise Refusal(f"Snapshot {chosen['snapshot_id']} is {chosen['status']}; only a completed one is restored.")
        return producer.restore_disk(owner, name, chosen["snapshot_id"], conn)

    _ask(name, user, send, Output(wait, timeout, as_json), f"restore of disk {printable(name)} sent")


def unlock(
    name: Name, *, user: User = None, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Release a disk whose reservation has gone without doing so: with a snapshot first, as always.

    A disk that is kept back because AWS has lost data of it goes on with what there is.
    """

    def send(conn: Connection, owner: str, row: dict[str, Any] | None) -> str:
        if row is not None and row["status"] != Status.ATTACHED and not row["data_lost"]:
            raise Refusal(f"Disk {printable(name)} is not in use: it is {row['status']}.")
        if row is not None and row["reservation_status"] not in (None, *FINAL):
            raise Refusal(f"Disk {printable(name)} is in use{_by(row)}.")
        return producer.clear_disk_lock(owner, name, conn)

    _ask(name, user, send, Output(wait, timeout, as_json), f"unlock of disk {printable(name)} sent")


def _ask(name: str, user: str | None, send: Send, how: Output, what: str) -> None:
    """Send something about a disk. What was sent before it may still change the disk: then the worker decides.

    Raises:
        Refusal: there is no such disk, and none is on its way.
    """
    owner = user or default_user()
    with database() as conn:
        undecided = bool(operations.on_their_way(conn, owner, name))
        row = None if undecided else reads.resolve(conn, name, owner)
        finish(conn, send(conn, owner, row), what, how)


def _refuse_taken(row: dict[str, Any] | None) -> None:
    if row is None or row["status"] in (Status.PURGED, Status.FAILED):
        return
    name = printable(row["disk_name"])
    if row["status"] == Status.DELETED:
        raise Refusal(f"{_deleted(row)} Another one needs another name.")
    raise Refusal(f"There is a disk {name} already: it is {row['status']}. See it: pgfleet disk show {name}")


def _refuse_deleted(row: dict[str, Any] | None) -> None:
    if row is not None and row["status"] == Status.DELETED:
        raise Refusal(_deleted(row))
    if row is not None and row["status"] in (Status.PURGED, Status.FAILED):
        raise Refusal(f"Too late: disk {printable(row['disk_name'])} is {row['status']}.")


def _refuse_held(row: dict[str, Any] | None) -> None:
    """A disk that is being released passes: it is free in minutes, and the worker decides about the request then."""
    if row is not None and row["status"] == Status.ATTACHED and row["release_asked_at"] is None:
        raise Refusal(f"Disk {printable(row['disk_name'])} is in use{_by(row)}.")


def _deleted(row: dict[str, Any]) -> str:
    name, until = printable(row["disk_name"]), purge_date(row, timedelta(seconds=read_settings().disk_kept_s))
    return f"Disk {name} is deleted; until {until} `pgfleet disk undelete {name}` brings it back."


def _by(row: dict[str, Any]) -> str:
    """Who uses a disk, and the command that ends it."""
    if row["reservation_id"] is None:
        return f", and its reservation is gone: pgfleet disk unlock {printable(row['disk_name'])}"
    short = row["reservation_short_id"]
    return f" by reservation {short}. First: pgfleet cancel {short}"
