"""How a function becomes a command, and the options that several commands have."""

import math
from collections.abc import Callable
from typing import Annotated, Any

import typer


def _say_version(wanted: bool) -> None:  # noqa: FBT001  # typer's callback
    from importlib import metadata  # noqa: PLC0415  # slow to import, and --help does without

    if wanted:
        typer.echo(f"pgfleet {metadata.version('pgfleet')}")
        raise typer.Exit


def _seconds(given: float | None) -> float | None:
    if given is not None and not 0 <= given < math.inf:
        raise typer.BadParameter(f"{given} is no number of seconds from 0 on.")
    return given


Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version, and end.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Timeout = Annotated[float | None, typer.Option(callback=_seconds, help="Stop waiting after so many seconds.")]
Following = Annotated[bool, typer.Option("--wait", help="Follow it until a worker has done it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask once more.")]
User = Annotated[str | None, typer.Option(help="Whose it is, unless $PGFLEET_USER or you.")]


def command_of(function: Callable[..., object], name: str | None = None, **options: Any) -> Any:
    """A command that is not in a group; `options` are those of typer's `command`."""
    single = typer.Typer(add_completion=False)
    single.command(name, **options)(function)
    return typer.main.get_command(single)
