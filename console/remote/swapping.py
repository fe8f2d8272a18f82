"""Commands that work through the API have the options, the help and the example of those that work at the database."""

import copy
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import typer

from pgfleet.schema.errors import FleetError

F = TypeVar("F", bound=Callable[..., object])


def like(local: Callable[..., object]) -> Callable[[F], F]:
    """The function is called with the options of this command, whose names its parameters have."""

    def dressed(own: F) -> F:
        return wraps(local)(own)  # type: ignore[return-value]  # typer reads the signature of what is wrapped

    return dressed


def swapped(group: str, local: typer.Typer, own: Mapping[str, Callable[..., object]]) -> typer.Typer:
    """The same group of commands, each done by its function here; the others say that they need the database."""
    made = typer.Typer(cls=local.info.cls, add_completion=False)
    made.registered_callback = local.registered_callback
    for command in local.registered_commands:
        function = command.callback
        if function is None:
            continue
        name = command.name or function.__name__
        theirs = copy.copy(command)
        done = own.get("ls" if name == "list" else name) or _refusing(f"pgfleet {group} {name}")
        theirs.callback = like(function)(done)
        made.registered_commands.append(theirs)
    return made


def _refusing(name: str) -> Callable[..., object]:
    def refuse(**_: Any) -> None:
        raise needs_database(name)

    return refuse


def needs_database(name: str) -> FleetError:
    """What a command says that can't be done through the API."""
    return FleetError(f"{name} needs the database: set DATABASE_URL, and PGFLEET_URL to nothing.")
