"""What is wrong with a message, in sentences that its sender understands, and which unknown fields are let pass."""

from collections.abc import Container, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError

from pgfleet.schema.nearest import did_you_mean
from pgfleet.schema.printable import printable

REASON_LIMIT = 600
PROBLEMS_LIMIT = 20
NAME_LIMIT = 60
# What older senders add to their messages, and what anybody may add.
LET_PASS = ("job_id", "username", "status", "created_at", "requested_at", "instance_type", "_metadata")
ADDED = "x_"

# By pydantic's name of the error; its figures are filled in.
SENTENCES = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "datetime_type": "must be a time, such as 2026-11-28T14:03:00Z",
    "timezone_aware": "must be a time with its zone, such as 2026-11-28T14:03:00Z",
    "date_type": "must be a day, such as 2026-11-28",
    "is_instance_of": "must be a {class}",
}

# Where in a message: names, and numbers in lists.
Place: TypeAlias = tuple[int | str, ...]


def is_let_pass(name: int | str) -> bool:
    """Whether a field that a message does not have is let pass."""
    return isinstance(name, str) and (name in LET_PASS or name.startswith(ADDED))


def strange_fields(error: ValidationError) -> Iterator[Place]:
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        if problem["type"] == "extra_forbidden":
            yield problem["loc"]


def without(value: Any, places: Container[Place], at: Place = ()) -> Any:
    """A body without the fields at these places."""
    if isinstance(value, Mapping):
        return {name: without(part, places, (*at, name)) for name, part in value.items() if (*at, name) not in places}
    if isinstance(value, (list, tuple)):
        return [without(part, places, (*at, index)) for index, part in enumerate(value)]
    return value


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """One line for all that is wrong with a message, field by field; knowing its type, also what was meant."""
    problems = islice(error.errors(include_url=False), PROBLEMS_LIMIT)
    return "; ".join(_sentence(problem, model) for problem in problems)[:REASON_LIMIT]


def _sentence(problem: Any, model: type[BaseModel] | None) -> str:
    where = ".".join(printable(part)[:NAME_LIMIT] for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where}: is not known; {_hint(problem['loc'], model)}".removesuffix("; ")
    words = SENTENCES.get(problem["type"])
    if problem["type"] == "string_too_short" and problem["ctx"]["min_length"] == 1:
        words = "must not be empty"
    text = (
        words.format(**{name: _short(value) for name, value in problem.get("ctx", {}).items()})
        if words
        else problem["msg"].removeprefix("Value error, ")
    )
    # A number is no secret.
    given = problem["input"] if problem["type"].startswith(("greater_than", "less_than")) else None
    shown = f"{text}, not {_short(given)}" if isinstance(given, (int, float)) else text
    return f"{where}: {shown}" if where else shown


def _short(value: Any) -> Any:
    """A number as people write it: 72, not 72.0."""
    return f"{value:.12g}" if isinstance(value, float) else value


def _hint(place: Place, model: type[BaseModel] | None) -> str:
    of = model
    for part in place[:-1]:
        of = _model_in(of.model_fields[part].annotation) if of and isinstance(part, str) else of
    return did_you_mean(printable(place[-1])[:NAME_LIMIT], of.model_fields) if of else ""


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The message that a field holds, or holds many of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
