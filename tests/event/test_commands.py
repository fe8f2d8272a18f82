"""`pgfleet subscribe`, `unsubscribe` and `subscriptions`, as a user types them."""

import re

import pytest

from pgfleet.workers.event.machine import KIND
from worlds.commands import Pgfleet
from worlds.database import Connection
from worlds.events import Events
from worlds.fleet import settings_for, worker_on
from worlds.receiver import Receiver


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    """Commands on the test's own database."""
    return Pgfleet(dsn, monkeypatch, capsys)


def test_a_user_subscribes_is_told_and_ends_it(
    pgfleet: Pgfleet, dsn: str, conn: Connection, receiver: Receiver
) -> None:
    """The secret is printed once, and never again."""
    url = f"{receiver.url}/services/hush"
    made = pgfleet("subscribe", url, "--machine", "reservation", "--user", "ada", "--json").json
    with worker_on(KIND, settings_for(dsn, events_may_reach="127.0.0.1")) as worker:
        worker.run()
        tested = pgfleet("subscriptions", "test", made["subscription_id"][:8], "--user", "ada").out
        worker.run()
        listed = pgfleet("subscriptions", "--user", "ada", "--json").json
        shown = pgfleet("subscriptions", "show", made["subscription_id"], "--user", "ada").out
        pgfleet("unsubscribe", made["subscription_id"], "--user", "ada")
        worker.run()

    after = pgfleet("subscriptions", "--user", "ada").out
    assert receiver.got[0].is_signed_with(made["secret"])
    assert tested == f"{made['subscription_id']} test sent\n"
    assert [(row["status"], row["last_answer"]) for row in listed] == [("active", "test: 200")]
    assert "off" in after
    assert not any(secret in f"{listed}{shown}{after}" for secret in ("hush", made["secret"]))
    assert pgfleet("subscriptions", "--user", "bob").out.startswith("No subscriptions")


def test_what_is_wrong_is_told_by_its_option(pgfleet: Pgfleet) -> None:
    """And nothing is sent."""
    refused = pgfleet("subscribe", "https://example.org/", "--format", "fax", "--user", "ada")
    strange = pgfleet("subscribe", "https://example.org/", "--state", "aktive", "--user", "ada")

    assert (refused.code, strange.code) == (2, 2)
    assert "--format" in refused.err
    assert "--state: aktive is not known; did you mean" in strange.err


def test_the_help_names_each_machine_and_each_notice(pgfleet: Pgfleet, conn: Connection) -> None:
    """What a subscription may ask for, beside the states that DATABASE.md draws."""
    words = set(re.findall(r"\w+", pgfleet("subscribe", "--help").out))

    machines = {machine for (machine,) in conn.execute("select distinct machine from public.moves")}
    notices = {notice for (notice,) in conn.execute("select notice from public.notices")}
    assert machines | notices <= words


def test_deliveries_are_listed_and_sent_again_by_their_number(
    pgfleet: Pgfleet, dsn: str, conn: Connection, receiver: Receiver
) -> None:
    """What fails says when it is tried again."""
    made = pgfleet("subscribe", receiver.url, "--machine", "reservation", "--json").json["subscription_id"]
    with worker_on(KIND, settings_for(dsn, events_may_reach="127.0.0.1")) as worker:
        events = Events(conn, worker)
        worker.run()
        row_id = events.make()
        events.look_at(made)
        again = pgfleet("deliveries", made[:8], "--again", "1")
        receiver.status = 500
        worker.run()

    listed, as_json = pgfleet("deliveries"), pgfleet("deliveries", made, "--json").json
    gone, unsaid = pgfleet("deliveries", made, "--again", "7"), pgfleet("deliveries", "--again", "1")
    assert (again.out, receiver.subjects) == (f"{made} send again sent\n", [row_id, row_id])
    assert [(row["number"], row["result"], row["answer"]) for row in as_json] == [
        (2, "failing", "500"),
        (1, "delivered", "200"),
    ]
    assert ("failing" in listed.out, as_json[0]["next_try_at"] is not None) == (True, True)
    assert (gone.code, "Delivery 7 is not kept" in gone.err) == (1, True)
    assert (unsaid.code, "Of which subscription?" in unsaid.err) == (1, True)
