"""Deliveries: exactly the events that are wanted and seen, in order, at least once, with one id for each batch."""

import json
import threading

import pytest

from pgfleet.producers import event as producer
from pgfleet.schema.doctor.findings import LIMITS, Severity
from pgfleet.schema.doctor.motion.told import subscriptions
from pgfleet.workers.event import view
from pgfleet.workers.event.machine import KIND
from worlds.database import Connection
from worlds.events import Events
from worlds.fleet import move_clock, settings_for, until, worker_on
from worlds.identity.people import person
from worlds.receiver import Receiver

DAY_S = 24 * 3600


def test_events_come_in_order_and_none_that_another_may_see(events: Events, receiver: Receiver) -> None:
    """A USER's are those of rows of their own."""
    made = events.subscribe(receiver.url)
    mine, _ = events.make(), events.make("bob")
    events.move(mine, "queued")
    events.move(mine, "cancelled")

    events.look(made)

    [got] = receiver.got
    assert [(event["subject"], event["data"]["to"]) for event in got.events] == [
        (mine, "pending"),
        (mine, "queued"),
        (mine, "cancelled"),
    ]
    assert got.headers["content-type"] == "application/cloudevents-batch+json"
    assert got.is_signed_with(made.secret)
    assert not got.is_signed_with("whsec_" + made.secret[7:9] + made.secret[6:7] + made.secret[9:])


def test_filters_leave_out_what_is_not_wanted(events: Events, receiver: Receiver) -> None:
    """By state, by row, by machine."""
    row_id, other_id = events.make(), events.make()
    made = events.subscribe(receiver.url, states=["queued", "cancelled"], row_id=row_id)
    for each in (row_id, other_id):
        events.move(each, "queued")
    events.look(made)
    events.move(row_id, "cancelled")
    events.look(made)

    assert [event["type"] for got in receiver.got for event in got.events] == [
        "fleet.reservation.queued",
        "fleet.reservation.cancelled",
    ]


def test_an_operator_is_told_of_all_until_the_role_is_taken_away(events: Events, receiver: Receiver) -> None:
    """From the next batch on."""
    person(events.conn, "eve", "DEVOPS")
    made = events.subscribe(receiver.url, user="eve")
    bobs = events.make("bob")
    events.look(made)
    before = receiver.subjects

    events.conn.execute("update autoscaler.users set role = 'USER'")
    events.move(bobs, "queued")
    eves = events.make("eve")
    events.look(made)

    assert (before, receiver.subjects) == ([bobs], [bobs, eves])


def test_who_is_not_active_any_more_is_told_of_nothing(events: Events, receiver: Receiver) -> None:
    """Not even of what was theirs."""
    person(events.conn, "eve", "ADMIN")
    made = events.subscribe(receiver.url, user="eve")
    events.conn.execute("update autoscaler.users set is_active = false")
    events.make("eve")

    events.look(made)

    assert receiver.got == []


def test_what_is_not_taken_comes_again_with_the_same_id(events: Events, receiver: Receiver) -> None:
    """Whatever has come meanwhile is in the next batch."""
    made = events.subscribe(receiver.url)
    first = events.make()
    receiver.status = 500
    events.look(made)
    failing = events.row(made)
    second = events.make()
    events.look(made)
    receiver.status = 200
    move_clock(events.conn, 2)
    events.worker.run()

    assert (failing["status"], failing["last_answer"]) == ("failing", "500")
    assert [[event["subject"] for event in got.events] for got in receiver.got] == [[first], [first], [second]]
    assert receiver.got[0].id == receiver.got[1].id != receiver.got[2].id
    assert events.history(made) == ["pending", "active", "failing", "active"]


