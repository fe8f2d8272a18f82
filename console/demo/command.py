"""`pgfleet demo`: the main job from end to end, in a database of its own, on a simulated fleet, then checked."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from pgfleet.console.demo import users as demo_users
from pgfleet.console.demo.check import check
from pgfleet.console.demo.disks import SNAPSHOT_S
from pgfleet.console.demo.story import NODES, Reaction, Story, story
from pgfleet.console.demo.view import Scene, Show, stage
from pgfleet.console.examples import example
from pgfleet.console.local import embedded
from pgfleet.console.local.capacity import set_capacity
from pgfleet.console.local.children import Children, children, cluster_settings
from pgfleet.producers.submit.database import connected
from pgfleet.producers.submit.terminal import EXIT_FAILED, err, out, print_json, terminated_like_interrupted
from pgfleet.schema.database.dsn import at_database, url_of
from pgfleet.schema.database.holders import only_one
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reservation import FINAL

DATABASE = "pgfleet_demo"
RUNNING_ALREADY = "Another demo is running on this server. Wait until it has ended."
LIMIT_S = 180.0
LOOK_S = 0.15
WORKERS = 2
# Days as seconds: what takes minutes in production takes moments here.
PACE = {
    "PGFLEET_BACKOFF_S": "0.5",
    "PGFLEET_EXPIRY_GRACE_S": "0.5",
    "PGFLEET_IMAGE_PULL_S": "3",
    "PGFLEET_LINE_RECHECK_S": "2",
    "PGFLEET_MAY_HEAL_S": "1",
    "PGFLEET_POD_POLL_S": "0.3",
    "PGFLEET_SNAPSHOT_POLL_S": "0.3",
    "PGFLEET_TEARDOWN_POLL_S": "0.3",
    "PGFLEET_UNKNOWN_ROW_S": "2",
    "PGFLEET_UNSCHEDULABLE_S": "3",
    "PGFLEET_VOLUME_POLL_S": "0.3",
    "PGFLEET_WARNINGS_MIN": "1",
    "PGFLEET_WATCH_S": "0.5",
}


@example("pgfleet demo --json | tail -1")
def demo(
    *, as_json: Annotated[bool, typer.Option("--json", help="A summary in JSON as the last line.")] = False
) -> None:
    """Run 32 reservations, a disk and ten users through workers on a simulated fleet; then check that all is true."""
    console = err() if as_json else out()
    with (
        terminated_like_interrupted(),
        _database() as dsn,
        tempfile.TemporaryDirectory(prefix="pgfleet-demo-") as folder,
        connected(dsn) as conn,
        children(Path(folder), _environment(dsn)) as started,
    ):
        box = started.sandbox(NODES, ready_delay_s=0.4, termination_delay_s=0.2, aws_snapshot=SNAPSHOT_S)
        set_capacity(conn, NODES)
        demo_users.arrive(conn, box)
        started.all_workers(cluster_settings(box), reservation=WORKERS)
        plot = story()
        with stage(console, plot.planned) as show:
            scene = _play(conn, plot, started, show)
        claims, numbers = check(conn, box, plot, scene)
    _print_summary(claims, numbers, dsn, as_json=as_json)


@contextmanager
def _database() -> Iterator[str]:
    """A new database on the embedded server; it stays, to be looked at."""
    server = embedded.start(embedded.default_data_dir())
    # A table that every database has, and only a superuser may write.
    with only_one(server, "pg_catalog.pg_description", RUNNING_ALREADY), open_session(server, autocommit=True) as admin:
        admin.execute("drop database if exists pgfleet_demo with (force)")
        admin.execute("create database pgfleet_demo")
        dsn = url_of(at_database(server, DATABASE))
        migrate(dsn)
        yield dsn


def _environment(dsn: str) -> dict[str, str]:
    """The children's: nothing that whoever runs the demo has set for their own workers."""
    ours = ("PGFLEET_", "DATABASE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "DATABASE_URL": dsn, **PACE}


def _play(conn: Connection, plot: Story, started: Children, show: Show) -> Scene:
    began = time.monotonic()
    for send in plot.first:
        send(conn)
    reactions, left = list(plot.reactions), False
    while True:
        scene = _look(conn, time.monotonic() - began)
        show(scene)
        reactions = _react(conn, scene, reactions)
        left = left or demo_users.leave(conn)
        if not reactions and _over(plot, scene) and demo_users.settled(conn):
            return scene
        if scene.seconds > LIMIT_S:
            return scene
        started.check()
        time.sleep(LOOK_S)


def _look(conn: Connection, seconds: float) -> Scene:
    # Rows first: of a row that is over, the history read after it is whole.
    rows = reads.listing(conn, reads.Filters(ended_too=True))
    moves = reads.moves_since(conn, 0)
    scene = Scene({row["reservation_id"]: row for row in rows}, reads.types(conn), seconds=seconds)
    for move in moves:
        scene.history[move["row_id"]].append(move)
    return scene


def _react(conn: Connection, scene: Scene, reactions: list[Reaction]) -> list[Reaction]:
    """Do what is due; returns what is not yet."""
    later = []
    for reaction in reactions:
        if _is_due(reaction, scene):
            reaction.act(conn)
        else:
            later.append(reaction)
    return later


def _is_due(reaction: Reaction, scene: Scene) -> bool:
    rows = [scene.rows.get(one.reservation_id) for one in (reaction.planned, *reaction.beside)]
    if not all(row is not None and row["status"] == reaction.status for row in rows):
        return False
    return not reaction.warned or bool(rows[0] and rows[0]["warnings_sent"])


def _over(plot: Story, scene: Scene) -> bool:
    rows = [scene.rows.get(each) for one in plot.planned for each in one.ids]
    return all(row and row["status"] in FINAL and row["reservation_ended"] for row in rows)


def _print_summary(claims: dict[str, tuple[str, ...]], numbers: dict[str, Any], dsn: str, *, as_json: bool) -> None:
    console = err() if as_json else out()
    console.print()
    for text, against in claims.items():
        console.print("NOT SO" if against else "true  ", style="red" if against else "green", end="  ")
        console.print(text)
        for fact in against:
            console.print(f"        {fact}")
    ended = ", ".join(f"{number} {status}" for status, number in numbers["final"].items())
    console.print(f"\n{numbers['submitted']} reservations in {numbers['seconds']} s: {ended}")
    console.print(f"To look at it:\n  DATABASE_URL='{dsn}' pgfleet ls --all", soft_wrap=True)
    if as_json:
        print_json(numbers)
    if any(claims.values()):
        raise typer.Exit(EXIT_FAILED)
