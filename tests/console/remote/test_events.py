"""Subscriptions and deliveries through the API: as at the database, by who has a key."""

from collections.abc import Iterator

import pytest

from pgfleet.workers.event.machine import KIND
from worlds.api.server import Api
from worlds.commands import Pgfleet
from worlds.events import Events
from worlds.fleet import settings_for, worker_on
from worlds.receiver import Receiver


@pytest.fixture
def events(api: Api, dsn: str) -> Iterator[Events]:
    with worker_on(KIND, settings_for(dsn, events_may_reach="127.0.0.1")) as worker:
        yield Events(api.conn, worker)


def test_a_user_subscribes_is_told_and_ends_it(pgfleet: Pgfleet, events: Events, receiver: Receiver) -> None:
    """The secret is printed once; the address, never."""
    made = pgfleet("subscribe", f"{receiver.url}/services/hush", "--machine", "reservation", "--json").json
    which = made["subscription_id"][:8]
    events.worker.run()
    tested = pgfleet("subscriptions", "test", which)
    events.worker.run()
    listed, shown = pgfleet("subscriptions"), pgfleet("subscriptions", "show", which)
    ended = pgfleet("unsubscribe", which)
    events.worker.run()
    off = pgfleet("subscriptions", "--json").json
    resumed = pgfleet("subscriptions", "resume", which, "--json").json

    assert (tested.out, ended.code, resumed["result"]) == (f"{made['subscription_id']} test sent\n", 0, "resume sent")
    assert receiver.got[0].is_signed_with(made["secret"])
    assert ("test: 200" in listed.out, [row["status"] for row in off]) == (True, ["off"])
    assert not any(secret in f"{listed.out}{shown.out}{off}" for secret in ("hush", made["secret"]))


def test_deliveries_are_listed_and_sent_again_by_their_number(
    pgfleet: Pgfleet, events: Events, receiver: Receiver
) -> None:
    made = pgfleet("subscribe", receiver.url, "--machine", "reservation", "--json").json["subscription_id"]
    events.worker.run()
    rows = []
    for _ in range(2):
        rows.append(events.make())
        events.look_at(made)
    listed, as_json = pgfleet("deliveries"), pgfleet("deliveries", made[:8], "--limit", "1", "--json").json
    again = pgfleet("deliveries", made[:8], "--again", "2")
    events.worker.run()

    assert [" ".join(line.split()[1:4]) for line in listed.out.splitlines()[1:]] == ["2 1 1", "1 1 1"]
    assert [(row["number"], row["result"], row["answer"]) for row in as_json] == [(2, "delivered", "200")]
    assert (again.code, receiver.subjects) == (0, [*rows, rows[1]])


def test_what_is_wrong_is_told_by_its_option(pgfleet: Pgfleet) -> None:
    """As at the database."""
    refused = pgfleet("subscribe", "https://example.org/", "--format", "fax")
    unknown, unsaid = pgfleet("subscriptions", "show", "3f2a9c1e"), pgfleet("deliveries", "--again", "1")

    assert (refused.code, "--format" in refused.err) == (2, True)
    assert (unknown.code, "There is no subscription 3f2a9c1e of yours" in unknown.err) == (1, True)
    assert (unsaid.code, "Of which subscription?" in unsaid.err) == (1, True)
