"""Subscriptions: what users ask of them, and whose they are."""

import json

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgfleet.producers import event as producer
from pgfleet.producers.event import Subscribed
from pgfleet.schema.event import QUEUE
from pgfleet.schema.messages import BadMessage
from pgfleet.workers.event.requests import MOST
from worlds.database import Connection
from worlds.events import Events
from worlds.fleet import move_clock, new_id, send
from worlds.receiver import Receiver


def test_a_subscription_is_active_and_keeps_no_secret_in_its_row(events: Events, receiver: Receiver) -> None:
    """What lets somebody in is where the event worker alone reads it."""
    made = events.subscribe(f"{receiver.url}/T0000/hush?key=hush")

    row = events.row(made)
    assert (row["status"], row["user_id"], row["shown_url"]) == ("active", "ada", "127.0.0.1/hook/T0000/...")
    assert made.secret.startswith("whsec_")
    assert made.secret not in str(row)
    assert "hush" not in str(row)


def test_a_message_that_cant_be_understood_is_a_dead_letter(events: Events) -> None:
    """With what is wrong with it."""
    send(events.conn, QUEUE, {"action": "subscribe", "subscription_id": 7})

    events.worker.run()

    assert [reason.split(":")[0] for reason in events.letters()] == ["subscription_id"]


def test_an_address_that_was_placed_for_another_is_nobodys_to_use(events: Events, receiver: Receiver) -> None:
    """Who guesses an id gets no events at another's address, and no address of another's."""
    made = producer.subscribe("ada", receiver.url, events.conn)
    send(events.conn, QUEUE, {"action": "subscribe", "subscription_id": made.subscription_id, "user_id": "bob"})

    events.worker.run()

    assert (events.row(made)["user_id"], events.row(made)["status"]) == ("ada", "active")
    assert events.letters() == ["subscription_id: was used for something else"]


def test_without_an_address_there_is_no_subscription(events: Events) -> None:
    """It is placed beside the message, never in it."""
    send(events.conn, QUEUE, {"action": "subscribe", "subscription_id": new_id(), "user_id": "ada"})

    events.worker.run()

    assert events.letters() == ["subscription_id: no address was placed for it, by place_subscription"]


def test_it_is_ended_and_goes_on_where_it_was(events: Events, receiver: Receiver) -> None:
    """Nothing is lost in between."""
    made = events.subscribe(receiver.url)
    producer.unsubscribe(made.subscription_id, "ada", events.conn)
    events.worker.run()
    row_id = events.make()
    events.look(made)
    before = len(receiver.got)

    producer.resume(made.subscription_id, "ada", events.conn)
    events.worker.run()

    assert (before, receiver.subjects) == (0, [row_id])
    assert events.history(made) == ["pending", "active", "off", "active"]


@pytest.mark.parametrize("ask", [producer.unsubscribe, producer.resume, producer.send_test])
def test_nobody_asks_anything_of_anothers(events: Events, receiver: Receiver, ask: object) -> None:
    """Nor learns whether it is there."""
    made = events.subscribe(receiver.url)

    ask(made.subscription_id, "bob", events.conn)  # type: ignore[operator]
    events.worker.run()

    assert events.letters() == ["subscription_id: bob has no such subscription"]
    assert (events.row(made)["status"], receiver.got) == ("active", [])


def test_one_user_has_so_many_at_most(events: Events, receiver: Receiver) -> None:
    """Also of those that are asked for at once."""
    made = [producer.subscribe("ada", receiver.url, events.conn, states=["failed"]) for _ in range(MOST + 1)]

    events.worker.run()

    there = events.conn.execute(
        "select status, count(*) from public.event_subscriptions group by status order by status"
    ).fetchall()
    assert (len(made), there) == (MOST + 1, [("active", MOST), ("off", 1)])
    assert events.letters() == [f"user_id: ada has {MOST} subscriptions, and may have no more at once"]


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        ({"machines": ["reservations"]}, "machines: reservations is not known"),
        ({"machines": ["disk"], "states": ["atached"]}, "states: atached is not known"),
    ],
)
def test_what_would_never_come_is_refused(
    events: Events, receiver: Receiver, wanted: dict[str, list[str]], refused: str
) -> None:
    """With what may have been meant."""
    producer.subscribe("ada", receiver.url, events.conn, **wanted)  # type: ignore[arg-type]

    events.worker.run()

    [reason] = events.letters()
    assert reason.startswith(refused)


