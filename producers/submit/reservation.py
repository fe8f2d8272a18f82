"""The submit script: `python -m pgfleet.producers.submit reservation ...`, which `pgfleet submit` runs as well."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from pgfleet.producers.reservation import create_reservation
from pgfleet.producers.submit.database import chosen_dsn, connected
from pgfleet.producers.submit.follow.reservation import Target, follow
from pgfleet.producers.submit.terminal import EXIT_FAILED, err, out, print_json, telling
from pgfleet.producers.submit.wording import default_user, span
from pgfleet.schema.disk import DEFAULT_SIZE_GB
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.messages import BadMessage, explain
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import disk as disks
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.hold import Asked, with_disk
from pgfleet.schema.reads.place import DryRun, dry_run
from pgfleet.schema.reservation import CreateReservation
from pgfleet.schema.settings import Settings, read_settings

RESERVATION_EXAMPLE = "Example: pgfleet submit reservation --gpu-type h100 --gpus 2 --hours 4 --disk data --wait"


def submit_reservation(  # noqa: PLR0913  # one parameter an option
    ctx: typer.Context,
    *,
    gpu_type: Annotated[str, typer.Option(help="Such as h100; `pgfleet types` lists them.")],
    gpus: Annotated[int | None, typer.Option(help="1, 2, 4, 8 or 16; 0 for a cpu type.", show_default="1")] = None,
    hours: Annotated[float | None, typer.Option(help="How long, from when it is ready.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose it is, unless $PGFLEET_USER or you.")] = None,
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
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it is active.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Stop waiting after so many seconds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
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
    message = _checked(given)
    with connected(chosen_dsn(ctx.obj)) as conn:
        if only_ask:
            _ask(conn, message, settings, as_json=as_json)
            return
        target = _target(conn, message.reservation_id, settings)
        row_id, news = _send_once(conn, message)
        err().print(news or f"sent {row_id}", markup=False)
        if wait:
            _wait(conn, target, timeout, as_json=as_json)
        elif as_json:
            print_json({"reservation_id": row_id, "sent": news is None})
        else:
            out().print(row_id)


def _environment(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise FleetError(f"--env takes NAME=VALUE, not {pair!r}")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _send_once(conn: Connection, message: CreateReservation) -> tuple[str, str | None]:
    """Send it unless it is known already; the id, and what is known.

    Raises:
        Refusal: the id is another user's reservation.
    """
    row_id = message.reservation_id
    row = reads.by_id(conn, row_id)
    if row is not None and row["user_id"] != message.user_id:
        raise Refusal(f"Reservation {row_id} exists already and is {row['user_id']}'s.")
    if row is not None:
        return row_id, f"{row_id} exists already and is {row['status']}: it is one reservation"
    queued = (waiting["message"].get("action") for waiting in reads.messages(conn, row_id))
    if message.action in queued:
        return row_id, f"{row_id} is in the queue already: it is one reservation"
    return create_reservation(conn, **message.model_dump(exclude_none=True)), None


def _checked(fields: dict[str, Any]) -> CreateReservation:
    try:
        return CreateReservation.model_validate(fields)
    except ValidationError as error:
        raise BadMessage(explain(error)) from None


def _target(conn: Connection, reservation_id: str, settings: Settings) -> Target:
    """Noted before it is sent: only what dies from now on says anything about it."""
    known = frozenset(letter["dead_letter_id"] for letter in reads.letters(conn, reservation_id))
    return Target(reservation_id, timedelta(seconds=settings.expiry_grace_s), known)


def _wait(conn: Connection, target: Target, timeout_s: float | None, *, as_json: bool) -> None:
    """Follow it; prints the SSH command once it is active.

    Raises:
        Refusal: it ended otherwise, or the time is up; with the reason.
    """
    with telling() as tell:
        last = follow(conn, target, timeout_s, tell)
    row_id, row = target.reservation_id, last.row or {}
    if as_json:
        told = {"reservation_id": row_id, "status": None, "rejected": last.rejected, **row}
        print_json({**told, **(last.place.as_json() if last.place else {})})
    if last.refused:
        raise Refusal(last.text)
    if not last.settled:
        short = row_id[:8]
        raise Refusal(f"still {last.text}\nIt goes on: pgfleet watch {short}, or pgfleet cancel {short}")
    if not as_json:
        out().print(row["ssh_command"], markup=False)


def _ask(conn: Connection, message: CreateReservation, settings: Settings, *, as_json: bool) -> None:
    line = reads.lines(conn, [message.gpu_type]).get(message.gpu_type)
    gpu_type = reads.types(conn).get(message.gpu_type)
    grace = timedelta(seconds=settings.expiry_grace_s)
    answer = dry_run(message, gpu_type, line, settings.max_hours, grace)
    if message.disk_name is not None and line is not None:
        answer = _with_disk(conn, message, answer, line.now)
    eta_s = (answer.eta - line.now).total_seconds() if answer.eta and line else None
    if as_json:
        print_json(
            {
                "starts_now": answer.starts_now,
                "reason_code": answer.code,
                "reason": answer.reason,
                "ahead": answer.ahead,
                "eta": answer.eta,
            }
        )
    else:
        out().print(_answer(answer, eta_s), markup=False)
    if not answer.starts_now:
        raise typer.Exit(EXIT_FAILED)


def _with_disk(conn: Connection, message: CreateReservation, answer: DryRun, now: datetime) -> DryRun:
    """A disk that does not exist yet is no hindrance: it will be made."""
    found = disks.by_name(conn, message.user_id, message.disk_name or "")
    if found is not None:
        kept = timedelta(seconds=read_settings().disk_kept_s)
        return with_disk(answer, Asked(found, message.disk_size_gb, kept, now))
    size_gb = message.disk_size_gb or DEFAULT_SIZE_GB
    made = f"disk {message.disk_name} of {size_gb} GB will be made"
    return replace(answer, reason=f"{answer.reason}; {made}") if answer.starts_now else answer


def _answer(answer: DryRun, eta_s: float | None) -> str:
    if answer.starts_now:
        return f"would start now: {answer.reason}"
    if answer.code == "REJECTED":
        return f"would be rejected: {answer.reason}"
    eta = "unknown" if eta_s is None else span(eta_s)
    return f"would wait: {answer.code}: {answer.reason}; ETA {eta}"
