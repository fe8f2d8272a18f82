"""What all messages have in common, and how a body of any kind is read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, get_args
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from pgfleet.schema.errors import FleetError
from pgfleet.schema.explaining import explain, is_let_pass, strange_fields, without
from pgfleet.schema.nearest import did_you_mean
from pgfleet.schema.queue.reading import DEEPEST, MOST_DIGITS, UnreadableJson

M = TypeVar("M", bound="Message")

# The version of what senders and workers agree on, and the header that our producers put it into. It grows with each
# field or action that is added: a worker of before would refuse them, so it leaves newer messages to newer workers.
CONTRACT = 1
CONTRACT_HEADER = "pgfleet_contract"
# What a message waits for that a newer version has sent.
TOO_OLD = "WORKER_TOO_OLD"
ID_LIMIT = 255
BIGGEST_ID = 2**63
JSON_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}


class BadMessage(FleetError):
    """A body that can't be understood; the text says what is wrong with which field."""


class Message(BaseModel):
    """Fields are strict, and one that is not known is refused: silently ignored, it would be eight hours, not four."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


def matching(pattern: str, says: str) -> AfterValidator:
    """Text of this pattern, from `^` to `$`; `says` is what one that is not is told."""
    whole = re.compile(pattern.removeprefix("^").removesuffix("$"))

    def match(text: str) -> str:
        if whole.fullmatch(text) is None:
            raise ValueError(says)
        return text

    return AfterValidator(match)


def _not_blank(name: str) -> str:
    if not name.strip():
        raise ValueError("must not be blank")
    return name


def _no_control_characters(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


@dataclass(frozen=True, slots=True)
class OneLine:
    """Text that people can read. Its pattern names control characters; what else can not be printed fits no pattern."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(_no_control_characters, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"pattern": r"^[^\x00-\x1f\x7f-\x9f]*$", **handler(schema)}


class Sweep(Message):
    """The worker's own, sent by the clock: look for what nobody looks after any more."""

    action: Literal["sweep"] = "sweep"


def read_time(value: object) -> object:
    """Messages are JSON: their times are text."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a time, such as 2026-11-28T14:03:00Z") from None


def _with_zone(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("must have its zone, such as 2026-11-28T14:03:00Z")
    return at


def _uuid(text: str) -> str:
    found = _as_uuid(text)
    if found is None:
        raise ValueError("must be a UUID")
    return found


Uuid = Annotated[str, AfterValidator(_uuid), Field(json_schema_extra={"format": "uuid"})]
Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Time = Annotated[datetime, BeforeValidator(read_time)]
TimeWithZone = Annotated[datetime, BeforeValidator(read_time), AfterValidator(_with_zone)]
ONE_LINE = OneLine()
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    ONE_LINE,
    AfterValidator(_not_blank),
    Field(json_schema_extra={"pattern": r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"}),
]
# A row's ticket as its column holds it; NUDGE (-1) is of any.
TicketNumber = Annotated[int, Field(ge=-1, lt=2**31)]


def by_action(*models: type[M]) -> dict[str, type[M]]:
    """Messages by the words that their `action` may be."""
    return {word: model for model in models for word in get_args(model.model_fields["action"].annotation)}


def read_message(body: Any, actions: Mapping[str, type[M]]) -> M:
    """The message that a body is, by its `action`.

    Raises:
        BadMessage: with a reason that a person understands.
    """
    if isinstance(body, UnreadableJson):
        raise BadMessage(f"the body has a number of over {MOST_DIGITS} digits, or is nested more than {DEEPEST} deep")
    if not isinstance(body, dict):
        raise BadMessage(f"the body is {_json_name(body)}, not an object")
    action = body.get("action")
    if not isinstance(action, str) or action not in actions:
        if "action" not in body:
            raise BadMessage(f"action: is missing; {did_you_mean('', sorted(actions))}")
        hint = did_you_mean(action if isinstance(action, str) else "", sorted(actions))
        raise BadMessage(f"action: {_shown(action)} is not known; {hint}")
    return checked(actions[action], body)


def checked(model: type[M], fields: Mapping[str, Any]) -> M:
    """The message that these fields make; what older senders add is let pass.

    Raises:
        BadMessage: they make none; the text names each field, and what an unknown one may have meant.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        added = {place for place in strange_fields(error) if is_let_pass(place[-1])}
        if not added:
            raise BadMessage(explain(error, model)) from None
    try:
        return model.model_validate(without(fields, added))
    except ValidationError as error:
        raise BadMessage(explain(error, model)) from None


def id_in(body: Any, names: Sequence[str]) -> str | None:
    """The id that a refused body is about, by the first of these fields that holds one: so that its sender finds it."""
    given = [body[name] for name in names if name in body] if isinstance(body, dict) else []
    for value in given:
        if isinstance(value, str) and 0 < len(value) <= ID_LIMIT and value.isprintable():
            return _as_uuid(value) or value
        if type(value) is int and abs(value) < BIGGEST_ID:
            return str(value)
    return None


def _as_uuid(text: str) -> str | None:
    """As a row has it, however it was spelled."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _json_name(body: Any) -> str:
    return "NULL" if body is None else JSON_NAMES.get(type(body), "something else")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return repr(value)[:60] if isinstance(value, (str, int, float, bool)) else _json_name(value)
