"""The `pgfleet` command: what it can do. Each command is imported when it is run, so that --help is quick."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pgfleet.console.remote.choosing import HERE, SIGNING, THROUGH_THE_API, api_url
from pgfleet.producers.submit.commands import Version, command_of
from pgfleet.producers.submit.terminal import ENDS, run
from pgfleet.schema.errors import FleetError


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, and what it does in one sentence."""

    place: str
    does: str


COMMANDS = {
    "demo": Entry(
        "console.demo.command:demo", "Watch it work: 32 reservations and ten users, simulated outside, then checked."
    ),
    "login": Entry("console.remote.signing:login", "Log in to the HTTP API, so that commands need no database."),
    "logout": Entry("console.remote.signing:logout", "Forget the key of the HTTP API, and end its session."),
    "cells": Entry("console.remote.cells:cells", "Show all fleets that you are logged in to, side by side."),
    "up": Entry("console.local.up:up", "Run everything in this terminal until Ctrl-C."),
    "submit": Entry("producers.submit.app:app", "Send a message. A worker does the rest."),
    "ls": Entry("console.commands.listing:reservations", "List reservations."),
    "watch": Entry("console.commands.watch:watch", "Show the timeline of one reservation, and follow it."),
    "logs": Entry("console.commands.access.logs:logs", "Show what the pod of an ended reservation wrote last."),
    "ssh": Entry("console.commands.access.ssh:ssh", "Go into an active reservation, or print what ssh has to know."),
    "cancel": Entry("console.commands.requests:cancel", "End a reservation, whatever its state."),
    "extend": Entry("console.commands.requests:extend", "Give a reservation more hours."),
    "jupyter": Entry("console.commands.access.jupyter:app", "Jupyter of a reservation: on, off, and where it is."),
    "add-user": Entry("console.commands.access.sharing:add_user", "Let somebody else into a reservation."),
    "retry": Entry("console.commands.requests:retry", "Ask for the same again as an ended reservation."),
    "release": Entry("console.commands.release:release", "Let go of an ended reservation whose pod never goes."),
    "disk": Entry("console.commands.disk.show:app", "Persistent disks: what is on them stays when a reservation ends."),
    "types": Entry("console.commands.types:app", "GPU types: how many, how many are free, who waits; change them."),
    "lines": Entry("console.commands.lines:app", "Who waits for GPUs, in which order; how lines are ordered."),
    "nodes": Entry("console.commands.nodes.show:app", "The autoscaler's nodes, their pools and their configuration."),
    "clusters": Entry("console.commands.clusters:app", "Clusters of nodes: health, nodes, leaders."),
    "cluster": Entry("console.commands.clusters:cluster", "Show one cluster: its nodes, what to do, what happened."),
    "users": Entry("console.commands.users:app", "Hopsworks users: who is on which cluster, who waits and why."),
    "hopsworks": Entry("console.commands.hopsworks.show:app", "Hopsworks clusters: load, health, drain."),
    "usage": Entry("console.commands.usage:usage", "Show what users have used, and what they owe."),
    "policy": Entry("console.commands.policy:app", "How much one user may have: show, set and remove limits."),
    "keys": Entry("console.commands.people.keys:app", "API keys of people and services: make, list, revoke."),
    "accounts": Entry("console.commands.people.accounts:app", "Accounts of the API: roles, passwords, who is let in."),
    "subscribe": Entry(
        "console.commands.events.subscribing:subscribe", "Have events sent to an address, or to a chat."
    ),
    "unsubscribe": Entry("console.commands.events.subscribing:unsubscribe", "Have no more events sent."),
    "subscriptions": Entry(
        "console.commands.events.subscriptions:app", "Who is told of which events: list, test, resume, send again."
    ),
    "deliveries": Entry(
        "console.commands.events.delivered:deliveries", "What was delivered lately, how often tried, what was answered."
    ),
    "whoami": Entry("console.commands.whoami:whoami", "Show whom the database takes you for."),
    "pause": Entry("console.commands.pause:pause", "Hold a kind of messages back, or all deletions outside."),
    "resume": Entry("console.commands.pause:resume", "Let go what is paused."),
    "queues": Entry("console.commands.queues:queues", "Show how full the queues are."),
    "dead": Entry("console.commands.dead.show:app", "Messages that could not be handled: list, show, replay, discard."),
    "simulate": Entry(
        "console.simulate.command:app", "Heartbeats as of a fleet of any size; or waits with other GPUs."
    ),
    "serve": Entry("console.commands.running.serve:serve", "Serve the HTTP API."),
    "worker": Entry("console.commands.running.worker:worker", "Run the worker of a kind."),
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
        if args[0] in HERE or api_url() is None:
            ctx.obj = import_module("pgfleet.console.connection").database_url
            if args[0] in SIGNING:
                ctx.call_on_close(import_module("pgfleet.console.remote.client").close)
            return args[0], load(COMMANDS[args[0]]), args[1:]
        if args[0] not in THROUGH_THE_API:
            raise import_module("pgfleet.console.remote.swapping").needs_database(f"pgfleet {args[0]}")
        ctx.call_on_close(import_module("pgfleet.console.remote.client").close)
        if args[0] == "submit":
            ctx.obj = import_module("pgfleet.console.remote.commands.submit").There()
        return args[0], load(through_the_api(args[0])), args[1:]


def through_the_api(name: str) -> Entry:
    """Where the command is that does the same through the API."""
    return Entry(f"console.remote.commands.{THROUGH_THE_API[name]}", COMMANDS[name].does)


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
    epilog=f"Start with `pgfleet demo`, or with `pgfleet up` and a second terminal. {ENDS}",
)


@app.callback()
def pgfleet(*, version: Version = False) -> None:  # it has ended by then
    """A GPU fleet on a Postgres queue: reservations, nodes and clusters; workers; dead letters."""


def main() -> None:
    run(_command)


def _command(**how: Any) -> object:
    """Run what was typed; its exit code, where it says one.

    Raises:
        FleetError: it needs a package that is not installed; the text names the extra that brings it.
    """
    try:
        return app(**how)
    except ModuleNotFoundError as error:
        advice = import_module("pgfleet.console.extras").advice(error.name or "")
        if advice is None:
            raise
        raise FleetError(advice) from None


if __name__ == "__main__":
    main()
