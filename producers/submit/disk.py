"""`pgfleet submit disk`: ask for something to be done with a disk, as another service would; and follow it."""

import uuid
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from pgfleet.producers.sending import send
from pgfleet.producers.submit.database import chosen_dsn, connected
from pgfleet.producers.submit.follow.disk import Look, follow
from pgfleet.producers.submit.terminal import err, out, print_json, telling
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.disk import DEFAULT_SIZE_GB, QUEUE, REQUESTS, CloneDisk, CreateDisk, Operation
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.messages import BadMessage, explain
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import operation as reads

DISK_EXAMPLE = "Example: pgfleet submit disk --name data --size 200 --wait"
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it until it is completed.")]
Timeout = Annotated[float | None, typer.Option(help="Stop waiting after so many seconds.")]


@dataclass(frozen=True, slots=True)
class Telling:
    """How the command that asks wants to be told what becomes of it."""

    wait: bool = False
    timeout_s: float | None = None
    as_json: bool = False


def submit_disk(  # noqa: PLR0913  # one parameter an option
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Option(help="The disk; of clone_disk the new one.")],
    action: Annotated[str, typer.Option(help="What to do: create_disk, snapshot_disk, ...")] = "create_disk",
    size: Annotated[int | None, typer.Option(help="GB, of create_disk.", show_default=str(DEFAULT_SIZE_GB))] = None,
    source: Annotated[str | None, typer.Option(help="The disk to copy, of clone_disk.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="The whole id of a snapshot, of restore_disk.")] = None,
    kind: Annotated[str | None, typer.Option(help="What a snapshot is for, of snapshot_disk.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose it is, unless $PGFLEET_USER or you.")] = None,
    operation_id: Annotated[str | None, typer.Option("--id", help="A UUID; sent twice it is one operation.")] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
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
    message = _checked(action, name, {field: value for field, value in given.items() if value is not None})
    with connected(chosen_dsn(ctx.obj)) as conn:
        news = _send_once(conn, message)
        finish(conn, message.operation_id, news or f"{action} sent", Telling(wait, timeout, as_json))


def _checked(action: str, name: str, given: dict[str, Any]) -> Operation:
    """The message; a field that its action does not have is refused rather than ignored.

    Raises:
        FleetError: there is no such action, or an option is not one of it.
        BadMessage: a field is missing or can't be used.
    """
    message_type = REQUESTS.get(action)
    if message_type is None or not issubclass(message_type, Operation):
        raise FleetError(f"{printable(action)} is nothing that is done with a disk. Known are {', '.join(REQUESTS)}.")
    given["target_disk" if message_type is CloneDisk else "disk_name"] = name
    if message_type is CreateDisk:
        given.setdefault("size_gb", DEFAULT_SIZE_GB)
    strange = sorted(set(given) - set(message_type.model_fields))
    if strange:
        raise FleetError(f"{action} has no {', '.join(strange)}.")
    try:
        return message_type.model_validate(given)
    except ValidationError as error:
        raise BadMessage(explain(error)) from None


def _send_once(conn: Connection, message: Operation) -> str | None:
    """Send it unless it is known already; what is known.

    Raises:
        Refusal: the id is another user's operation.
    """
    asked, row = reads.messages(conn, message.operation_id), reads.by_id(conn, message.operation_id)
    if row is not None and row["user_id"] != message.user_id:
        raise Refusal(f"Operation {message.operation_id} exists already and is {printable(row['user_id'])}'s.")
    if row is not None:
        return f"{message.operation_id} exists already and is {row['status']}: it is one operation"
    if asked:
        return f"{message.operation_id} is in the queue already: it is one operation"
    send(QUEUE, type(message), message.model_dump(exclude_none=True), conn)
    return None


def finish(conn: Connection, operation_id: str, sent: str, telling_it: Telling) -> None:
    """What a command does after it has sent an operation: print its id, or follow it to its end.

    Raises:
        Refusal: it failed, or the time is up.
    """
    err().print(sent, markup=False, emoji=False)
    if telling_it.wait:
        wait_for(conn, operation_id, telling_it)
        return
    err().print(_again(operation_id), markup=False, emoji=False)
    if telling_it.as_json:
        print_json({"operation_id": operation_id, "result": sent})
    else:
        out().print(operation_id, markup=False)


def _again(operation_id: str) -> str:
    return f"Follow it: pgfleet disk operation {operation_id}"


def wait_for(conn: Connection, operation_id: str, telling_it: Telling) -> None:
    """Follow an operation; prints how it ended.

    Raises:
        Refusal: it failed, with its error; or the time is up.
    """
    try:
        with telling() as tell:
            last = follow(conn, operation_id, telling_it.timeout_s, tell)
    except KeyboardInterrupt:
        err().print(f"It goes on. {_again(operation_id)}", markup=False, emoji=False)
        raise
    if telling_it.as_json:
        told = last.row or {"operation_id": operation_id, "status": None}
        print_json({**told, "rejected": last.rejected})
    _judge(last, operation_id)
    if not telling_it.as_json:
        out().print(last.text, markup=False, emoji=False)


def _judge(last: Look, operation_id: str) -> None:
    if last.rejected is not None:
        raise Refusal(f"{last.text}\nMore of it: pgfleet dead list --queue {QUEUE}")
    if last.failed:
        raise Refusal(last.text)
    if not last.settled:
        raise Refusal(f"still {last.text}\nIt goes on. {_again(operation_id)}")
