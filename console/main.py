"""The `pgfleet` command: what it can do. Each command is imported when it is run, so that --help is quick."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pgfleet.producers.submit.commands import command_of
from pgfleet.producers.submit.terminal import run
from pgfleet.schema.errors import FleetError


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, and what it does in one sentence."""

    place: str
    does: str


COMMANDS = {
    "demo": Entry(
        "console.demo.command:demo", "Watch it work: 26 reservations and ten users, simulated outside, then checked."
    ),
    "up": Entry("console.local.up:up", "Run everything in this terminal until Ctrl-C."),
    "submit": Entry("producers.submit.app:app", "Send a message. A worker does the rest."),
    "ls": Entry("console.commands.listing:reservations", "List reservations."),
    "watch": Entry("console.commands.watch:watch", "Show the timeline of one reservation, and follow it."),
    "cancel": Entry("console.commands.requests:cancel", "End a reservation, whatever its state."),
    "extend": Entry("console.commands.requests:extend", "Give a reservation more hours."),
    "disk": Entry("console.commands.disk.show:app", "Persistent disks: what is on them stays when a reservation ends."),
    "types": Entry("console.commands.listing:types", "List GPU types: how many, how many are free, who waits."),
    "nodes": Entry("console.commands.nodes:nodes", "List the autoscaler's nodes, their pools and their configuration."),
    "clusters": Entry("console.commands.clusters:clusters", "List clusters: health, nodes, leaders."),
    "cluster": Entry("console.commands.clusters:cluster", "Show one cluster: its nodes, what to do, what happened."),
    "users": Entry("console.commands.users:app", "Hopsworks users: who is on which cluster, who waits and why."),
    "hopsworks": Entry("console.commands.hopsworks.show:app", "Hopsworks clusters: load, health, drain."),
    "usage": Entry("console.commands.usage:usage", "Show what users have used, and what they owe."),
    "queues": Entry("console.commands.queues:queues", "Show how full the queues are."),
    "dead": Entry("console.commands.dead:app", "Messages that could not be handled: list, show, replay, discard."),
    "simulate": Entry("console.simulate.command:app", "Send heartbeats as a fleet of any size would, with its faults."),
    "worker": Entry("console.commands.worker:worker", "Run the worker of a kind."),
    "doctor": Entry("console.commands.doctor:doctor", "Examine the database: each finding with what to do."),
    "db": Entry("console.commands.database:db", "The database: its URL, its state, stop it."),
    "migrate": Entry("console.commands.database:migrate_command", "Bring the database to what this version needs."),
}


class Commands(TyperGroup):
    """Knows its commands by name; a command itself is loaded when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=entry.does) for name, entry in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args[0] not in COMMANDS:
            return super().resolve_command(ctx, args)
        command = load(COMMANDS[args[0]])
        ctx.obj = import_module("pgfleet.console.connection").database_url
        return args[0], command, args[1:]


def load(entry: Entry) -> Any:
    """Import a command: a typer application, or a function that is one command."""
    module, _, name = entry.place.partition(":")
    found = getattr(import_module(f"pgfleet.{module}"), name)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    return command_of(found, epilog=getattr(found, "example", None))


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Start with `pgfleet demo`, or with `pgfleet up` and a second terminal.",
)


@app.callback()
def pgfleet() -> None:
    """A GPU fleet on a Postgres queue: reservations, nodes and clusters; workers; dead letters."""


def main() -> None:
    run(_command)


def _command() -> None:
    """Run what was typed.

    Raises:
        FleetError: it needs a package that is not installed; the text names the extra that brings it.
    """
    try:
        app()
    except ModuleNotFoundError as error:
        advice = import_module("pgfleet.console.extras").advice(error.name or "")
        if advice is None:
            raise
        raise FleetError(advice) from None


if __name__ == "__main__":
    main()
