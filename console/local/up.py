"""`pgfleet up`: database, sandbox and workers in one terminal, with a view of what they do, until Ctrl-C."""

import os
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from pgfleet.console.commands.listing import reservation_table
from pgfleet.console.commands.queues import depth_table
from pgfleet.console.connection import database_url
from pgfleet.console.examples import example
from pgfleet.console.local.capacity import set_capacity
from pgfleet.console.local.children import Children, children, cluster_settings
from pgfleet.console.local.disks import put_back_disks
from pgfleet.console.local.first_key import HOURS, first_key, serving_dsn
from pgfleet.console.local.users import add_example_users
from pgfleet.console.pictures.types import type_table
from pgfleet.console.sandbox.box import Box
from pgfleet.producers.submit.database import connected
from pgfleet.producers.submit.terminal import out, terminated_like_interrupted
from pgfleet.schema.database.dsn import redact
from pgfleet.schema.database.holders import only_one
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.reservation import QUEUE
from pgfleet.schema.settings import Settings, read_settings

NODES = "h100:2x8,a100:1x8,t4:2x4,cpu-x86:1x0"
LOOK_S = 0.5
AWS_IS_SET = {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"}
LATEST = 12
# The workers of a second one would look for the same pods in a sandbox of their own.
RUNNING_ALREADY = "`pgfleet up` is running on this database already. Use it, or end it first."
# A new sandbox has none of the pods of the one before: their reservations are given up in seconds, not minutes.
SANDBOX_PACE = {"PGFLEET_POD_MISSING_GRACE_S": "10", "PGFLEET_WATCH_S": "5"}


@example("pgfleet up --nodes h100:2x8,t4:1x4")
def up(
    *,
    nodes: Annotated[str, typer.Option(help="The simulated fleet: type:nodes x GPUs.")] = NODES,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Reservation workers.")] = 2,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the dashboard in your browser.")] = False,
) -> None:
    """Run everything in this terminal until Ctrl-C: database, simulated cluster, workers, API, dashboard, and a view.

    With PGFLEET_KUBECONFIG the workers work on that cluster, and nothing is simulated; disks then need AWS_REGION.
    """
    embedded, dsn = read_settings().database_url is None, database_url()
    settings = read_settings()
    migrate(settings.direct_dsn())
    with (
        terminated_like_interrupted(),
        only_one(settings.direct_dsn(), "public.moves", RUNNING_ALREADY),
        connected(settings.direct_dsn()) as conn,
        _running(settings, nodes.split(","), workers) as (started, box),
    ):
        url = started.api({"DATABASE_URL": serving_dsn(conn, dsn)} if embedded else {})
        if box is not None:
            _fit(conn, nodes.split(","), dsn, box, embedded=embedded)
        _print_what_to_type(embedded=embedded)
        way_in = _print_api(conn, url, embedded=embedded)
        if open_browser:
            started.wait_for(url)
            webbrowser.open(way_in)
        try:
            _show(conn, settings, started)
        except KeyboardInterrupt:
            out().print("\nstopping: workers finish what they have claimed ...")
    out().print("stopped" + ("; the database is still running: `pgfleet db stop`" if embedded else ""))


@contextmanager
def _running(settings: Settings, nodes: list[str], workers: int) -> Iterator[tuple[Children, Box | None]]:
    with (
        tempfile.TemporaryDirectory(prefix="pgfleet-up-") as folder,
        children(Path(folder), dict(os.environ)) as started,
    ):
        box = started.sandbox(nodes) if settings.kubeconfig is None else None
        kept = {name: value for name, value in SANDBOX_PACE.items() if name not in os.environ}
        more = {**cluster_settings(box), **kept} if box is not None else {}
        has_aws = box is not None or bool(AWS_IS_SET & os.environ.keys())
        started.all_workers(more, reservation=workers, without=() if has_aws else ("disk",))
        yield started, box


