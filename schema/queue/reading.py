"""JSON of messages, as it is read and written: what Python can't read is kept as its text."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

# Python's own limit would be met by whatever walks over a value, wherever its stack stands then.
DEEPEST = 100
# No column holds a larger number, and no float one that is much larger.
MOST_DIGITS = 100


@dataclass(frozen=True, slots=True)
class UnreadableJson:
    """JSON that the database takes and nobody can work with: nested too deep, or a number of too many digits."""

    text: str = field(repr=False)

    @property
    def is_object(self) -> bool:
        return self.text.startswith("{")

    def __str__(self) -> str:
        return f"unreadable JSON of {len(self.text)} characters, beginning {self.text[:60]}"


def jsonb(value: Any) -> Jsonb | None:
    """A value of JSON as the driver takes it; bytes are one that the database has written."""
    if isinstance(value, UnreadableJson):
        return Jsonb(value.text, dumps=_as_it_is)
    if isinstance(value, bytes):
        return Jsonb(value, dumps=_as_it_is)
    return None if value is None else Jsonb(value)


def _as_it_is(text: Any) -> Any:
    return text


def keep_json(data: str | bytes) -> bytes:
    """To be read later."""
    return data if isinstance(data, bytes) else data.encode()


def read_json(data: str | bytes) -> Any:
    """One message that can't be decoded must not take the others of its claim with it."""
    text = data if isinstance(data, str) else bytes(data).decode(errors="replace")
    if text == "[]":
        # What most columns of lists hold.
        return []
    try:
        value = _JSON.decode(text)
    except (RecursionError, ValueError):
        return UnreadableJson(text)
    deep = text.count("[") + text.count("{") > DEEPEST and is_deeper(value, DEEPEST)
    return UnreadableJson(text) if deep else value


def is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested in more levels than these."""
    level = [value]
    for _ in range(levels):
        level = [below for above in level for below in _below(above)]
        if not level:
            return False
    return True


def _below(value: Any) -> list[Any]:
    """What else may hold something, in a value."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in inside if isinstance(each, (dict, list))]


def read_document(text: str | bytes, deepest: int = DEEPEST) -> Any:
    """JSON that a stranger has written, as all its readers agree on it.

    Raises:
        SaidTwiceError: a name comes twice in an object.
        ValueError: it is no JSON, is nested too deep, or has a number that few can read.
    """
    try:
        value = json.loads(
            text, parse_constant=_refuse, parse_float=finite, parse_int=_whole, object_pairs_hook=_each_once
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if is_deeper(value, deepest):
        raise ValueError("it is nested too deep")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class SaidTwiceError(ValueError):
    """An object has two members with one name. `name`: that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:60]}: is there twice")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two members with one name, readers take either: what a proxy has checked may not be what is read.

    Raises:
        SaidTwiceError: there are two.
    """
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise SaidTwiceError(name)
        members[name] = value
    return members


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(text[:MOST_DIGITS])
    return int(text)


def finite(text: str) -> float:
    """JSON has numbers that Python's are too small for; as infinity they could not be written again."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


_JSON = json.JSONDecoder(parse_float=finite, parse_int=_whole)
