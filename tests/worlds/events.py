"""Subscriptions to events, as tests ask for them and look at them."""

from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from pgfleet.producers import event as producer
from pgfleet.producers.event import Subscribed
from pgfleet.schema.event import QUEUE
from worlds.database import Connection
from worlds.feed.moves import make, move
from worlds.fleet import Worker, send


@dataclass
class Events:
    """An event worker in the test's own thread, and its database."""

    conn: Connection
    worker: Worker

    def subscribe(self, url: str, user: str = "ada", **wanted: Any) -> Subscribed:
        """One that is there, and has looked."""
        made = producer.subscribe(user, url, self.conn, **{"machines": ["reservation"], **wanted})
        self.worker.run()
        return made

    def make(self, user: str = "ada", **given: Any) -> str:
        return make(self.conn, user=user, **given)

    def move(self, row_id: str, status: str) -> None:
        move(self.conn, row_id, status)

    def look(self, subscription: Subscribed) -> None:
        """As the watch would have it look, and all that follows from it."""
        self.look_at(subscription.subscription_id)

    def look_at(self, subscription_id: str) -> None:
        send(self.conn, QUEUE, {"action": "look", "subscription_id": subscription_id})
        self.worker.run()

    def row(self, subscription: Subscribed) -> dict[str, Any]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(
                "select * from public.event_subscriptions where subscription_id = %s", (subscription.subscription_id,)
            ).fetchone()
        assert row is not None
        return row

    def history(self, subscription: Subscribed) -> list[str]:
        asked = "select to_status from public.status_history where row_id = %s order by history_id"
        return [status for (status,) in self.conn.execute(asked, (subscription.subscription_id,)).fetchall()]

    def letters(self) -> list[str]:
        return [reason for (reason,) in self.conn.execute("select reason from public.dead_letters").fetchall()]
