"""Which events somebody asks for, and which of them they may see."""

from dataclasses import dataclass, replace

from pgfleet.schema.asking import Role
from pgfleet.schema.feed.event import Event

SEES_ALL = frozenset({Role.DEVOPS, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Filters:
    """Events of some machines, states, of one user, of one row; None for all."""

    machines: frozenset[str] | None = None
    states: frozenset[str] | None = None
    user: str | None = None
    row_id: str | None = None

    def match(self, event: Event) -> bool:
        return (
            (self.machines is None or event.machine in self.machines)
            and (self.states is None or event.to_status in self.states)
            and (self.user is None or event.owner == self.user)
            and (self.row_id is None or event.row_id == self.row_id)
        )


ALL = Filters()


def may_see(role: Role, username: str, event: Event) -> bool:
    """Operators see all events, a user those of rows of their own, anybody else none."""
    if role in SEES_ALL:
        return True
    return role == Role.USER and bool(username) and event.owner == username


def narrowed(filters: Filters, role: Role, username: str) -> Filters:
    """The same, so that the database does not even load what `may_see` would refuse. It is no substitute for it."""
    return filters if role in SEES_ALL else replace(filters, user=username)
