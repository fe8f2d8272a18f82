"""`pgfleet submit reservation`: ask for GPUs, and follow the reservation until it is active."""

import uuid
from datetime import timedelta
from typing import Annotated, Any

import typer

from pgfleet.producers.sending import check, put
from pgfleet.producers.submit.commands import AsJson, Timeout, User
from pgfleet.producers.submit.database import chosen_dsn, connected
from pgfleet.producers.submit.dry_run import ask
from pgfleet.producers.submit.following import (
    UNTAKEN,
    Followed,
    Look,
    Output,
    dead_letters,
    rejected,
    rejection,
    report,
    wait,
)
from pgfleet.producers.submit.terminal import err
from pgfleet.producers.submit.wording import default_user, story
from pgfleet.schema.disk import DEFAULT_SIZE_GB
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import place
from pgfleet.schema.reads.reservation import RESERVATION
from pgfleet.schema.reservation import FINAL, QUEUE, CreateReservation, Status
from pgfleet.schema.settings import read_settings

EXAMPLE = "Example: pgfleet submit reservation --gpu-type h100 --gpus 2 --hours 4 --disk data --wait"


def submit(  # noqa: PLR0913  # one parameter an option
    ctx: typer.Context,
    *,
    gpu_type: Annotated[str, typer.Option(help="Such as h100; `pgfleet types` lists them.")],
    gpus: Annotated[int | None, typer.Option(help="1, 2, 4, 8 or 16; 0 for a cpu type.", show_default="1")] = None,
    hours: Annotated[float | None, typer.Option(help="How long, from when it is ready.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    user: User = None,
    github_user: Annotated[str | None, typer.Option(help="Whose SSH keys, unless the user's.")] = None,
    image: Annotated[str | None, typer.Option(help="A container image of yours.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, as often as needed.")] = None,
    command: Annotated[str | None, typer.Option(help="What to run instead of the image's own.")] = None,
    disk: Annotated[
        str | None, typer.Option(metavar="NAME", help="A disk of yours for the home; made if there is none.")
    ] = None,
    disk_size: Annotated[
        int | None, typer.Option(metavar="GB", help="How large to make it.", show_default=str(DEFAULT_SIZE_GB))
    ] = None,
    reservation_id: Annotated[
        str | None, typer.Option("--id", help="A UUID; sent twice it is one reservation.")
    ] = None,
    only_ask: Annotated[
        bool, typer.Option("--dry-run", help="Would it start now, and if not, why? Sends nothing.")
    ] = False,
    following: Annotated[bool, typer.Option("--wait", help="Follow it until it is active.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Reserve GPUs for some hours."""
    settings = read_settings()
    if disk_size is not None and disk is None:
        raise FleetError("--disk-size is for --disk NAME.")
    fields = {
        "reservation_id": reservation_id or str(uuid.uuid4()),
        "user_id": user or default_user(),
        "gpu_type": gpu_type,
        "gpu_count": gpus if gpus is not None else int(not gpu_type.startswith("cpu-")),
        "duration_hours": settings.default_hours if hours is None else hours,
        "name": name,
        "github_user": github_user,
        "dockerimage": image,
        "env_vars": _environment(env or []),
        "command": command,
        "disk_name": disk,
        "disk_size_gb": disk_size,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    message = check(CreateReservation, given)
    with connected(chosen_dsn(ctx.obj)) as conn:
        if only_ask:
            ask(conn, message, settings, as_json=as_json)
        else:
            _send(conn, message, Output(following, timeout, as_json))


def _environment(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise FleetError(f"--env takes NAME=VALUE, not {pair!r}")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _send(conn: Connection, message: CreateReservation, output: Output) -> None:
    row_id, known_letters = message.reservation_id, dead_letters(conn, RESERVATION, message.reservation_id)
    known = _known(conn, message)
    if known is None:
        put(conn, QUEUE, message)
    sent = known or f"sent {row_id}"
    if output.wait:
        err().print(sent, markup=False, emoji=False)
        wait(_followed(conn, row_id, known_letters), output)
    else:
        report(sent, row_id, {"reservation_id": row_id, "sent": known is None} if output.as_json else None)


def _known(conn: Connection, message: CreateReservation) -> str | None:
    """Why nothing needs to be sent: sent twice it is one reservation. None if it has to be.

    Raises:
        Refusal: the id is another user's reservation.
    """
    row_id = message.reservation_id
    row = reads.by_id(conn, row_id)
    if row is not None and row["user_id"] != message.user_id:
        raise Refusal(f"Reservation {row_id} exists already and is {row['user_id']}'s.")
    if row is not None:
        return f"{row_id} exists already and is {row['status']}: it is one reservation"
    if message.action in map(about.action_of, about.messages(conn, RESERVATION, row_id)):
        return f"{row_id} is in the queue already: it is one reservation"
    return None


def _followed(conn: Connection, row_id: str, known_letters: frozenset[int]) -> Followed:
    grace, short = timedelta(seconds=read_settings().expiry_grace_s), row_id[:8]
    return Followed(
        kind="reservation",
        look=lambda: look(conn, row_id, grace, known_letters),
        as_json=lambda last: _as_json(row_id, last),
        again=f"pgfleet watch {short}, or pgfleet cancel {short}",
    )


def _as_json(row_id: str, last: Look) -> dict[str, Any]:
    return {"reservation_id": row_id, "status": None, "rejected": last.rejected, **(last.row or {}), **last.more}


def look(conn: Connection, row_id: str, grace: timedelta, known_letters: frozenset[int] = frozenset()) -> Look:
    """How a reservation is. `grace` is how long after its expiry one gives its GPUs back.

    Dead letters that were known before it was sent say nothing of it.
    """
    row = reads.by_id(conn, row_id)
    if row is None:
        reason = rejection(conn, RESERVATION, row_id, ["create_reservation"], known_letters)
        return Look(None, UNTAKEN, explained=False) if reason is None else rejected(reason)
    now, line = reads.line_now(conn, row["gpu_type"])
    where = place(row, line, grace)
    return Look(
        row,
        f"{row['status']}: {story(row, where, now)}",
        result=str(row["ssh_command"]) if row["status"] == Status.ACTIVE else None,
        failed=row["status"] in FINAL,
        more=where.as_json() if where else {},
    )
