"""Who reads what of subscriptions, with row level security on: users their own, and the worker alone the secrets."""

import psycopg
import pytest

from pgfleet.producers import event as producer
from pgfleet.producers.placing.refusing import NotTheirsError
from pgfleet.schema.asking import Role
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.feed.known import refuse_strange
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.reads.event.subscription import listing
from worlds.events import Events
from worlds.identity.people import as_person, asking, member_of
from worlds.receiver import Receiver
from worlds.strangers import own_login


@pytest.fixture
def guarded(events: Events, dsn: str) -> Events:
    migrate(dsn, rls=True)
    return events


def test_nobody_but_the_worker_reads_where_events_go(guarded: Events, receiver: Receiver) -> None:
    """Which delivers all the same."""
    made = guarded.subscribe(receiver.url)
    row_id = guarded.make()
    asked = "select has_column_privilege(%s, 'public.event_targets', %s, 'select')"
    roles = ("pgfleet_user", "pgfleet_api", "pgfleet_monitor", "pgfleet_sender", "pgfleet_worker_reservation")
    may = {guarded.conn.execute(asked, (role, column)).fetchone() for role in roles for column in ("url", "secret")}

    guarded.look(made)

    assert may == {(False,)}
    assert receiver.subjects == [row_id]


def test_a_users_own_login_subscribes_and_sees_its_own(guarded: Events, receiver: Receiver) -> None:
    """And is refused another's name."""
    guarded.subscribe(receiver.url, user="bob")
    user = f"ada_{guarded.row(guarded.subscribe(receiver.url, user='eve'))['subscription_id'].hex[:8]}"

    with own_login(guarded.conn, user) as own:
        mine = producer.subscribe(user, receiver.url, own)
        with pytest.raises(NotTheirsError) as refused:
            producer.subscribe("bob", receiver.url, own)
        guarded.worker.run()
        seen = [row["subscription_id"] for row in listing(own)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            own.execute("select secret from public.event_targets")

    assert seen == [mine.subscription_id]
    assert str(refused.value) == f"{user} may not ask for bob"


@pytest.mark.parametrize("role", ["pgfleet_user", "pgfleet_sender", "pgfleet_serve"])
def test_whoever_may_subscribe_is_told_what_there_is_none_of(guarded: Events, dsn: str, role: str) -> None:
    with member_of(dsn, role) as own:
        refuse_strange(own, ["reservation"], ["active"])
        with pytest.raises(BadMessage, match="did you mean reservation"):
            refuse_strange(own, ["reservatoin"], None)


def test_the_api_places_an_address_for_whom_it_speaks_for(guarded: Events, receiver: Receiver, dsn: str) -> None:
    """And for nobody else, unless that is an operator."""
    with member_of(dsn, "pgfleet_serve") as api:
        with api.transaction(), asking(api, as_person("ada")):
            producer.subscribe("ada", receiver.url, api)
        with pytest.raises(NotTheirsError), api.transaction(), asking(api, as_person("ada")):
            producer.subscribe("bob", receiver.url, api)
        with api.transaction(), asking(api, as_person("root", Role.DEVOPS)):
            producer.subscribe("bob", receiver.url, api)
    guarded.worker.run()

    assert sorted(row["user_id"] for row in listing(guarded.conn)) == ["ada", "bob"]
