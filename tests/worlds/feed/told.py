"""Who is told of what of one machine, by both ways: a stream of the API's hub, and a webhook of the event worker."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pgfleet.producers.event import Subscribed
from pgfleet.schema.asking import Role
from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.workers.event.machine import KIND
from worlds.database import Connection
from worlds.events import Events
from worlds.feed.moves import make
from worlds.feed.streaming import hub_of, listening, on_a_loop, until
from worlds.fleet import settings_for, worker_on
from worlds.identity.people import person
from worlds.receiver import Receiver, receiving

ADA, BOB, OPERATOR = "ada", "bob", "eve"
ROLES = {ADA: Role.USER, BOB: Role.USER, OPERATOR: Role.DEVOPS}


@dataclass(frozen=True)
class Told:
    """Two users and an operator, each of whom has subscribed to a machine, and may listen to all from `start` on."""

    dsn: str
    events: Events
    machine: str
    states: tuple[str, ...]
    start: Cursor
    receivers: dict[str, Receiver]
    subscriptions: dict[str, Subscribed]

    def to(self, who: str) -> list[str]:
        """The types of the events that somebody is told of, which are the same by both ways."""
        delivered = [event["type"] for event in self.delivered(who)]
        assert delivered == [event["type"] for event in self.streamed(who)]
        return delivered

    def delivered(self, who: str) -> list[dict[str, Any]]:
        self.events.look(self.subscriptions[who])
        return [event for got in self.receivers[who].got for event in got.events]

    def streamed(self, who: str) -> list[dict[str, Any]]:
        """Up to a move of a row of theirs that they surely see."""
        mark = make(self.events.conn, user=who)
        listener = Principal(who, ROLES[who], Proof.KEY)

        async def listen() -> list[dict[str, Any]]:
            async with hub_of(self.dsn) as hub, listening(hub, listener, self.start) as client:
                await until(lambda: mark in client.rows)
                return client.events

        return [event for event in on_a_loop(listen) if event["subject"] != mark and self._is_wanted(event["data"])]

    def _is_wanted(self, data: dict[str, Any]) -> bool:
        return data["machine"] == self.machine and (not self.states or data["to"] in self.states)


@contextmanager
def told_of(dsn: str, conn: Connection, machine: str, *states: str) -> Iterator[Told]:
    """From now on; only of these states, where any are given."""
    with (
        ExitStack() as stack,
        worker_on(KIND, settings_for(dsn, events_may_reach="127.0.0.1")) as worker,
    ):
        events = Events(conn, worker)
        person(conn, OPERATOR, "DEVOPS")
        receivers = {name: stack.enter_context(receiving()) for name in ROLES}
        wanted: dict[str, Any] = {"machines": [machine], **({"states": list(states)} if states else {})}
        made = {name: events.subscribe(receivers[name].url, name, **wanted) for name in ROLES}
        yield Told(dsn, events, machine, states, reading.end(conn), receivers, made)
