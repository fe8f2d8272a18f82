"""The kinds of messages there are: found as the modules of `schema` that have a QUEUE and its REQUESTS."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import pgfleet.schema
from pgfleet.schema.messages import Message


@dataclass(frozen=True)
class Contract:
    """What anybody may send of a kind.

    Attributes:
        name: as its worker, its module and its manifest are called.
        requests: by `action`.
    """

    name: str
    queue: str
    requests: Mapping[str, type[Message]]


@cache
def contracts() -> dict[str, Contract]:
    """Every kind by its name."""
    modules = {found.name: f"pgfleet.schema.{found.name}" for found in iter_modules(pgfleet.schema.__path__)}
    loaded = {name: import_module(place) for name, place in sorted(modules.items()) if name != "kinds"}
    return {
        name: Contract(name, module.QUEUE, module.REQUESTS)
        for name, module in loaded.items()
        if hasattr(module, "QUEUE") and hasattr(module, "REQUESTS")
    }


def queues() -> dict[str, str]:
    """The name of the kind whose messages are in each queue."""
    return {contract.queue: name for name, contract in contracts().items()}
