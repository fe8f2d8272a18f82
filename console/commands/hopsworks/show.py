"""`pgfleet hopsworks`: Hopsworks clusters listed and shown; what changes them is in `changes.py`."""

from typing import Annotated, Any

import typer

from pgfleet.console.commands.hopsworks import changes
from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.hopsworks import cluster_picture, list_picture
from pgfleet.console.showing import show
from pgfleet.producers.submit.commands import AsJson
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import assignment as users
from pgfleet.schema.reads import hopsworks as reads

FAILURES = 20

app = typer.Typer(cls=ListsByDefault, add_completion=False)


@app.callback(epilog="Example: pgfleet hopsworks")
def hopsworks() -> None:
    """Hopsworks clusters: load, health, drain. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet hopsworks ls --json")
def list_clusters(*, as_json: AsJson = False) -> None:
    """List clusters: their load, whether they answer, who waits and why."""
    with database() as conn:
        show(lambda: look(conn), list_picture, as_json=as_json)


def look(conn: Connection) -> dict[str, Any]:
    return {"clusters": reads.listing(conn), "waiting_for_any": reads.waiting(conn).get(None, {})}


@app.command("show", epilog="Example: pgfleet hopsworks show eu-1")
def show_cluster(
    given: changes.Given,
    *,
    most: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many users.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show one cluster: load, health, what is wrong, and its users."""
    with database() as conn:
        cluster_id = reads.resolve(conn, given)["id"]
        show(lambda: look_at(conn, cluster_id, most), cluster_picture, as_json=as_json)


def look_at(conn: Connection, cluster_id: str, most: int) -> dict[str, Any]:
    here = users.UserFilters(cluster_id=cluster_id, most=most)
    found = users.listing(conn, here)
    return {
        **(reads.by_id(conn, cluster_id) or {}),
        "now": about.now(conn),
        "waiting": reads.waiting(conn).get(cluster_id, {}),
        "failures": reads.failures(conn, cluster_id, FAILURES),
        "users": found,
        "more": max(sum(users.counts(conn, here).values()) - len(found), 0),
    }


app.command("add", epilog=changes.ADD_EXAMPLE, no_args_is_help=True)(changes.add)
app.command("rekey", epilog="Example: pgfleet hopsworks rekey eu-1")(changes.rekey)
app.command("drain", epilog="Example: pgfleet hopsworks drain eu-1 --move")(changes.drain)
app.command("open", epilog="Example: pgfleet hopsworks open eu-1")(changes.reopen)
