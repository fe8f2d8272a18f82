"""A view: one page with one filter as one sort of principal sees it, rendered once for all who have it open."""

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from pgfleet.console.web.page import Page
from pgfleet.producers.http.answering import Asked
from pgfleet.schema.asking import Role
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.filters import may_see

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
    role: Role
    username: str

    def is_of(self, event: Event) -> bool:
        """Whether the row that has moved is shown by itself: all are, or it is one's own."""
        return not self.username or may_see(self.role, self.username, event)


@dataclass(eq=False, slots=True)
class Viewer:
    """One who looks: how they are proven, and up to which version of their view they have been sent it."""

    asked: Asked
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    version: int = 0
    was_stale: bool = False


@dataclass(slots=True)
class _Shown:
    """A part as it was rendered last, the version in which it has changed last, and until when it rests."""

    html: str
    unchanging: str
    version: int
    rests_until: float


@dataclass(eq=False, slots=True)
class Shared:
    """One view.

    Attributes:
        stale_since: when it could first not be rendered, in seconds of the loop; None while it can.
        is_due: something that it shows has moved.
        soon: it will be due then, though nothing that it shows by itself has moved.
        version: one more with each rendering in which something has changed.
    """

    key: Key
    page: Page
    row_id: str | None
    viewers: list[Viewer] = field(default_factory=list)
    stale_since: float | None = None
    is_due: asyncio.Event = field(default_factory=asyncio.Event)
    keeping: asyncio.Task[None] | None = None
    soon: asyncio.TimerHandle | None = None
    version: int = 0
    _parts: dict[str, _Shown] = field(default_factory=dict)
    # By the version that a viewer has: those who have the same are sent the same bytes.
    _news: dict[int, bytes] = field(default_factory=dict)

    @property
    def moved_by(self) -> Iterator[tuple[str, str | None]]:
        """Of which machines' moves it hears, and of which row's: None of each."""
        return ((machine, self.row_id) for machine in self.page.machines)

    def due_within(self, seconds: float) -> None:
        """On the loop; for all who say so meanwhile."""
        if self.soon is None:
            self.soon = asyncio.get_running_loop().call_later(seconds, self._due)

    def _due(self) -> None:
        self.soon = None
        self.is_due.set()

    def end(self) -> None:
        """Nobody looks any more."""
        for going_on in (self.keeping, self.soon):
            if going_on is not None:
                going_on.cancel()

    def resting(self, now: float) -> dict[str, float]:
        """The parts that are not to be rendered again yet, with until when."""
        return {name: part.rests_until for name, part in self._parts.items() if part.rests_until > now}

    def show(self, parts: Mapping[str, tuple[str, float]], resting: Collection[str], now: float) -> None:
        """Take what was rendered, beside what rests, and tell everybody where something has changed.

        Shapes: of each part its HTML, and for how long it rests from `now` on.
        """
        new, before = self.version + 1, self._parts
        self._parts = {name: before[name] for name in resting} | {
            name: _shown(html, before.get(name), new, now + rests_s) for name, (html, rests_s) in parts.items()
        }
        is_new = any(part.version == new for part in self._parts.values())
        if is_new:
            self.version = new
            self._news.clear()
        if is_new or self.stale_since is not None:
            self.stale_since = None
            self.tell()

    def stale(self, since: float) -> None:
        """It can't be rendered: everybody is told, and since when."""
        self.stale_since = self.stale_since or since
        self.tell()

    def tell(self) -> None:
        """Everybody looks what is new."""
        for viewer in self.viewers:
            viewer.changed.set()

    def news_for(self, viewer: Viewer) -> bytes | None:
        """The message of all that has changed since what a viewer has, who has it then."""
        if viewer.version == self.version:
            return None
        if viewer.version not in self._news:
            new = {name: part.html for name, part in self._parts.items() if part.version > viewer.version}
            self._news[viewer.version] = _message(new)
        news, viewer.version = self._news[viewer.version], self.version
        return news


def _shown(html: str, before: _Shown | None, version: int, rests_until: float) -> _Shown:
    same = unchanging(html)
    since = before.version if before is not None and before.unchanging == same else version
    return _Shown(html, same, since, rests_until)


def _message(parts: Mapping[str, str]) -> bytes:
    """To be put into their places by their ids; what is the same stays, with where one is in it."""
    text = "".join(
        f'<hx-partial hx-target="#{part_id}" hx-swap="innerMorph">{part}</hx-partial>'
        for part_id, part in parts.items()
    )
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"{lines}\n".encode("utf-8", "replace")
