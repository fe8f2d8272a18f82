"""`pgfleet submit disk`: ask for something to be done with a disk, as another service would; and follow it."""

import uuid
from typing import Annotated, Any

import typer

from pgfleet.producers.sending import check, put
from pgfleet.producers.submit.commands import AsJson, Timeout, User
from pgfleet.producers.submit.database import chosen_dsn, connected
from pgfleet.producers.submit.following import (
    UNTAKEN,
    Followed,
    Look,
    Output,
    refused,
    rejected,
    report,
    wait,
    with_pause,
)
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.terminal import err
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.disk import (
    ACTIONS,
    DEFAULT_SIZE_GB,
    LIVE_OPERATION,
    QUEUE,
    REQUESTS,
    UNFINISHED,
    CloneDisk,
    CreateDisk,
    Operation,
    OperationStatus,
)
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.nearest import meant
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import disk as disks
from pgfleet.schema.reads import operation as reads
from pgfleet.schema.reads.operation import OPERATION
from pgfleet.schema.rows.row import Row

# The fields of a message, as they are called at the prompt.
OPTIONS = {
    "size_gb": "--size",
    "disk_name": "--name",
    "target_disk": "--name",
    "source_disk": "--source",
    "snapshot_id": "--snapshot",
    "kind": "--kind",
    "user_id": "--user",
    "operation_id": "--id",
}
EXAMPLE = "Example: pgfleet submit disk --name data --size 200 --wait"
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it until it is completed.")]


def submit(  # noqa: PLR0913  # one parameter an option
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Option(help="The disk; of clone_disk the new one.")],
    action: Annotated[str, typer.Option(help="What to do: create_disk, snapshot_disk, ...")] = "create_disk",
    size: Annotated[int | None, typer.Option(help="GB, of create_disk.", show_default=str(DEFAULT_SIZE_GB))] = None,
    source: Annotated[str | None, typer.Option(help="The disk to copy, of clone_disk.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="The whole id of a snapshot, of restore_disk.")] = None,
    kind: Annotated[str | None, typer.Option(help="What a snapshot is for, of snapshot_disk.")] = None,
    user: User = None,
    operation_id: Annotated[str | None, typer.Option("--id", help="A UUID; sent twice it is one operation.")] = None,
    following: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Make a disk, or have something else done with one."""
    given = {
        "operation_id": operation_id or str(uuid.uuid4()),
        "user_id": user or default_user(),
        "size_gb": size,
        "source_disk": source,
        "snapshot_id": snapshot,
        "kind": kind,
    }
    with named_as_options(OPTIONS):
        message = _checked(action, name, {field: value for field, value in given.items() if value is not None})
    with connected(chosen_dsn(ctx.obj)) as conn:
        known = _known(conn, message)
        if known is None:
            _refuse_unknown(conn, message)
            put(conn, QUEUE, message)
        finish(conn, message.operation_id, known or f"{action} sent", Output(following, timeout, as_json))


def _checked(action: str, name: str, given: dict[str, Any]) -> Operation:
    """The message; a field that its action does not have is refused rather than ignored.

    Raises:
        FleetError: there is no such action, or an option is not one of it.
        BadMessage: a field is missing or can't be used.
    """
    message_type = REQUESTS.get(action)
    if message_type is None or not issubclass(message_type, Operation):
        hint = meant(action, REQUESTS)
        raise FleetError(f"--action: {printable(action)} is nothing that is done with a disk. {hint}")
    given["target_disk" if message_type is CloneDisk else "disk_name"] = name
    if message_type is CreateDisk:
        given.setdefault("size_gb", DEFAULT_SIZE_GB)
    strange = sorted(set(given) - set(message_type.model_fields))
    if strange:
        raise FleetError(f"{action} has no {', '.join(OPTIONS[field] for field in strange)}.")
    return check(message_type, given)


def _refuse_unknown(conn: Connection, message: Operation) -> None:
    """Unless it makes the disk, or one that makes it may be on its way.

    Raises:
        Refusal: there is no such disk.
    """
    name = message.source_disk if isinstance(message, CloneDisk) else getattr(message, "disk_name", "")
    if not isinstance(message, CreateDisk) and not reads.on_their_way(conn, message.user_id, name):
        disks.resolve(conn, name, message.user_id)


def _known(conn: Connection, message: Operation) -> str | None:
    """Why nothing needs to be sent: sent twice it is one operation. None if it has to be.

    Raises:
        Refusal: the id is another user's operation.
    """
    asked, row = about.messages(conn, OPERATION, message.operation_id), reads.by_id(conn, message.operation_id)
    if row is not None and row["user_id"] != message.user_id:
        raise Refusal(f"Operation {message.operation_id} exists already and is {printable(row['user_id'])}'s.")
    if row is not None:
        return f"{message.operation_id} exists already and is {row['status']}: it is one operation"
    if asked:
        return f"{message.operation_id} is in the queue already: it is one operation"
    return None


def finish(conn: Connection, operation_id: str, sent: str, output: Output) -> None:
    """What a command does after it has sent an operation: print its id, or follow it to its end.

    Raises:
        Refusal: it failed, or the time is up.
    """
    again = _again(operation_id)
    if output.wait:
        err().print(sent)
        wait_for(conn, operation_id, output)
    else:
        as_json = {"operation_id": operation_id, "result": sent} if output.as_json else None
        report(with_pause(conn, "disk", f"{sent}\nFollow it: {again}"), operation_id, as_json)


def _again(operation_id: str) -> str:
    return f"pgfleet disk operation {operation_id}"


def wait_for(conn: Connection, operation_id: str, output: Output) -> None:
    """Follow an operation; prints how it ended.

    Raises:
        Refusal: it failed, with its error; or the time is up.
    """
    unknown = {"operation_id": operation_id, "status": None}
    followed = Followed(
        conn=conn,
        kind="disk",
        look=lambda: look(conn, operation_id),
        as_json=lambda last: {**(last.row or unknown), "rejected": last.rejected},
        again=_again(operation_id),
    )
    wait(followed, output)


def look(conn: Connection, operation_id: str) -> Look:
    """How an operation is. The queue is read first: a message that has left it is in the row or a letter by then."""
    asked = [
        message for message in about.messages(conn, OPERATION, operation_id) if about.action_of(message) in REQUESTS
    ]
    row = reads.by_id(conn, operation_id)
    if row is not None:
        return look_at(row)
    if asked:
        taken = any(message["read_ct"] for message in asked)
        return Look(None, "sent: a worker has claimed it" if taken else UNTAKEN, explained=False)
    reason = refused(conn, OPERATION, operation_id, ACTIONS.keys() - REQUESTS.keys())
    if reason is not None:
        return rejected(reason, see="pgfleet dead --kind disk")
    return Look(None, UNTAKEN, explained=False)


def look_at(row: Row) -> Look:
    """How an operation is that has its row."""
    text = f"{row['status']}: {story(row)}".removesuffix(": ")
    failed = row["status"] == OperationStatus.FAILED
    return Look(row, text, result=None if failed or row["status"] in LIVE_OPERATION else text, failed=failed)


def story(row: Row) -> str:
    """How an operation is, in words: its error, or what it does, and how far its snapshot is."""
    if row["status"] == OperationStatus.FAILED:
        return printable(row["error"] or row["status_reason"])
    shown = printable(row["detail"] or row["status_reason"])
    if row["snapshot_status"] not in UNFINISHED or row["status"] not in LIVE_OPERATION:
        return shown
    percent = f"snapshot {row['progress_percent'] or 0} %"
    return f"{shown}, {percent}" if shown else percent
