"""The audit of requests: who, in which role, from where; in the transaction of the write, once, and bounded."""

from typing import Any

import psycopg
import pytest

from pgfleet.schema.identity import accounts
from pgfleet.schema.identity.audit import Noted, note, note_refusals
from pgfleet.schema.identity.speaking import Origin, speaking_for
from worlds.database import Connection
from worlds.fleet import move_clock
from worlds.identity.people import as_person, asking, audited, forget_audit, member_of, person

DONE = Noted("NODE_CREATED", "NODE", "node", "17", "rack-7", "asked for a node")


def whole(owner: Connection) -> list[Any]:
    columns = "user_id, user_email, user_role, action, category, resource_type, resource_id, resource_name, description"
    more = "ip_address, user_agent, status, error_message"
    return owner.execute(f"select {columns}, {more} from autoscaler.audit_logs".encode()).fetchall()


def test_a_request_is_noted_with_who_asked_and_from_where(owner: Connection, api: Connection) -> None:
    ops = person(owner, "ops", "DEVOPS")
    forget_audit(owner)

    with asking(api, ops):
        note(api, DONE)

    what = ("NODE_CREATED", "NODE", "node", "17", "rack-7", "asked for a node")
    assert whole(owner) == [
        (ops.account_id, "ops@example.org", "DEVOPS", *what, "192.0.2.7", "tests/1.0", "SUCCESS", None)
    ]


def test_a_refusal_is_noted_as_a_failure(owner: Connection, api: Connection) -> None:
    with asking(api, as_person("ci")):
        note(api, DONE, error="ci may not do this")

    ((_, who, role, *_, status, error),) = whole(owner)
    assert (who, role, status, error) == ("ci", "USER", "FAILURE", "ci may not do this")


@pytest.mark.parametrize("account", [None, 999_999_999, 2**40, "x", "1; drop"])
def test_an_account_that_is_gone_is_named_by_its_name(owner: Connection, api: Connection, account: Any) -> None:
    with asking(api, as_person("ada", account_id=account)):
        note(api, DONE)

    assert [(number, who) for number, who, *_ in whole(owner)] == [(None, "ada")]


def test_it_is_gone_with_the_transaction_of_the_write(owner: Connection, api: Connection) -> None:
    with asking(api, as_person("ada")):
        note(api, DONE)
        raise psycopg.Rollback

    assert whole(owner) == []


def test_a_write_that_is_noted_is_in_the_audit_once(owner: Connection, api: Connection) -> None:
    root = person(owner, "root", "ADMIN")
    person(owner, "ada")
    forget_audit(owner)

    with asking(api, root):
        note(api, Noted("USER_ROLE_CHANGED", "USER", "user", "ada@example.org"))
        accounts.set_role(api, "ada@example.org", "DEVOPS")

    assert audited(owner) == [("root@example.org", "ADMIN", "USER_ROLE_CHANGED", "ada@example.org", "SUCCESS")]


def test_a_write_that_is_not_noted_is_in_it_as_theirs_all_the_same(owner: Connection, api: Connection) -> None:
    root = person(owner, "root", "ADMIN")
    number = str(person(owner, "ada").account_id)
    forget_audit(owner)

    with asking(api, root):
        note(api, DONE)
    with asking(api, root):
        accounts.set_role(api, "ada@example.org", "DEVOPS")

    assert audited(owner)[1:] == [("root@example.org", "ADMIN", "USER_UPDATED", number, "SUCCESS")]


def test_nor_does_a_note_that_was_rolled_back_hide_a_write(owner: Connection, api: Connection) -> None:
    root = person(owner, "root", "ADMIN")
    person(owner, "ada")
    forget_audit(owner)

    with asking(api, root):
        with api.transaction(force_rollback=True):
            note(api, DONE)
        accounts.set_role(api, "ada@example.org", "DEVOPS")

    assert [action for _, _, action, _, _ in audited(owner)] == ["USER_UPDATED"]


def test_a_failure_hides_no_write(owner: Connection, api: Connection) -> None:
    root = person(owner, "root", "ADMIN")
    person(owner, "ada")
    forget_audit(owner)

    with asking(api, root):
        note(api, DONE, error="no")
        accounts.set_role(api, "ada@example.org", "DEVOPS")

    assert [action for _, _, action, _, _ in audited(owner)] == ["NODE_CREATED", "USER_UPDATED"]