def test_a_large_batch_is_cut_and_the_rest_follows(
    events: Events, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By number and by bytes; a single event is sent whatever its size."""
    monkeypatch.setattr(view, "BATCH_EVENTS", 2)
    made = events.subscribe(receiver.url)
    rows = [events.make() for _ in range(5)]
    events.look(made)
    sizes = [len(got.events) for got in receiver.got]
    monkeypatch.setattr(view, "BATCH_BYTES", 10)
    more = [events.make() for _ in range(2)]
    events.look(made)

    assert (sizes, receiver.subjects) == ([2, 2, 1], rows + more)
    assert [len(got.events) for got in receiver.got[3:]] == [1, 1]


def test_what_nobody_wants_is_gone_past_by_pages(
    events: Events, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not read again."""
    monkeypatch.setattr(view, "MOVES", 2)
    monkeypatch.setattr(view, "PAGES", 2)
    made = events.subscribe(receiver.url, states=["queued"])
    row_id = [events.make() for _ in range(11)][-1]
    events.move(row_id, "queued")

    events.look(made)

    assert receiver.subjects == [row_id]


def test_410_switches_it_off_at_once(events: Events, receiver: Receiver) -> None:
    """Its user is told why."""
    made = events.subscribe(receiver.url)
    events.make()
    receiver.status = 410

    events.look(made)

    assert events.row(made)["status"] == "off"
    assert events.row(made)["status_reason"] == "answered 410: it wants no more events"


def test_a_redirect_is_not_followed(events: Events, receiver: Receiver, other: Receiver) -> None:
    """It is a failure like any other."""
    made = events.subscribe(receiver.url)
    events.make()
    receiver.status, receiver.headers = 302, {"Location": other.url}

    events.look(made)

    assert (len(receiver.got), other.got) == (1, [])
    assert events.row(made)["last_answer"] == "302, and redirects are not followed"


def test_a_batch_that_nobody_takes_for_a_day_is_a_dead_letter_and_the_next_follows(
    events: Events, receiver: Receiver
) -> None:
    """Replayed, it is sent once more, with its id."""
    made = events.subscribe(receiver.url)
    first = events.make()
    receiver.status = 500
    events.look(made)
    second = events.make()
    move_clock(events.conn, DAY_S + 10)
    events.worker.run()
    failing = events.row(made)
    receiver.status = 200
    move_clock(events.conn, 10)
    events.worker.run()
    [(letter,)] = events.conn.execute("select dead_letter_id from public.dead_letters").fetchall()
    events.conn.execute("select public.answer_letter(%s, 'replayed', 'eve')", (letter,))
    events.worker.run()

    assert failing["status"] == "failing"
    assert events.letters() == ["not taken for 24 hours; the last answer: 500"]
    assert receiver.subjects[-2:] == [second, first]
    assert receiver.got[-1].id == receiver.got[0].id


def test_who_fails_for_three_days_is_switched_off(events: Events, receiver: Receiver) -> None:
    """Told in its history, and of no more events."""
    made = events.subscribe(receiver.url)
    events.make()
    receiver.status = 503
    events.look(made)
    for _ in range(4):
        events.make()
        move_clock(events.conn, DAY_S)
        events.worker.run()

    row = events.row(made)
    [finding] = subscriptions(events.conn, LIMITS)
    assert (finding.code, finding.severity) == ("subscriptions.off", Severity.WARNING)
    assert (row["status"], events.history(made)) == ("off", ["pending", "active", "failing", "off"])
    assert row["status_reason"].startswith("switched off: no delivery was taken for three days")


def test_a_lost_ticket_is_sent_again_by_the_sweep(events: Events, receiver: Receiver) -> None:
    """The batch is in the row."""
    made = events.subscribe(receiver.url)
    row_id = events.make()
    receiver.status = 500
    events.look(made)
    events.conn.execute("delete from pgmq.q_event_deliveries")
    receiver.status = 200
    events.conn.execute("""select pgmq.send('event_deliveries', '{"action": "sweep"}')""")

    events.worker.run()

    assert receiver.subjects == [row_id, row_id]
    assert receiver.got[0].id == receiver.got[1].id


def test_what_was_delivered_is_sent_again_from_a_position(events: Events, receiver: Receiver) -> None:
    """As its user asks for it."""
    made = events.subscribe(receiver.url)
    before = events.row(made)["delivered_to"]
    row_id = events.make()
    events.look(made)

    producer.send_again(made.subscription_id, "ada", before, events.conn)
    events.worker.run()

    assert receiver.subjects == [row_id, row_id]


def test_who_does_not_answer_delays_nobody(events: Events, receiver: Receiver, other: Receiver) -> None:
    """Both are due at once; one is told while the other still waits for an answer."""
    other.free.clear()
    for url in (other.url, receiver.url):
        producer.subscribe("ada", url, events.conn, machines=["reservation"])
    events.worker.run()
    events.make()
    events.conn.execute("""select pgmq.send('event_deliveries', '{"action": "look_around"}')""")
    working = threading.Thread(target=events.worker.run)
    working.start()
    until(lambda: delivered(events.conn) == 1)
    meanwhile = (len(receiver.got), len(other.got), delivered(events.conn))
    other.free.set()
    working.join()

    assert meanwhile == (1, 1, 1)
    assert delivered(events.conn) == 2


def delivered(conn: Connection) -> int:
    found = conn.execute("select count(*) from public.event_subscriptions where last_delivered_at is not null")
    return int((found.fetchone() or (0,))[0])


def test_the_watch_wakes_who_wants_what_has_come(dsn: str, conn: Connection, receiver: Receiver) -> None:
    """Nobody else, and without the look around."""
    settings = settings_for(dsn, events_may_reach="127.0.0.1")
    with worker_on(KIND, settings, watches=True) as worker:
        events = Events(conn, worker)
        made = events.subscribe(receiver.url)
        bobs = events.subscribe(receiver.url, user="bob")
        row_id = events.make()

        worker.run_until(lambda: receiver.subjects == [row_id])
        until(lambda: events.row(made)["last_delivered_at"], work=worker.run_once)

    assert events.row(bobs)["last_delivered_at"] is None


def test_chat_is_told_in_words_without_markup(events: Events, receiver: Receiver, other: Receiver) -> None:
    """Of Slack and of Teams."""
    slack = events.subscribe(receiver.url, format="slack")
    teams = events.subscribe(other.url, format="teams")
    row_id = events.make()
    events.conn.execute("update public.reservations set name = '<!channel> x' where reservation_id = %s", (row_id,))

    events.look(slack)
    events.look(teams)

    line = f"Reservation &lt;!channel&gt; x ({row_id[:8]}) of ada: pending:"
    assert json.loads(receiver.got[0].body)["text"].startswith(line)
    card = json.loads(other.got[0].body)["attachments"][0]["content"]
    assert card["body"][0]["text"].startswith(line)