def test_what_is_refused_is_off_with_the_reason_and_stays_so(events: Events, receiver: Receiver) -> None:
    """It is there from the moment that it is asked for, and whoever resumes it is told the same."""
    made = producer.subscribe("ada", "http://192.0.2.1/hook", events.conn)
    asked = events.row(made)["status"]
    events.worker.run()
    producer.resume(made.subscription_id, "ada", events.conn)
    events.worker.run()

    row = events.row(made)
    assert (asked, row["status"], row["status_reason"]) == ("pending", "off", "url: must begin with https")
    assert events.letters() == ["url: must begin with https"] * 2


def test_one_whose_message_is_lost_is_off_and_says_so(events: Events, receiver: Receiver) -> None:
    """The sweep finds it."""
    made = producer.subscribe("ada", receiver.url, events.conn)
    events.conn.execute("delete from pgmq.q_event_deliveries")
    move_clock(events.conn, 11)
    send(events.conn, QUEUE, {"action": "sweep"})

    events.worker.run()

    assert events.row(made)["status_reason"] == "its message is lost: subscribe once more"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.slack.com/services/T0/B0/hush?hush=1", "hooks.slack.com/services/T0..."),
        ("https://Example.org:8443/hook#hush", "example.org/hook"),
        ("https://example.org?hush", "example.org"),
        ("http://[2001:db8::1]:80/", "2001:db8::1/"),
        ("hush", "?"),
    ],
)
def test_of_an_address_its_beginning_is_shown(conn: Connection, url: str, shown: str) -> None:
    """What is secret of one is in the rest."""
    assert conn.execute("select public.shown_url(%s)", (url,)).fetchone() == (shown,)


@pytest.mark.parametrize("wanted", ['{"machines": "disk"}', '{"states": [7]}', '{"format": "fax"}'])
def test_a_row_is_placed_with_words_alone(conn: Connection, wanted: str) -> None:
    """Whoever asks in SQL."""
    message = {"subscription_id": new_id(), "user_id": "ada", "action": "subscribe", **json.loads(wanted)}

    with pytest.raises(psycopg.Error):
        conn.execute("select public.place_subscription(%s, 'https://example.org/')", (Jsonb(message),))

    assert conn.execute("select count(*) from public.event_targets").fetchone() == (0,)


def test_a_test_is_one_delivery_that_says_so(events: Events, receiver: Receiver) -> None:
    """Signed as any other."""
    made = events.subscribe(receiver.url)

    producer.send_test(made.subscription_id, "ada", events.conn)
    events.worker.run()

    [got] = receiver.got
    assert [event["type"] for event in got.events] == ["fleet.test"]
    assert got.is_signed_with(made.secret)
    assert events.row(made)["last_answer"] == "test: 200"


@pytest.mark.parametrize("url", ["ftp://example.org/", "https://", "https://me:hush@example.org/", "https://a b/", "x"])
def test_an_address_that_can_be_none_is_refused_before_it_is_sent(events: Events, url: str) -> None:
    """Nothing of it is quoted."""
    with pytest.raises(BadMessage, match=r"^url: must") as refused:
        producer.subscribe("ada", url, events.conn)

    assert "hush" not in str(refused.value)
    assert events.conn.execute("select count(*) from public.event_targets").fetchone() == (0,)


def test_the_secret_is_of_32_random_bytes(events: Events, receiver: Receiver) -> None:
    """Two have nothing in common."""
    one, two = (events.subscribe(receiver.url) for _ in range(2))

    assert len({one.secret, two.secret}) == 2
    assert [len(made.secret) for made in (one, two)] == [len("whsec_") + 44] * 2
    assert isinstance(one, Subscribed)