@pytest.mark.parametrize("role", ["pgfleet_user", "pgfleet_monitor", "pgfleet_worker"])
def test_nobody_but_the_api_hides_a_write_by_saying_that_it_is_noted(
    owner: Connection, fleet_dsn: str, role: str
) -> None:
    person(owner, "ada")
    forget_audit(owner)

    with member_of(fleet_dsn, role) as conn:
        owner.execute(f'grant select, update on autoscaler.users to "{conn.info.user}"'.encode())
        with conn.transaction():
            conn.execute("select set_config('pgfleet.audited', pg_current_xact_id()::text, true)")
            conn.execute("update autoscaler.users set full_name = 'x'")
        login = conn.info.user

    assert [(who, action) for who, _, action, _, _ in audited(owner)] == [(login, "USER_UPDATED")]


def test_nothing_is_noted_for_nobody(owner: Connection, api: Connection) -> None:
    with pytest.raises(psycopg.Error, match="say first for whom") as refused:
        note(api, DONE)

    assert refused.value.sqlstate == "PF013"
    assert whole(owner) == []


LONG = "x\0\x1b[31m\ud800" + "y" * 10_000


def test_whatever_comes_is_cut_and_plain(owner: Connection, api: Connection) -> None:
    with speaking_for(api, as_person("ada"), Origin(LONG, LONG)):
        note(api, Noted("NODE_CREATED", "NODE", LONG, LONG, LONG, LONG), error=LONG)

    (kept,) = whole(owner)
    lengths = [len(text) for text in kept if isinstance(text, str)]
    assert max(lengths) <= 1000
    assert all(text.isprintable() for text in kept if isinstance(text, str))


def test_a_request_from_the_database_is_cut_there_too(owner: Connection, api: Connection) -> None:
    with asking(api, as_person("ada")):
        api.execute(
            "select public.note_request('A', 'NODE', %(x)s, %(x)s, %(x)s, %(x)s, 'FAILURE', %(x)s)", {"x": "x" * 9999}
        )

    assert max(len(text) for text in whole(owner)[0] if isinstance(text, str)) == 1000


@pytest.mark.parametrize(
    ("action", "category"), [("", "NODE"), ("created", "NODE"), ("A B", "NODE"), ("A", "node"), ("A", "X'; --")]
)
def test_actions_and_categories_are_of_their_lists(
    owner: Connection, api: Connection, action: str, category: str
) -> None:
    with pytest.raises(psycopg.Error) as refused, asking(api, as_person("ada")):
        note(api, Noted(action, category))

    assert refused.value.sqlstate == "PF004"


def test_refusals_of_nobody_are_numbers_by_address_and_minute(owner: Connection, api: Connection) -> None:
    note_refusals(api, "192.0.2.1", 3)
    note_refusals(api, "192.0.2.1", 2)
    note_refusals(api, "2001:db8::1", 1)
    note_refusals(api, "2001:db8::2", 1)
    note_refusals(api, "no address\0", 1)
    move_clock(owner, 60)
    note_refusals(api, "192.0.2.1", 1)

    found = owner.execute("select address, refused from public.refusals order by minute, address").fetchall()
    assert found == [("192.0.2.1", 5), ("2001:db8::", 2), ("unknown", 1), ("192.0.2.1", 1)]
    assert whole(owner) == []


def test_many_addresses_in_a_minute_are_counted_together(owner: Connection, api: Connection) -> None:
    owner.execute(
        "insert into public.refusals select n::text, date_trunc('minute', public.fleet_now()), 1"
        " from generate_series(1, 999) n"
    )

    note_refusals(api, "192.0.2.1", 1)
    note_refusals(api, "192.0.2.2", 1)

    assert owner.execute("select count(*), max(refused) from public.refusals").fetchall() == [(1000, 2)]


@pytest.mark.parametrize("number", [0, -1, 2**40])
def test_a_number_of_refusals_is_one(owner: Connection, api: Connection, number: int) -> None:
    with pytest.raises(psycopg.Error) as refused:
        note_refusals(api, "192.0.2.1", number)

    assert refused.value.sqlstate == "PF004"


def test_by_hand_is_by_hand_as_before(owner: Connection) -> None:
    person(owner, "ada")
    forget_audit(owner)

    owner.execute("update autoscaler.users set full_name = 'x'")

    ((who, action, description),) = owner.execute(
        "select user_email, action, description from autoscaler.audit_logs"
    ).fetchall()
    assert (who, action, description.endswith("was updated by hand")) == (owner.info.user, "USER_UPDATED", True)
