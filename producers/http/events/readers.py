"""Who gets which event: subscribers by the row or the user that they ask for, and those who wait for a row to move."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from pgfleet.producers.http.events.subscription import Subscription
from pgfleet.schema.asking import Role
from pgfleet.schema.feed.event import Event

Key = tuple[str, str]


class Subscribers:
    """Looked up by what they ask for, so that an event of one user costs nothing for those of all others."""

    def __init__(self) -> None:
        self._by_key: defaultdict[Key, set[Subscription]] = defaultdict(set)
        self._all: set[Subscription] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._all)

    def add(self, subscription: Subscription) -> None:
        self._all.add(subscription)

    def following(self) -> Iterator[Subscription]:
        return chain.from_iterable(self._by_key.values())

    def follow(self, subscription: Subscription) -> None:
        """One that has left meanwhile does not."""
        if subscription in self._all:
            self._by_key[_key(subscription)].add(subscription)

    def discard(self, subscription: Subscription) -> None:
        self._all.discard(subscription)
        found = self._by_key.get(_key(subscription), set())
        found.discard(subscription)
        if not found:
            self._by_key.pop(_key(subscription), None)

    def of(self, event: Event) -> Iterator[Subscription]:
        for key in (("row", event.row_id), ("user", event.owner or ""), ("", "")):
            for subscription in self._by_key.get(key, ()):
                if subscription.takes(event):
                    yield subscription


def _key(subscription: Subscription) -> Key:
    filters, principal = subscription.filters, subscription.principal
    if filters.row_id is not None:
        return ("row", filters.row_id)
    if filters.user is not None:
        return ("user", filters.user)
    return ("user", principal.username) if principal.role == Role.USER else ("", "")


@dataclass(eq=False, slots=True)
class Waiter:
    """A request that waits for a row to move past its move `after`; None while that is not known yet."""

    key: Key
    after: int | None
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    newest: int = 0

    def see(self, history_id: int) -> None:
        self.newest = max(self.newest, history_id)
        self._judge()

    def wait_past(self, after: int) -> None:
        self.after = after
        self._judge()

    def _judge(self) -> None:
        if self.after is not None and self.newest > self.after:
            self.moved.set()


class Waiters:
    """By the row that each waits for. Used on the loop only, but for its length."""

    def __init__(self) -> None:
        self._by_row: defaultdict[Key, set[Waiter]] = defaultdict(set)
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def add(self, machine: str, row_id: str, after: int | None) -> Waiter:
        waiter = Waiter((machine, row_id), after)
        self._by_row[waiter.key].add(waiter)
        self._number += 1
        return waiter

    def discard(self, waiter: Waiter) -> None:
        self._number -= 1
        self._by_row[waiter.key].discard(waiter)
        if not self._by_row[waiter.key]:
            del self._by_row[waiter.key]

    def moved(self, events: Iterable[Event]) -> None:
        for event in events:
            for waiter in self._by_row.get((event.machine, event.row_id), ()):
                waiter.see(event.position.history_id)
