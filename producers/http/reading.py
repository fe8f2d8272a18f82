"""What a request says, checked against the models of its endpoint."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from pgfleet.schema.errors import FleetError
from pgfleet.schema.explaining import SENTENCES, explain
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.printable import UNSTORABLE
from pgfleet.schema.queue.reading import SaidTwiceError, read_document

KEY_LIMIT = 200
MOST_PARAMETERS = 50
# Up to here each whole number is one of its own as a float.
EXACT = 2**53
# Pydantic's names of the mistakes that it overlooks unless it is strict.
OVERLOOKED = ("int_type", "float_type", "bool_type")


class UnsupportedError(FleetError):
    """The body is no JSON by its own words."""


def read_body(model: type[BaseModel] | None, body: bytes, headers: Mapping[str, str]) -> BaseModel | None:
    """The body as its model; an absent one is an empty object.

    Raises:
        BadMessage: it makes none; the text names each field.
        UnsupportedError: it is not JSON, as its Content-Type says; or it is compressed.
    """
    if model is None:
        if body.strip():
            raise BadMessage("the body: none is taken here")
        return None
    if body and headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise UnsupportedError("the body must not be compressed: no Content-Encoding is taken")
    if body.strip() and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedError("the body is JSON: Content-Type: application/json")
    given = _whole_numbers(_object(body))
    made = model_of(model, given)
    _refuse_other_types(model, given)
    return made


def _object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode() if body.strip() else "{}"
    except UnicodeDecodeError:
        raise BadMessage("the body is not UTF-8") from None
    try:
        value = read_document(text)
    except SaidTwiceError as error:
        raise BadMessage(str(error)) from None
    except ValueError:
        raise BadMessage("the body is no JSON that can be read") from None
    if not isinstance(value, dict):
        raise BadMessage("the body is not an object")
    return value


def _whole_numbers(value: Any) -> Any:
    """With 2.0 as 2: to JSON they are one number, and to the schema both are an `integer`."""
    if type(value) is float and value.is_integer() and abs(value) <= EXACT:
        return int(value)
    if isinstance(value, dict):
        return {name: _whole_numbers(part) for name, part in value.items()}
    return [_whole_numbers(part) for part in value] if isinstance(value, list) else value


def _refuse_other_types(model: type[BaseModel], given: Mapping[str, Any]) -> None:
    """As numbers pydantic takes `"4"` and `true` besides, and as `true` 1 and `"yes"`: to the schema they are none."""
    try:
        model.model_validate(given, strict=True)
    except ValidationError as error:
        others = [each for each in error.errors() if each["type"] in OVERLOOKED]
        if others:
            said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {SENTENCES[each['type']]}" for each in others)
            raise BadMessage(said) from None


def read_query(model: type[BaseModel] | None, raw: bytes) -> BaseModel | None:
    """The parameters as their model; each may be there once, and none that is not known.

    Raises:
        BadMessage: they make none; the text names each.
    """
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except (UnicodeDecodeError, ValueError):
        raise BadMessage("the parameters can't be read") from None
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise BadMessage(f"{name}: is there twice")
        given[name] = value
    if model is None:
        if given:
            raise BadMessage(f"{next(iter(given))}: no parameter is known here")
        return None
    return model_of(model, given)


def model_of(model: type[BaseModel], given: Mapping[str, Any]) -> BaseModel:
    """Raises: BadMessage."""
    refuse_half_letters(given)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise BadMessage(explain(error, model)) from None


def refuse_half_letters(value: Any) -> None:
    """PostgreSQL stores no NUL and no half of a surrogate pair.

    Raises:
        BadMessage: there is one somewhere.
    """
    for text in _texts(value):
        if UNSTORABLE.search(text):
            raise BadMessage("text must not contain NUL or half characters")


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield str(name)
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The client's Idempotency-Key, as its IETF draft has it: a string, in quotes or without.

    Raises:
        BadMessage: it can't be used.
    """
    given = headers.get("idempotency-key")
    if given is None:
        return None
    key = given.strip().removeprefix('"').removesuffix('"')
    if not 0 < len(key) <= KEY_LIMIT or not key.isascii() or not key.isprintable():
        raise BadMessage(f"Idempotency-Key: must be 1 to {KEY_LIMIT} printable ASCII characters")
    return key
