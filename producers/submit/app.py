"""What `pgfleet submit` can send: a command for each kind that is found, its own or the one that sends any message."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup

from pgfleet.producers.submit.commands import Version, command_of
from pgfleet.producers.submit.message import message_command
from pgfleet.producers.submit.terminal import ENDS
from pgfleet.schema.kinds import Contract, contracts


class Kinds(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: _command(contract) for name, contract in contracts().items()}


def _command(contract: Contract) -> Any:
    """That of the module `producers.submit.<kind>` where there is one."""
    place = f"pgfleet.producers.submit.{contract.name}"
    if find_spec(place) is None:
        return message_command(contract)
    own = import_module(place)
    # Unless it may do without: by a person's defaults, say.
    helps = not getattr(own, "WORKS_ALONE", False)
    return command_of(own.submit, contract.name, epilog=own.EXAMPLE, no_args_is_help=helps)


app = typer.Typer(cls=Kinds, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, epilog=ENDS)


@app.callback()
def submit(*, version: Version = False) -> None:  # it has ended by then
    """Send a message. A worker does the rest."""
