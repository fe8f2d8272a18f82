"""The fields that Kubernetes knows, by the kind of object: others are dropped, and what has another type is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

TYPES = Path(__file__).with_name("types.json")
GO_TYPES = {"str": "string", "int": "int32", "bool": "bool", "float": "float64", "datetime": "time.Time"}
PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": (int, float),
    "datetime": str,
}


@dataclass(slots=True)
class Reader:
    """Reads an object of this kind in place; `unknown` are the fields that it has dropped."""

    kind: str
    unknown: list[str] = field(default_factory=list)

    def read(self, body: dict[str, Any]) -> None:
        """Raises `RefusedError` (400) for a value of another type than the field's."""
        if self.kind in _types():
            self._read_struct(self.kind, body, "")

    def refuse(self, why: str) -> RefusedError:
        return RefusedError(400, f'{self.kind} in version "v1" cannot be handled as a {self.kind}: {why}')

    def _read_struct(self, struct: str, value: dict[str, Any], path: str) -> None:
        """A field that is null is one that is not set."""
        known = _types()[struct]
        for name in list(value):
            place = f"{path}.{name}" if path else name
            if name not in known:
                self.unknown.append(place)
                del value[name]
            elif value[name] is None:
                del value[name]
            else:
                self._read(known[name], value[name], place, struct)

    def _read(self, kind: str, value: Any, path: str, struct: str) -> None:
        if kind.startswith("[]"):
            self._check(value, list, path, struct, f"[]v1.{kind[2:]}")
            for index, each in enumerate(value):
                self._read(kind[2:], each, f"{path}[{index}]", struct)
        elif kind.startswith("{}"):
            self._check(value, dict, path, struct, f"map[string]{GO_TYPES.get(kind[2:], kind[2:])}")
            for each in value.values():
                self._read(kind[2:], each, path, struct)
        elif kind in PYTHON_TYPES:
            self._check(value, PYTHON_TYPES[kind], path, struct, GO_TYPES[kind])
        elif kind in _types():
            self._check(value, dict, path, struct, f"v1.{kind}")
            self._read_struct(kind, value, path)

    def _check(self, value: Any, wanted: type | tuple[type, ...], path: str, struct: str, shown: str) -> None:
        if isinstance(value, wanted) and (wanted is not int or not isinstance(value, bool)):
            return
        place = "".join(part.partition("[")[0] + "." for part in path.split(".")).rstrip(".")
        why = f"json: cannot unmarshal {_json_type(value)} into Go struct field {struct}.{place} of type {shown}"
        raise self.refuse(why)


@cache
def _types() -> dict[str, dict[str, str]]:
    """By name of a struct, the types of its fields: `[]` is a list of them, `{}` a map, `any` whatever it likes."""
    read: dict[str, dict[str, str]] = orjson.loads(TYPES.read_bytes())
    return read


def _json_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case None:
            return "null"
    return "object"
