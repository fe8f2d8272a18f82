"""`pgfleet types`: GPU types listed; added, switched on and off, and how many GPUs there are, by operators."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.types import note, type_table
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.nearest import meant
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import Line
from pgfleet.schema.reservation import is_gpu_type
from pgfleet.schema.rows.core import fetch, give_reason
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import read_settings
from pgfleet.schema.tables.gpu_types import gpu_types

MOST = 2**31 - 1
NAME_LENGTH = 100
# Who waits is counted, and not read.
FRONT = 1
_g = gpu_types.c

app = typer.Typer(cls=ListsByDefault, add_completion=False)
Given = Annotated[str, typer.Argument(metavar="TYPE", help="Such as h100.")]
Total = Annotated[int, typer.Option("--total", min=0, max=MOST, help="How many GPUs of it there are in all.")]


@app.callback(epilog="Example: pgfleet types set h100 --total 64")
def types() -> None:
    """GPU types: how many there are, how many are free, and how many wait. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet types ls --json")
def list_types(*, as_json: AsJson = False) -> None:
    """List GPU types: how many there are, how many are free, and how many wait."""
    with database() as conn:
        known = reads.types(conn)
        lines = reads.lines(conn, known, _grace(), FRONT)
    if as_json:
        print_json([_as_json(row, lines[name]) for name, row in known.items()])
    else:
        out().print(type_table(known, lines))


def _grace() -> timedelta:
    return timedelta(seconds=read_settings().expiry_grace_s)


def _as_json(row: dict[str, Any], line: Line) -> dict[str, Any]:
    return {
        **row,
        "free_gpus": line.free,
        "note": note(line),
        "waiting": line.number,
        "next_free_at": line.next_end,
    }


ADD_EXAMPLE = (
    "Example: pgfleet types add l40s --instance-type g6e.12xlarge --per-node 4 --cpus 48 --memory 384 --total 8"
)


