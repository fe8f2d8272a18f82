"""Sends a message of a kind that has no command of its own: its action, then its fields as NAME=VALUE."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pgfleet.producers.sending import check, put
from pgfleet.producers.submit.commands import AsJson, command_of
from pgfleet.producers.submit.database import chosen_dsn, connected
from pgfleet.producers.submit.following import report
from pgfleet.schema.errors import FleetError
from pgfleet.schema.kinds import Contract
from pgfleet.schema.messages import Message
from pgfleet.schema.nearest import meant
from pgfleet.schema.printable import printable

# What pydantic says of a text that is wrong as a text: as a number it would be no better.
TEXT_ERRORS = ("string", "value_error")


def message_command(contract: Contract) -> Any:
    """The command of one kind; its help lists the actions and their fields."""

    def submit(
        ctx: typer.Context,
        action: Annotated[str, typer.Argument(metavar="ACTION", help="What is asked for.")],
        fields: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="Text, or JSON.")] = None,
        *,
        as_json: AsJson = False,
    ) -> None:
        message = _message(contract, action, fields or [])
        with connected(chosen_dsn(ctx.obj)) as conn:
            number = put(conn, contract.queue, message)
        body = message.model_dump(mode="json", exclude_none=True)
        answer = {"queue": contract.queue, "msg_id": number, "message": body}
        report(f"sent {action} to {contract.queue} as message {number}", str(number), answer if as_json else None)

    return command_of(submit, contract.name, help=_help(contract), epilog=_example(contract), no_args_is_help=True)


def _help(contract: Contract) -> str:
    actions = "\n\n".join(f"{name}: {_fields(message)}" for name, message in contract.requests.items())
    return f"Send a message to the queue {contract.queue}. Its actions, and their fields:\n\n{actions}"


def _fields(message_type: type[Message]) -> str:
    """`lease_id, holder; optional: note`."""
    settable = _settable(message_type)
    optional = ", ".join(name for name, field in settable.items() if not field.is_required())
    needed = ", ".join(_required(message_type)) or "none is needed"
    return f"{needed}; optional: {optional}" if optional else needed


def _example(contract: Contract) -> str:
    action, message_type = next(iter(contract.requests.items()))
    fields = (f"{name}=..." for name in _required(message_type))
    return " ".join(("Example: pgfleet submit", contract.name, action, *fields))


def _required(message_type: type[Message]) -> list[str]:
    return [name for name, field in _settable(message_type).items() if field.is_required()]


def _settable(message_type: type[Message]) -> Mapping[str, FieldInfo]:
    return {name: field for name, field in message_type.model_fields.items() if name != "action"}


def _message(contract: Contract, action: str, pairs: Sequence[str]) -> Message:
    """The message that was typed.

    Raises:
        FleetError: there is no such action, or it has no such field; the text says what is known.
        BadMessage: a value can't be used.
    """
    message_type = contract.requests.get(action)
    if message_type is None:
        raise FleetError(f"{printable(action)} is no action of {contract.name}. {meant(action, contract.requests)}")
    given = _given(pairs)
    for unknown in sorted(given.keys() - _settable(message_type)):
        raise FleetError(f"{action} has no field {printable(unknown)}. {meant(unknown, _settable(message_type))}")
    return check(message_type, {"action": action, **_as_typed(message_type, given)})


def _given(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise FleetError(f"Fields are NAME=VALUE, not {pair!r}.")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _as_typed(message_type: type[Message], given: dict[str, str]) -> dict[str, Any]:
    """Text where the field takes text; else what the text is as JSON, such as 3, true or ["a"]."""
    try:
        message_type.model_validate(given)
    except ValidationError as error:
        wrong = {problem["loc"][0] for problem in error.errors() if not problem["type"].startswith(TEXT_ERRORS)}
        return {name: _from_json(text) if name in wrong else text for name, text in given.items()}
    return dict(given)


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
