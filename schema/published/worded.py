"""What a JSON Schema says of a value, as the pages say it that are made from code."""

from collections.abc import Mapping
from typing import Any

TYPES = {
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
    "string": "text",
    "array": "list",
    "object": "object",
}
_BOUNDS = {"exclusiveMinimum": "> {}", "minimum": ">= {}", "exclusiveMaximum": "< {}", "maximum": "<= {}"}


def alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas of what it may be, besides null."""
    return [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]


def bounds(schema: Mapping[str, Any]) -> list[str]:
    """`>= 1`, `< 60`: each that a number has."""
    return [text.format(f"{schema[name]:.15g}") for name, text in _BOUNDS.items() if name in schema]