@app.command("add", epilog=ADD_EXAMPLE, no_args_is_help=True)
def add(  # noqa: PLR0913  # one parameter an option
    given: Given,
    *,
    instance_type: Annotated[str, typer.Option(help="What its nodes are, such as g6e.12xlarge.")],
    per_node: Annotated[int, typer.Option(min=0, max=MOST, help="GPUs of a node; 0 for a cpu type.")],
    cpus: Annotated[int, typer.Option(min=1, max=MOST, help="CPUs of a node.")],
    memory: Annotated[int, typer.Option(metavar="GB", min=1, max=MOST, help="Memory of a node.")],
    total: Total = 0,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a GPU type known. Its nodes have the label GpuType=TYPE."""
    _check_new(given, instance_type, per_node, total)
    values = {
        "gpu_type": given,
        "instance_type": instance_type,
        "max_gpus": per_node,
        "max_per_node": per_node,
        "cpus": cpus,
        "memory_gb": memory,
        "total_cluster_gpus": total,
        "description": description,
    }
    with database() as conn, conn.transaction():
        if given in reads.types(conn):
            raise Refusal(f"There is a GPU type {given} already. See `pgfleet types`.")
        _give_reason(conn, f"added with {total} GPUs")
        fetch(conn, sa.insert(gpu_types).values(**values))
    print_result("gpu_type", given, f"is known, with {total} GPUs", as_json=as_json)


def _check_new(name: str, instance_type: str, per_node: int, total: int) -> None:
    if not is_gpu_type(name):
        raise FleetError("A GPU type is 1 to 50 small letters, digits, dots and dashes, such as h100 or cpu-arm.")
    if name.startswith("cpu-") != (per_node == 0):
        raise FleetError("--per-node is 0 for a type whose name begins with cpu-, and only for such.")
    if per_node == 0 and total:
        raise FleetError(f"--total: {name} has no GPUs.")
    if not instance_type.strip() or len(instance_type) > NAME_LENGTH or not instance_type.isprintable():
        raise FleetError(f"--instance-type takes 1 to {NAME_LENGTH} printable characters.")


@app.command("set", epilog="Example: pgfleet types set h100 --total 64", no_args_is_help=True)
def set_total(
    given: Given,
    *,
    total: Annotated[int | None, typer.Option(min=0, max=MOST, help="How many GPUs of it there are in all.")] = None,
    follow_nodes: Annotated[
        bool, typer.Option("--follow-nodes", help="As many as its ready nodes have, from now on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say how many GPUs of a type there are. No release, and no file of ours, changes that again.

    Fewer than are held is allowed: whoever has some keeps them, and nobody gets any until enough are given back.
    A type that follows its nodes has more when a node comes, and fewer when one goes, until you give a --total again.
    """
    if follow_nodes == (total is not None):
        raise FleetError("Give --total or --follow-nodes.")
    with database() as conn, conn.transaction():
        row = known_type(conn, given)
        if (total or follow_nodes) and not row["max_gpus"]:
            raise Refusal(f"{row['gpu_type']} has no GPUs.")
        (seen,) = _follow(conn, row) if total is None else _set(conn, row, total)
    _print_total(row["gpu_type"], seen, as_json=as_json)


def _follow(conn: Connection, row: Row) -> list[Row]:
    _give_reason(conn, f"total_cluster_gpus follows its nodes, from {row['total_cluster_gpus']} on")
    return _change(conn, row, {"follows_nodes": True})


def _set(conn: Connection, row: Row, total: int) -> list[Row]:
    _give_reason(conn, f"total_cluster_gpus from {row['total_cluster_gpus']} to {total}")
    return _change(conn, row, {"total_cluster_gpus": total, "follows_nodes": False})


def _print_total(name: str, seen: Row, *, as_json: bool) -> None:
    total, follows = seen.total_cluster_gpus, "follows its nodes: it " if seen.follows_nodes else ""
    text = f"{follows}has {total} GPUs in all, of which {seen.held_gpus} are held"
    print_result("gpu_type", name, text, as_json=as_json)
    if seen.held_gpus > total:
        less = seen.held_gpus - total
        err().print(f"That is fewer than are held. Nobody loses any, and nobody gets any until {less} are given back.")


@app.command("disable", epilog="Example: pgfleet types disable t4", no_args_is_help=True)
def disable(given: Given, *, as_json: AsJson = False) -> None:
    """Take no new reservations of a type. Who waits for it goes on waiting; who has one keeps it."""
    _switch(given, on=False, as_json=as_json)


@app.command("enable", epilog="Example: pgfleet types enable t4", no_args_is_help=True)
def enable(given: Given, *, as_json: AsJson = False) -> None:
    """Take reservations of a type again; who waits for it has a turn."""
    _switch(given, on=True, as_json=as_json)


def _switch(given: str, *, on: bool, as_json: bool) -> None:
    with database() as conn, conn.transaction():
        row = known_type(conn, given)
        name, word = row["gpu_type"], "on" if on else "off"
        changes = bool(row["is_active"]) != on
        if changes:
            _give_reason(conn, f"switched {word}")
            _change(conn, row, {"is_active": on})
        line = reads.lines(conn, [name], _grace(), FRONT)[name]
    waiting = f"; {line.number} wait for it" if line.number else ""
    print_result("gpu_type", name, f"is {'' if changes else 'already '}{word}{waiting}", as_json=as_json)


def known_type(conn: Connection, given: str) -> Row:
    """The type of this name, letter case aside.

    Raises:
        Refusal: there is none; the text names the nearest.
    """
    known: Mapping[str, Row] = reads.types(conn)
    name = given.strip().lower()
    if name not in known:
        raise Refusal(f"There is no GPU type {printable(given)}. {meant(name, known)}")
    return known[name]


def _give_reason(conn: Connection, what: str) -> None:
    """For the audit, which knows the login and the columns, not the person and the values."""
    give_reason(conn, f"{default_user()}: {what}")


def _change(conn: Connection, row: Row, values: Mapping[str, Any]) -> list[Row]:
    mine = sa.update(gpu_types).where(_g.gpu_type == row["gpu_type"])
    return fetch(conn, mine.values(**values).returning(_g.held_gpus, _g.total_cluster_gpus, _g.follows_nodes))
