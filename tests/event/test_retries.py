"""When a delivery that was not taken is tried again, and what is counted of tries."""

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY

from pgfleet.workers.event.delivering import LONGEST_PAUSE_S, pause_s
from worlds.events import Events
from worlds.fleet import move_clock
from worlds.receiver import Receiver

HOUR_S = 3600


def next_try_s(events: Events) -> float:
    """From now until the ticket of the one batch is due."""
    asked = (
        "select extract(epoch from vt - public.fleet_now())::float8 from pgmq.q_event_deliveries"
        " where message ->> 'action' = 'deliver'"
    )
    [(due_s,)] = events.conn.execute(asked).fetchall()
    return float(due_s)


def refused(events: Events, receiver: Receiver, status: int, **headers: str) -> float:
    """When it is tried again after this answer."""
    made = events.subscribe(receiver.url)
    events.make()
    receiver.status, receiver.headers = status, {name.replace("_", "-"): text for name, text in headers.items()}
    events.look(made)
    return next_try_s(events)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("asked", "at_least_s", "at_most_s"), [("90", 80, 90), ("999999", 3500, HOUR_S)])
def test_who_asks_to_be_left_alone_is_for_so_long(
    events: Events, receiver: Receiver, status: int, asked: str, at_least_s: float, at_most_s: float
) -> None:
    """And for an hour at most: else it could ask never to be switched off."""
    assert at_least_s < refused(events, receiver, status, Retry_After=asked) <= at_most_s


def test_a_date_to_come_back_at_is_of_the_clock_of_whoever_says_it(events: Events, receiver: Receiver) -> None:
    """Which may be days behind ours."""
    theirs = datetime.now(UTC) - timedelta(days=3)
    later = format_datetime(theirs + timedelta(seconds=120), usegmt=True)

    asked_s = refused(events, receiver, 503, Date=format_datetime(theirs, usegmt=True), Retry_After=later)

    assert 110 < asked_s <= 121


@pytest.mark.parametrize(("status", "asked"), [(503, "soon"), (503, "-5"), (503, "nan"), (500, "90"), (503, "0")])
def test_what_asks_for_nothing_sensible_is_tried_again_as_ever(
    events: Events, receiver: Receiver, status: int, asked: str
) -> None:
    """A 500 says nothing of when it ends."""
    assert refused(events, receiver, status, Retry_After=asked) <= 1.25


def test_pauses_double_up_to_an_hour_and_differ() -> None:
    """Whatever failed together is not tried together."""
    firsts = {pause_s(0) for _ in range(50)}

    assert len(firsts) > 10
    assert all(0.75 <= first <= 1.25 for first in firsts)
    assert all(0.75 * 2**n <= pause_s(n) <= 1.25 * 2**n for n in range(11))
    assert 0.75 * LONGEST_PAUSE_S <= pause_s(10_000) <= 1.25 * LONGEST_PAUSE_S
    assert pause_s(0, 60) == 60


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("pgfleet_event_deliveries_total", {"outcome": outcome}) or 0


@pytest.mark.parametrize(("status", "outcome"), [(200, "taken"), (410, "gone"), (302, "refused"), (500, "refused")])
def test_each_try_is_counted_by_what_became_of_it(
    events: Events, receiver: Receiver, status: int, outcome: str
) -> None:
    """Once."""
    made = events.subscribe(receiver.url)
    events.make()
    receiver.status = status
    before = counted(outcome)

    events.look(made)

    assert counted(outcome) == before + 1


def test_no_connection_is_counted_as_no_answer(events: Events) -> None:
    """Nothing listens there."""
    made = events.subscribe("http://127.0.0.1:9/")
    events.make()
    before = counted("unanswered")

    events.look(made)

    assert counted("unanswered") == before + 1


def test_the_age_of_what_was_not_delivered_is_known(events: Events, receiver: Receiver) -> None:
    """Of those who are told, and of nobody who has all."""
    ages = "select public.events_undelivered_s()"
    made = events.subscribe(receiver.url)
    events.make()
    none = events.conn.execute(ages).fetchone()
    receiver.status = 500
    events.look(made)
    move_clock(events.conn, 600)
    old = events.conn.execute(ages).fetchone()
    receiver.status = 200
    events.worker.run()

    assert none == events.conn.execute(ages).fetchone() == (0,)
    assert old is not None
    assert 600 <= old[0] < 700


@pytest.mark.parametrize(
    ("addresses", "why"),
    [
        (["10.0.0.1"], "leads to an address that is not public"),
        (["8.8.8.8", "169.254.169.254"], "leads to an address that is not public"),
        ([], "its name has no address"),
    ],
)
def test_whose_address_leads_into_our_network_is_told_so(
    events: Events, monkeypatch: pytest.MonkeyPatch, addresses: list[str], why: str
) -> None:
    """In its history, and where its user looks; nothing is sent, and nothing of the address is said."""
    made = events.subscribe("https://receiver.example.org/hush")
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> list[Any]:
        of_name = addresses if host in ("receiver.example.org", b"receiver.example.org") else [host]
        return [found for address in of_name for found in real(address, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    events.make()
    events.look(made)

    asked = "select reason from public.status_history where row_id = %s order by history_id desc limit 1"
    reason = events.conn.execute(asked, (made.subscription_id,)).fetchone()
    assert reason == (f"a delivery was not taken: {why}",)
    assert events.row(made)["detail"].startswith(f"not taken: {why}; tried again at ")
    assert events.row(made)["last_answer"] == why


@pytest.mark.parametrize("url", ["https://169.254.169.254/latest/hush", "https://[::ffff:10.0.0.1]/hush"])
def test_a_subscription_to_an_address_in_our_network_is_off(events: Events, url: str) -> None:
    """Who asked for it reads why, in its row."""
    made = events.subscribe(url)

    row = events.row(made)
    assert (row["status"], row["status_reason"]) == ("off", "url: leads to an address that is not public")
    assert events.letters() == ["url: leads to an address that is not public"]
