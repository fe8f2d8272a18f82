"""The example that every command's --help ends with."""

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def example(line: str) -> Callable[[F], F]:
    """Note a command line to show; `console.main` gives it to typer."""

    def note(command: F) -> F:
        command.example = f"Example: {line}"  # type: ignore[attr-defined]
        return command

    return note
