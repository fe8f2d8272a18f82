"""What people are shown of deliveries: the last of each subscription, how often tried, what was answered."""

from typing import Any

from psycopg.rows import dict_row

from pgfleet.producers import event as producer
from pgfleet.producers.event import Subscribed
from worlds.events import Events
from worlds.fleet import move_clock
from worlds.receiver import Receiver

DAY_S = 24 * 3600


def deliveries(events: Events, made: Subscribed) -> list[dict[str, Any]]:
    with events.conn.cursor(row_factory=dict_row) as cursor:
        asked = "select * from public.event_deliveries where subscription_id = %s order by number"
        return cursor.execute(asked, (made.subscription_id,)).fetchall()


def test_each_delivery_is_shown_with_its_tries(events: Events, receiver: Receiver) -> None:
    """While it fails with its next try, and once it was taken without."""
    made = events.subscribe(receiver.url)
    events.make()
    events.look(made)
    receiver.status = 500
    for _ in range(2):
        events.make()
    events.look(made)
    failing = deliveries(events, made)
    receiver.status = 200
    move_clock(events.conn, 2)
    events.worker.run()

    after = deliveries(events, made)
    assert [(d["number"], d["result"], d["tries"], d["answer"], d["events"]) for d in failing] == [
        (1, "delivered", 1, "200", 1),
        (2, "failing", 1, "500", 2),
    ]
    assert failing[1]["next_try_at"] is not None
    assert [(d["result"], d["tries"], d["answer"]) for d in after] == [("delivered", 1, "200"), ("delivered", 2, "200")]
    assert (after[1]["next_try_at"], after[1]["ended_at"] is None) == (None, False)
    assert after[0]["to_position"] <= after[1]["after_position"] < after[1]["to_position"]


def test_a_dead_letter_is_shown_by_its_number(events: Events, receiver: Receiver) -> None:
    """With which an operator can have it sent once more."""
    made = events.subscribe(receiver.url)
    events.make()
    receiver.status = 500
    events.look(made)
    move_clock(events.conn, DAY_S + 10)
    events.worker.run()

    [letter] = events.conn.execute("select dead_letter_id from public.dead_letters").fetchall()
    [delivery] = deliveries(events, made)
    assert (delivery["result"], delivery["dead_letter_id"]) == ("given up", letter[0])


def test_one_that_its_user_ends_is_stopped(events: Events, receiver: Receiver) -> None:
    """And so is one that is answered 410."""
    made, other = events.subscribe(receiver.url), events.subscribe(receiver.url)
    events.make()
    receiver.status = 500
    events.look(made)
    producer.unsubscribe(made.subscription_id, "ada", events.conn)
    receiver.status = 410
    events.look(other)

    results = [(d["result"], d["tries"], d["answer"]) for each in (made, other) for d in deliveries(events, each)]
    assert results == [("stopped", 1, "500"), ("stopped", 1, "410")]


def test_the_last_hundred_are_kept(events: Events, receiver: Receiver) -> None:
    """One takes the place of the hundredth before it, and goes with its subscription."""
    made = events.subscribe(receiver.url)
    events.conn.execute("update public.event_subscriptions set deliveries = 100")
    events.conn.execute(
        """insert into public.event_deliveries
             (subscription_id, place, number, user_id, after_position, to_position, tries, dead_letter_id)
           select subscription_id, n % 100, n, user_id, '1.1.1', '1.1.2', 7, 7
           from public.event_subscriptions, generate_series(1, 100) n"""
    )
    events.make()

    events.look(made)

    kept = deliveries(events, made)
    assert [d["number"] for d in kept] == [*range(2, 102)]
    assert (kept[-1]["result"], kept[-1]["tries"], kept[-1]["dead_letter_id"]) == ("delivered", 1, None)
    events.conn.execute("delete from public.event_subscriptions")
    assert deliveries(events, made) == []
