"""A view: one page with one filter as one sort of principal sees it, rendered once for all who have it open."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgfleet.console.web.page import Page
from pgfleet.producers.http.answering import Asked
from pgfleet.schema.feed.event import Event

# What the browser says itself as time goes by: no reason to send anything.
_RELATIVE = re.compile(r"(<time\b[^>]*>)[^<]*")


def unchanging(part: str) -> str:
    """A part without how long ago things were."""
    return _RELATIVE.sub(r"\1", part)


@dataclass(frozen=True, slots=True)
class Key:
    """What two viewers have in common who are shown the same."""

    page: str
    path: tuple[tuple[str, str], ...]
    query: bytes
    role: str
    username: str


@dataclass(eq=False, slots=True)
class Viewer:
    """One who looks: how they are proven, and what they have been sent."""

    asked: Asked
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    has: dict[str, str] = field(default_factory=dict)
    was_stale: bool = False


@dataclass(eq=False, slots=True)
class Shared:
    """One view.

    Attributes:
        parts: its live parts as they were rendered last, by their ids.
        stale_since: when it could first not be rendered, in seconds of the loop; None while it can.
        is_due: something that it shows has moved.
    """

    page: Page
    row_id: str | None
    parts: Mapping[str, str] = field(default_factory=dict)
    viewers: list[Viewer] = field(default_factory=list)
    stale_since: float | None = None
    is_due: asyncio.Event = field(default_factory=asyncio.Event)
    keeping: asyncio.Task[None] | None = None

    def takes(self, event: Event) -> bool:
        return event.machine in self.page.machines and self.row_id in (None, event.row_id)

    def tell(self) -> None:
        """Everybody looks what is new."""
        for viewer in self.viewers:
            viewer.changed.set()

    def news_for(self, viewer: Viewer) -> dict[str, str]:
        """The parts that a viewer does not have yet."""
        new = {name: part for name, part in self.parts.items() if viewer.has.get(name) != unchanging(part)}
        viewer.has.update({name: unchanging(part) for name, part in new.items()})
        return new
