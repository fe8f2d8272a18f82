"""`pgfleet nodes config`: a node's configurations: shown, compared, set, and set again. For operators."""

import difflib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pgfleet.console.connection import database
from pgfleet.console.pictures.fleet import short
from pgfleet.console.pictures.parts import cell, styled, table
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.nodes import configurations
from pgfleet.schema.nodes.yaml_text import BYTES_LIMIT
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.row import Row

app = typer.Typer(add_completion=False, no_args_is_help=True)
Node = Annotated[int, typer.Argument(metavar="NODE", help="Its number.", min=1, max=2**31 - 1)]
File = Annotated[str, typer.Argument(metavar="FILE", help="A YAML file; - for standard input.")]
Which = Annotated[int | None, typer.Argument(metavar="ID", help="As `config ls` lists it; else the active one.", min=1)]
LINES = {"+": "green", "-": "red", "@": "cyan"}


@app.callback(epilog="Example: pgfleet nodes config ls 17")
def config() -> None:
    """A node's configurations: what it should run, and what it should run before. For operators."""


@app.command("ls", epilog="Example: pgfleet nodes config ls 17")
def list_configurations(
    node: Node,
    *,
    most: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List a node's configurations, the newest first: which is active, and which the node says that it runs."""
    with database() as conn:
        found = configurations.listing(conn, node, most=most)
    if as_json:
        print_json(found)
    elif not found:
        out().print(f"node {node} has no configuration: pgfleet nodes config set {node} FILE")
    else:
        out().print(_picture(found))


@app.command("show", epilog="Example: pgfleet nodes config show 17 4")
def show(node: Node, which: Which = None) -> None:
    """Print a configuration as it was given, letter by letter."""
    with database() as conn:
        text = _text(conn, node, which)
    sys.stdout.write(text)


@app.command("set", epilog="Example: pgfleet nodes config set 17 node-17.yaml")
def set_configuration(node: Node, file: File, *, as_json: AsJson = False) -> None:
    """Give a node a new configuration: it is active at once, and the node is told with its next heartbeat.

    It is YAML: one mapping, at most 256 KiB. `scaling_limits` of its `pools` are set.
    """
    new = configurations.read(_bytes(file))
    with database() as conn:
        kept = configurations.add(conn, node, new)
    if as_json:
        print_json({"node": node, "id": kept.id, "config_hash": kept.hash, "changed": kept.changed})
    else:
        result = "is active" if kept.changed else "was active already"
        out().print(f"configuration {kept.id} of node {node}, {short(kept.hash)}, {result}")


@app.command("activate", epilog="Example: pgfleet nodes config activate 17 4")
def activate(
    node: Node,
    which: Annotated[int, typer.Argument(metavar="ID", help="As `config ls` lists it.", min=1)],
    *,
    as_json: AsJson = False,
) -> None:
    """Make a configuration that a node had before the active one again, with its scaling limits."""
    with database() as conn:
        config_hash = configurations.activate(conn, node, which)
    print_result("id", which, f"is active ({short(config_hash)})", as_json=as_json)


@app.command("diff", epilog="Example: pgfleet nodes config diff 17 --file node-17.yaml")
def diff(
    node: Node,
    which: Which = None,
    *,
    file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A file to compare with; - for standard input.")
    ] = None,
) -> None:
    """Show what would change from the active configuration to another, or to a file.

    Without either, what the node has to change that runs another one than it should.
    """
    with database() as conn:
        active = _text(conn, node, None)
        if file is not None:
            before, after = ("active", active), (file, configurations.read(_bytes(file)).text)
        elif which is not None:
            before, after = ("active", active), (str(which), _text(conn, node, which))
        else:
            before, after = _running(conn, node), ("active", active)
    for line in _lines(before, after):
        out().print(styled(line[:1], LINES, line))


def _running(conn: Connection, node: int) -> tuple[str, str]:
    running = next((row["id"] for row in configurations.listing(conn, node, most=1000) if row["is_running"]), None)
    if running is None:
        raise Refusal(f"Node {node} runs none of its configurations, as far as it has said. See `pgfleet nodes`.")
    return f"{running}, which it runs", _text(conn, node, running)


def _lines(before: tuple[str, str], after: tuple[str, str]) -> list[str]:
    texts = (before[1].splitlines(), after[1].splitlines())
    return [printable(line) for line in difflib.unified_diff(*texts, before[0], after[0], lineterm="")]


def _text(conn: Connection, node: int, which: int | None) -> str:
    text = configurations.text_of(conn, node, which)
    if text is None:
        lacking = "no active configuration" if which is None else f"no configuration {which}"
        raise Refusal(f"Node {node} has {lacking}. See `pgfleet nodes config ls {node}`.")
    return text


def _bytes(file: str) -> bytes:
    """No more than tells that it is too large."""
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as given:
            return given.read(BYTES_LIMIT + 1)
    except OSError as error:
        raise FleetError(f"{printable(file)} can't be read: {error.strerror}.") from None


def _picture(found: list[Row]) -> Table:
    made = table("ID", "HASH", "BYTES", "GIVEN", "ACTIVE SINCE", "BY", "", right=("ID", "BYTES"), fold=("BY",))
    for row in found:
        word = " ".join(name for name in ("active", "running") if row[f"is_{name}"])
        since = row["activated_at"]
        made.add_row(
            *(cell(row["id"]), cell(short(row["config_hash"])), cell(row["bytes"])),
            cell(f"{row['created_at']:%Y-%m-%d %H:%M}"),
            cell(f"{since:%Y-%m-%d %H:%M}" if since else ""),
            cell(row["activated_by"]),
            cell(word, "green" if row["is_active"] else ""),
        )
    return made
