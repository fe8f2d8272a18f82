"""`pgfleet submit reservation`: ask for GPUs, and follow the reservation until it is active."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from pgfleet.producers.defaults import defaults, either
from pgfleet.producers.moments import moment
from pgfleet.producers.reading.looking_ahead import refuse_hopeless
from pgfleet.producers.sending import check, put
from pgfleet.producers.submit.commands import AsJson, Timeout, User
from pgfleet.producers.submit.database import Elsewhere, chosen_dsn, connected
from pgfleet.producers.submit.dry_run import ask
from pgfleet.producers.submit.following import (
    UNTAKEN,
    Followed,
    Look,
    Output,
    dead_letters,
    follow,
    refused,
    rejected,
    rejection,
    report,
    wait,
    with_pause,
)
from pgfleet.producers.submit.options import OF_A_RESERVATION, named_as_options
from pgfleet.producers.submit.terminal import err, print_json, progress
from pgfleet.producers.submit.wording import default_user, story
from pgfleet.schema.container import nobodys_keys
from pgfleet.schema.disk import DEFAULT_SIZE_GB
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.reservation import RESERVATION
from pgfleet.schema.reservation import FINAL, QUEUE, CreateReservation, Retry, Status, retried_id
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings, read_settings

WORKS_ALONE = True
EXAMPLE = "Example: pgfleet submit reservation --gpu-type h100 --gpus 2 --hours 4 --github-user ada --disk data --wait"


def submit(  # noqa: PLR0913  # one parameter an option
    ctx: typer.Context,
    *,
    gpu_type: Annotated[str | None, typer.Option(help="Such as h100; `pgfleet types` lists them.")] = None,
    gpus: Annotated[
        int | None, typer.Option(help="1, 2, 4, 8 or 16, of each node; 0 for a cpu type.", show_default="1")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(help="A gang of 2, 3 or 4 nodes, which start and end together.", show_default="1")
    ] = None,
    hours: Annotated[float | None, typer.Option(help="How long, from when it is ready.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    user: User = None,
    github_user: Annotated[
        str | None, typer.Option(help="Whose SSH keys at GitHub let you in, unless yours are on record.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="A container image of yours.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, as often as needed.")] = None,
    command: Annotated[str | None, typer.Option(help="What to run instead of the image's own.")] = None,
    keep_entrypoint: Annotated[
        bool, typer.Option("--keep-entrypoint", help="The command is arguments of the image's own entrypoint.")
    ] = False,
    jupyter: Annotated[
        bool | None, typer.Option("--jupyter/--no-jupyter", help="With Jupyter; `pgfleet jupyter` says where.")
    ] = None,
    with_user: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Who else gets in, by name at GitHub; as often as needed.")
    ] = None,
    disk: Annotated[
        str | None, typer.Option(metavar="NAME", help="A disk of yours for the home; made if there is none.")
    ] = None,
    disk_size: Annotated[
        int | None, typer.Option(metavar="GB", help="How large to make it.", show_default=str(DEFAULT_SIZE_GB))
    ] = None,
    idle_minutes: Annotated[
        int | None, typer.Option(metavar="N", help="End it when all of its GPUs were idle for so long.")
    ] = None,
    reservation_id: Annotated[
        str | None, typer.Option("--id", help="A UUID; sent twice it is one reservation.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help='Book it for then, such as "tomorrow 9:00"; at most 14 days ahead.'),
    ] = None,
    only_ask: Annotated[
        bool, typer.Option("--dry-run", help="Would it start now, and if not, why? Sends nothing.")
    ] = False,
    following: Annotated[bool, typer.Option("--wait", help="Follow it until it is active.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Reserve GPUs for some hours. What is not given is what ~/.config/pgfleet/config.toml says, if anything."""
    settings, usual = read_settings(), defaults()
    there: Elsewhere | None = ctx.obj if hasattr(ctx.obj, "username") else None
    if disk_size is not None and disk is None:
        raise FleetError("--disk-size is for --disk NAME.")
    wanted = "".join((gpu_type or usual.gpu_type or "").lower().split())
    if not wanted:
        raise FleetError(f"--gpu-type: is missing; `pgfleet types` lists them.\n{EXAMPLE}")
    fields = {
        "reservation_id": reservation_id or str(uuid.uuid4()),
        "user_id": user or (default_user() if there is None else there.username()),
        "gpu_type": wanted,
        "gpu_count": either(gpus, usual.gpus_of(wanted)),
        "total_nodes": nodes,
        "duration_hours": either(hours, either(usual.hours, settings.default_hours)),
        "name": name,
        "github_user": either(github_user, usual.github_user if _is_own(user) else None),
        "dockerimage": either(image, usual.image),
        "env_vars": _environment(env or []),
        "command": command,
        "preserve_entrypoint": keep_entrypoint,
        "jupyter_enabled": either(jupyter, usual.jupyter),
        "secondary_users": either(with_user, usual.with_user),
        "disk_name": either(disk, usual.disk),
        "disk_size_gb": disk_size if disk is not None else usual.disk_size if usual.disk is not None else None,
        "start_at": None if at is None else moment(at, datetime.now(UTC).astimezone().replace(tzinfo=None)),
        "idle_minutes": idle_minutes,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    with named_as_options(OF_A_RESERVATION):
        message, output = check(CreateReservation, given), Output(following, timeout, as_json)
        if there is not None:
            _through(there, message, output, only_ask=only_ask)
            return
        with connected(chosen_dsn(ctx.obj)) as conn:
            if only_ask:
                ask(conn, message, settings, as_json=as_json)
                return
            _send(conn, message, settings, output)


def _through(there: Elsewhere, message: CreateReservation, output: Output, *, only_ask: bool) -> None:
    if only_ask:
        return there.ask(message, as_json=output.as_json)
    return there.send(message, follows=output.wait, timeout_s=output.timeout_s, as_json=output.as_json)


def _is_own(user: str | None) -> bool:
    """Whether it is for whom the file of defaults is: nobody else gets in by its keys."""
    return user is None or user == default_user()


def _environment(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise FleetError("--env takes NAME=VALUE.")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _send(conn: Connection, message: CreateReservation, settings: Settings, output: Output) -> None:
    row_id, known_letters = message.reservation_id, dead_letters(conn, RESERVATION, message.reservation_id)
    known = _known(conn, message)
    if known is None:
        refuse_hopeless(conn, message, settings)
        if message.github_user is None and reads.nobody_on_record(conn, message.user_id):
            err().print(f"{nobodys_keys(message.user_id)}; give --github-user NAME.", style="yellow")
        put(conn, QUEUE, message)
    sent = known or f"sent {row_id}"
    if output.wait:
        err().print(sent)
        wait(_followed(conn, row_id, Asked(row_id, known_letters=known_letters)), output)
    else:
        sent = with_pause(conn, "reservation", sent)
        report(sent, row_id, {"reservation_id": row_id, "sent": known is None} if output.as_json else None)


def send_retry(conn: Connection, message: Retry, output: Output) -> None:
    """Ask for the same again as an ended reservation, and follow the new one if that is wanted."""
    old_id, new_id = message.reservation_id, retried_id(message.reservation_id, message.request_id)
    asked = Asked(old_id, message.action, dead_letters(conn, RESERVATION, old_id))
    known = _retried(conn, message, new_id)
    if known is None:
        put(conn, QUEUE, message)
    sent = known or f"retry of {old_id} sent"
    if not output.wait:
        shown = {"reservation_id": new_id, "retried_from": old_id, "sent": known is None}
        report(with_pause(conn, "reservation", sent), new_id, shown if output.as_json else None)
        return
    err().print(sent)
    try:
        wait(_followed(conn, new_id, asked), output)
    finally:
        new = reads.by_id(conn, new_id)
        if new is not None and new["warning"]:
            err().print(printable(new["warning"]))


def _retried(conn: Connection, message: Retry, new_id: str) -> str | None:
    """Why nothing needs to be sent: the same retry twice is one reservation. None if it has to be."""
    row = reads.by_id(conn, new_id)
    if row is not None:
        another = (
            "--request-id NAME asks for another"
            if row["status"] not in FINAL
            else f"pgfleet retry {reads.short(conn, new_id)}"
        )
        return f"retried already, as {new_id}, which is {row['status']}: it is one reservation ({another})"
    waiting = about.messages(conn, RESERVATION, message.reservation_id)
    if any(about.action_of(each) == message.action and _request_of(each) == message.request_id for each in waiting):
        return f"a retry of {message.reservation_id} is in the queue already: it is one reservation"
    return None


def _request_of(message: Row) -> object:
    """The body is an object: it has an action."""
    return message["message"].get("request_id")


@dataclass(frozen=True, slots=True)
class Asked:
    """The message that makes a row: of which row it is, and which dead letters of that were known before."""

    row_id: str
    action: str = "create_reservation"
    known_letters: frozenset[int] = frozenset()


def _known(conn: Connection, message: CreateReservation) -> str | None:
    """Why nothing needs to be sent: sent twice it is one reservation. None if it has to be.

    Raises:
        Refusal: the id is another user's reservation.
    """
    row_id = message.reservation_id
    row = reads.by_id(conn, row_id)
    if row is not None and row["user_id"] != message.user_id:
        raise Refusal(f"Reservation {row_id} exists already and is {printable(row['user_id'])}'s.")
    if row is not None:
        return f"{row_id} exists already and is {row['status']}: it is one reservation"
    if message.action in map(about.action_of, about.messages(conn, RESERVATION, row_id)):
        return f"{row_id} is in the queue already: it is one reservation"
    return None


def _followed(conn: Connection, row_id: str, asked: Asked) -> Followed:
    grace, short = timedelta(seconds=read_settings().expiry_grace_s), reads.short(conn, row_id)
    return Followed(
        conn=conn,
        kind="reservation",
        look=lambda: look(conn, row_id, grace, asked),
        as_json=lambda last: _as_json(row_id, last),
        again=f"pgfleet watch {short}, or pgfleet cancel {short}",
    )


def awaited(conn: Connection, row_id: str, output: Output) -> Row | None:
    """The row of what was sent, as soon as a worker has made it; where that is not waited for, how it is now is shown.

    Raises:
        Refusal: it was rejected; with the reason.
    """

    def see() -> Look:
        row = reads.by_id(conn, row_id)
        if row is not None:
            return Look(row, "", result=row_id)
        reason = refused(conn, RESERVATION, row_id)
        return Look(None, UNTAKEN, explained=False) if reason is None else rejected(reason)

    with progress() as show:
        last = follow(see, None if output.wait else 0, show, "reservation")
    if last.row is None and output.as_json:
        print_json(_as_json(row_id, last))
    if last.failed:
        raise Refusal(f"{row_id} was {last.text}")
    return last.row


def _as_json(row_id: str, last: Look) -> dict[str, Any]:
    return {"reservation_id": row_id, "status": None, "rejected": last.rejected, **(last.row or {}), **last.more}


def look(conn: Connection, row_id: str, grace: timedelta, asked: Asked | None = None) -> Look:
    """How a reservation is. `grace` is how long after its expiry one gives its GPUs back.

    Dead letters that were known before it was sent say nothing of it.
    """
    row = reads.by_id(conn, row_id)
    if row is None:
        asked = asked or Asked(row_id)
        reason = rejection(conn, RESERVATION, asked.row_id, [asked.action], asked.known_letters)
        return Look(None, UNTAKEN, explained=False) if reason is None else rejected(reason)
    now, where = reads.place_now(conn, row, grace)
    return Look(
        row,
        f"{row['status']}: {story(row, where, now)}",
        result=str(row["ssh_command"]) if row["status"] == Status.ACTIVE else None,
        failed=row["status"] in FINAL,
        more=where.as_json() if where else {},
    )
