"""`pgfleet disk`: persistent disks listed and shown, operations followed. What changes them is in `changes.py`."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from pgfleet.console.commands.disk import changes
from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.disk import disk_picture, list_picture, quarantine_picture
from pgfleet.console.showing import show
from pgfleet.producers.submit.commands import AsJson, Timeout, User
from pgfleet.producers.submit.disk import wait_for
from pgfleet.producers.submit.following import Output
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import disk as reads
from pgfleet.schema.reads import operation as operations
from pgfleet.schema.reads.hold import purge_date
from pgfleet.schema.settings import read_settings

app = typer.Typer(cls=ListsByDefault, add_completion=False)


@app.callback(epilog="Example: pgfleet disk create data --size 200")
def disk() -> None:
    """Persistent disks: what is on them stays when a reservation ends. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet disk ls --user ada")
def list_disks(
    *,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    lost_too: Annotated[bool, typer.Option("--all", help="Those that are purged, or could not be made, too.")] = False,
    most: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 200,
    as_json: AsJson = False,
) -> None:
    """List disks: how large, in use by whom, their snapshots, and what they wait for."""
    with database() as conn:
        show(lambda: look(conn, user, lost_too=lost_too, most=most), list_picture, as_json=as_json)


def look(conn: Connection, user: str | None, *, lost_too: bool, most: int) -> dict[str, Any]:
    found = reads.listing(conn, user, lost_too=lost_too, most=most)
    return {"now": about.now(conn), "disks": [_with_purge_date(row) for row in found]}


def _with_purge_date(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "purge_date": purge_date(row, timedelta(seconds=read_settings().disk_kept_s))}


@app.command("show", epilog="Example: pgfleet disk show data")
def show_disk(name: changes.Name, *, user: User = None, as_json: AsJson = False) -> None:
    """Show one disk: its snapshots, what was asked of it last, and what happened."""
    owner = user or default_user()
    with database() as conn:
        show(lambda: look_at(conn, name, owner), disk_picture, as_json=as_json)


def look_at(conn: Connection, name: str, owner: str) -> dict[str, Any]:
    row = _with_purge_date(reads.resolve(conn, name, owner))
    return {
        **row,
        "now": about.now(conn),
        "snapshots": reads.snapshots(conn, row["disk_id"]),
        "operations": operations.of_disk(conn, row),
        "history": about.history(conn, reads.DISK, [row["disk_id"]]),
    }


@app.command("operation", epilog="Example: pgfleet disk operation 3f2a9c1e-5d0b-4b7e-8a34-0c9f2b6d7e11")
def operation(
    given: Annotated[str, typer.Argument(metavar="ID", help="An operation's id, or the beginning of it.")],
    *,
    user: User = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Follow an operation until it is completed or failed; Ctrl-C only ends the following."""
    with database() as conn:
        operation_id = operations.resolve(conn, given, user or default_user())
        wait_for(conn, operation_id, Output(wait=True, timeout_s=timeout, as_json=as_json))


@app.command("quarantine", epilog="Example: pgfleet disk quarantine --json")
def quarantine(
    *,
    gone_too: Annotated[bool, typer.Option("--all", help="What AWS no longer has, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List volumes and snapshots that AWS has and no row accounts for. Nothing deletes them but you."""
    with database() as conn:
        show(
            lambda: {"now": about.now(conn), "resources": reads.quarantine(conn, gone_too=gone_too)},
            quarantine_picture,
            as_json=as_json,
        )


app.command("create", epilog="Example: pgfleet disk create data --size 200 --wait")(changes.create)
app.command("snapshot", epilog="Example: pgfleet disk snapshot data --wait")(changes.snapshot)
app.command("delete", epilog="Example: pgfleet disk delete data")(changes.delete)
app.command("undelete", epilog="Example: pgfleet disk undelete data")(changes.undelete)
app.command("clone", epilog="Example: pgfleet disk clone data data-2 --wait")(changes.clone)
app.command("restore", epilog="Example: pgfleet disk restore data 9b1c")(changes.restore)
app.command("unlock", epilog="Example: pgfleet disk unlock data")(changes.unlock)