def _fit(conn: Connection, nodes: list[str], dsn: str, box: Box, *, embedded: bool) -> None:
    if embedded:
        set_capacity(conn, nodes)
        add_example_users(conn, box)
        put_back_disks(conn, box)
        return
    out().print(
        f"Reservations in {redact(dsn)} are now started in a simulated cluster ({','.join(nodes)}).\n"
        "Its gpu_types are left as they are. Set PGFLEET_KUBECONFIG to work with a real one.",
        style="yellow",
    )


def _print_what_to_type(*, embedded: bool) -> None:
    where = "" if embedded else " (with the same DATABASE_URL)"
    out().print(f"In a second terminal{where}:", style="bold")
    out().print(
        "  pgfleet submit reservation --gpu-type h100 --gpus 2 --hours 0.05 --github-user ada --wait\n"
        "  pgfleet ls      pgfleet watch ID      pgfleet cancel ID      pgfleet queues      pgfleet dead\n"
        "  pgfleet submit reservation --gpu-type h100 --gpus 1 --disk data --github-user ada      pgfleet disk ls\n"
        "  pgfleet submit assignment --user ada@example.com --wait      pgfleet users      pgfleet hopsworks\n"
        "  pgfleet simulate fleet --nodes 100 --interval 5\n"
        "Ctrl-C ends it.\n"
    )


def _print_api(conn: Connection, url: str, *, embedded: bool) -> str:
    """The dashboard's address, and where there is a key for it, one that signs in."""
    out().print(
        f"The dashboard is at {url}; the HTTP API at {url}/v1 ({url}/openapi.json)", style="bold", soft_wrap=True
    )
    if not embedded:
        out().print(
            "  pgfleet accounts add you@example.org --role ADMIN makes an account for it, "
            "pgfleet keys create USER --hours 24 a key\n"
        )
        return url
    try:
        made = first_key(conn)
    except psycopg.Error as error:
        out().print(f"  There is no key for you: {error.diag.message_primary}\n", style="yellow", soft_wrap=True)
        return url
    # What is behind a # is sent to no server and written into no log.
    way_in = f"{url}/sign-in#key={made.key}"
    out().print(
        f"  {way_in}\n"
        f"  curl -H 'Authorization: Bearer {made.key}' {url}/v1/me\n"
        f"  The key is {printable(made.username)}'s, who is an ADMIN; it is shown once and lasts {HOURS} hours.\n",
        soft_wrap=True,
    )
    return way_in


def _show(conn: Connection, settings: Settings, started: Children) -> None:
    """Show what happens until interrupted, or until a child has ended."""
    if not out().is_terminal:
        _show_moves(conn, started)
    grace = timedelta(seconds=settings.expiry_grace_s)
    with Live(console=out(), auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(_picture(conn, grace), refresh=True)
            started.check()
            time.sleep(LOOK_S)


def _picture(conn: Connection, grace: timedelta) -> Group:
    types = {name: row for name, row in reads.types(conn).items() if row["total_cluster_gpus"]}
    rows = reads.listing(conn, reads.Filters(ended_too=True, most=LATEST))
    lines = reads.lines(conn, [*types, *(row["gpu_type"] for row in rows if row["gpu_type"])], grace)
    busy = [row for row in depths(conn) if row["queue"] == QUEUE]
    latest = reservation_table(rows, lines) if rows else Text("no reservations yet", style="dim")
    return Group(type_table(types, lines), Text(), depth_table(busy), Text(), latest)


def _show_moves(conn: Connection, started: Children) -> None:
    last = max((move["history_id"] for move in reads.moves_since(conn, 0)), default=0)
    while True:
        for move in reads.moves_since(conn, last):
            states = f"{move['from_status']} -> {move['to_status']}"
            out().print(f"{move['at']:%H:%M:%S} {move['short_id']} {states}: {printable(move['reason'])}")
            last = move["history_id"]
        started.check()
        time.sleep(LOOK_S)
