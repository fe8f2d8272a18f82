"""The kinds of messages there are: found as the modules of `schema` that have a QUEUE and its REQUESTS."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import get_args

import pgfleet.schema
from pgfleet.schema.asking import USUAL, Role, Whose
from pgfleet.schema.messages import Message


@dataclass(frozen=True)
class Contract:
    """What anybody may send of a kind.

    Attributes:
        name: as its worker, its module and its manifest are called.
        requests: by `action`.
        ids: the fields by which a body that is refused still says what it is about.
        aliases: words of older senders for an action.
        whose: the field that says whom a request is about.
        may: whose requests each role may send.
    """

    name: str
    queue: str
    requests: Mapping[str, type[Message]]
    ids: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    whose: str = "user_id"
    may: Mapping[Role, Whose] = field(default_factory=lambda: USUAL)

    @property
    def actions(self) -> set[str]:
        """What strangers may send: the door of the queue lets in nothing else."""
        words = (get_args(model.model_fields["action"].annotation) for model in self.requests.values())
        return {word for each in words for word in each} | set(self.aliases)


@cache
def contracts() -> dict[str, Contract]:
    """Every kind by its name."""
    modules = {found.name: f"pgfleet.schema.{found.name}" for found in iter_modules(pgfleet.schema.__path__)}
    loaded = {name: import_module(place) for name, place in sorted(modules.items()) if name != "kinds"}
    return {
        name: Contract(
            name,
            module.QUEUE,
            module.REQUESTS,
            getattr(module, "IDS", ()),
            getattr(module, "ALIASES_OF_ACTIONS", ()),
            getattr(module, "WHOSE", "user_id"),
            getattr(module, "MAY", USUAL),
        )
        for name, module in loaded.items()
        if hasattr(module, "QUEUE") and hasattr(module, "REQUESTS")
    }


def queues() -> dict[str, str]:
    """The name of the kind whose messages are in each queue."""
    return {contract.queue: name for name, contract in contracts().items()}
