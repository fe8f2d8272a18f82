"""What all messages have in common, and how a body of any kind is read."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, get_args
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from pgfleet.schema.errors import FleetError

M = TypeVar("M", bound="Message")

REASON_LIMIT = 600
JSON_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}


class BadMessage(FleetError):
    """A body that can't be understood; the text says what is wrong with which field."""


class Message(BaseModel):
    """Fields are strict, unknown ones are ignored: they stay in the queue's copy of the body."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


def _no_control_characters(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


class Sweep(Message):
    """The worker's own, sent by the clock: look for what nobody looks after any more."""

    action: Literal["sweep"] = "sweep"


def read_time(value: object) -> object:
    """Messages are JSON: their times are text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("must be a UUID") from None


Uuid = Annotated[str, AfterValidator(_uuid), Field(json_schema_extra={"format": "uuid"})]
Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Time = Annotated[datetime, BeforeValidator(read_time)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_no_control_characters)]


def by_action(*models: type[M]) -> dict[str, type[M]]:
    """Messages by the words that their `action` may be."""
    return {word: model for model in models for word in get_args(model.model_fields["action"].annotation)}


def read_message(body: Any, actions: Mapping[str, type[M]]) -> M:
    """The message that a body is, by its `action`.

    Raises:
        BadMessage: with a reason that a person understands.
    """
    if not isinstance(body, dict):
        raise BadMessage(f"the body is {_json_name(body)}, not an object")
    action = body.get("action")
    if not isinstance(action, str) or action not in actions:
        known = ", ".join(sorted(actions))
        raise BadMessage(f"action: {_shown(action)} is not known; known are {known}")
    try:
        return actions[action].model_validate(body)
    except ValidationError as error:
        raise BadMessage(explain(error)) from None


def explain(error: ValidationError) -> str:
    """One line for all that is wrong with a message, field by field."""
    parts = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {text}" if where else text)
    return "; ".join(parts)[:REASON_LIMIT]


def _json_name(body: Any) -> str:
    return "NULL" if body is None else JSON_NAMES.get(type(body), "something else")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return repr(value)[:60] if isinstance(value, (str, int, float, bool)) else _json_name(value)
