"""Values that no field may take, whatever it is, for tables of each message and each of its fields."""

from collections.abc import Iterator, Mapping
from typing import Any

from pgfleet.schema.messages import Message

# Too long, too large, too small, no number, of another shape.
HOSTILE: tuple[Any, ...] = ("x" * 100_001, 2**70, -2, float("inf"), float("nan"), [1], {"": 1}, [[]] * 2000)


def hostile_bodies(
    actions: Mapping[str, type[Message]], good: Mapping[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """For each action and field, bodies that have one hostile value each: the action, the field, the body."""
    for action, model in actions.items():
        body = {name: good[name] for name in model.model_fields if name in good} | {"action": action}
        for field in model.model_fields:
            for value in HOSTILE:
                yield action, field, {**body, field: value}


def good_bodies(actions: Mapping[str, type[Message]], good: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One of each action, in which nothing is hostile."""
    for action, model in actions.items():
        yield {name: good[name] for name in model.model_fields if name in good} | {"action": action}
