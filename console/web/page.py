"""A page: its address, who may see it, what changes it, and the function that shows it."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from urllib.parse import quote

import htpy as h
from pydantic import BaseModel

from pgfleet.console.web.look.writing import written
from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, NotPermittedError
from pgfleet.producers.http.permissions import whose
from pgfleet.schema.asking import Whose
from pgfleet.schema.reads.about import now

# Where pages are among endpoints: no address of the API begins so.
PLACE = "/pages"


@dataclass(frozen=True)
class View:
    """Who looks at what: a call as endpoints get it, within a transaction that speaks for the principal."""

    call: Call
    page: "Page"

    @property
    def username(self) -> str:
        return self.call.principal.username

    @cached_property
    def now(self) -> datetime:
        """The database's time."""
        return now(self.call.conn)

    @property
    def address(self) -> str:
        """Of this page, without its query."""
        parts = {name: quote(value, safe="") for name, value in self.call.path.items()}
        return self.page.path.format(**parts)

    def may(self, permission: str) -> bool:
        """Whether this principal has the permission, for some rows at least: then there is a button."""
        return whose(permission, self.call.principal.role) != Whose.NOBODYS

    def sees_all(self, permission: str) -> bool:
        return whose(permission, self.call.principal.role) == Whose.ANY

    def having(self, permission: str) -> Call:
        """The call as an endpoint of that permission has it, for the functions of `producers/http/endpoints`.

        Raises:
            NotPermittedError: this principal does not have it.
        """
        of = whose(permission, self.call.principal.role)
        if of == Whose.NOBODYS:
            raise NotPermittedError(f"the role {self.call.principal.role} may not do this: {permission}")
        return replace(self.call, whose=of)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a page. One that is live is sent anew when it has changed; a form that is being filled in is not.

    `content` may be a function: what it asks is asked only where it is written. A part that `rests_s` is written again
    so long after it was at the soonest: a picture of a thousand cells, which keeps nothing else of its page waiting.
    """

    name: str
    content: h.Node
    is_live: bool = True
    rests_s: float = 0.0

    @property
    def id(self) -> str:
        return f"part-{self.name}"

    def html(self) -> str:
        """As text; what is no element of ours is escaped."""
        return written(self.content)


@dataclass(frozen=True, slots=True)
class Screen:
    """What a page shows, from top to bottom."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        path: its address, with the names of its parts: `/reservations/{id}`.
        title: what the menu says.
        permission: of `producers/http/permissions.py`; without it, the page is neither shown nor in the menu.
        show: what it shows; runs in a thread, in a transaction of the database.
        menu: its place in the menu, from left to right; None: it is not there.
        asks: the model of its query; a filter is in the address.
        machines: whose moves change it; none: it is not live.
        row: of a page about one row, which part of the path its id is: others' moves do not matter to it.
        every_s: how often it is shown anew though nothing moved, as places and times change all the same.
        is_own: it shows whoever looks something of their own, also where they may see everybody's.
        is_fragment: it is no page by itself, but goes into one; then it has no frame.
        under: of a page that is not in the menu, the address of the one there that leads to it.
    """

    path: str
    title: str
    permission: str
    show: Callable[[View], Screen]
    menu: int | None = None
    asks: type[BaseModel] | None = None
    machines: frozenset[str] = frozenset()
    row: str | None = None
    every_s: float = 10.0
    is_fragment: bool = False
    is_own: bool = False
    under: str | None = None

    @property
    def name(self) -> str:
        return f"page_{self.show.__name__}"

    def endpoint(self, finish: Callable[[View, Screen], bytes], suffix: str = "") -> Endpoint:
        """As the desk answers it: with the same proof, limits, permissions and audit of refusals as the API."""

        def handle(call: Call) -> Answer:
            view = View(call, self)
            return Answer(finish(view, self.show(view)))

        handle.__name__ = self.name + suffix
        return Endpoint("GET", f"{PLACE}/{self.name}", self.title, self.permission, handle, asks=self.asks)


def parts_of(screen: Screen, resting: Container[str]) -> Mapping[str, tuple[str, float]]:
    """The live parts but for those that rest, by their ids: as HTML, and for how long it rests now."""
    return {part.id: (part.html(), part.rests_s) for part in screen.parts if part.is_live and part.id not in resting}
