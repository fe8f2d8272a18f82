"""Accounts: an ADMIN changes them, nobody else does; there is always an ADMIN; and no claim of others makes one."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from pgfleet.schema.asking import Role
from pgfleet.schema.errors import Refusal
from pgfleet.schema.identity import accounts, keys, passwords
from pgfleet.schema.identity.principal import Principal
from worlds.database import Connection
from worlds.identity.people import as_person, asking, member_of, person

OWN = passwords.NOBODYS.decode()
CHANGES: dict[str, Callable[[Connection], object]] = {
    "add": lambda conn: accounts.add(conn, "new@example.org", role="ADMIN"),
    "role": lambda conn: accounts.set_role(conn, "ada@example.org", "ADMIN"),
    "activate": lambda conn: accounts.set_active(conn, "ada@example.org", active=True),
    "deactivate": lambda conn: accounts.set_active(conn, "root@example.org", active=False),
    "password": lambda conn: accounts.set_password(conn, "root@example.org", OWN),
    "unlock": lambda conn: accounts.unlock(conn, "root@example.org"),
    "bind": lambda conn: accounts.bind(conn, "ada@example.org", "other"),
}
CALLS = [
    "select public.principal_of_key('x')",
    "select public.principal_of_subject('i', 's', null, true, 'ada', null, 'ADMIN', null)",
    "select public.password_of('root@example.org', '')",
    "select public.signed_in(1, 'x', '', 'x', 'x', 1)",
    "select public.make_key('root', repeat('a', 64), 'abcdefgh', 60, '', true)",
    "select public.keys_seen(null, null, 10)",
    "select public.revoke_key('1')",
    "select public.make_account('eve@example.org', '', 'ADMIN', null, null)",
    "select public.set_account_role('root@example.org', 'ADMIN')",
    "select public.set_account_active('root@example.org', false)",
    "select public.set_account_password('root@example.org', 'x')",
    "select public.unlock_account('root@example.org')",
    "select public.bind_username('root@example.org', 'eve')",
    "select public.accounts_seen(null, null, 10)",
    "select public.note_request('X', 'AUTH', null, null, null, null)",
    "select public.note_refusals('', 1)",
]


def rows(conn: Connection, columns: str) -> list[Any]:
    return conn.execute(f"select {columns} from autoscaler.users order by id".encode()).fetchall()


@pytest.fixture
def people(owner: Connection) -> dict[str, Principal]:
    """An ADMIN, an operator, a user."""
    names = {"root": "ADMIN", "ops": "DEVOPS", "ada": "USER"}
    return {name: person(owner, name, role) for name, role in names.items()}


def state(owner: Connection) -> list[Any]:
    return rows(owner, "email, role::text, is_active, hashed_password, role_override")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["ada", "ops", "node"])
def test_who_is_no_admin_changes_no_account(
    owner: Connection, api: Connection, people: dict[str, Principal], name: str, change: Callable[[Connection], object]
) -> None:
    before = state(owner)
    who = people.get(name, as_person("17", Role.NODE))

    with pytest.raises(psycopg.Error) as refused, asking(api, who):
        change(api)

    assert refused.value.sqlstate == "PF013"
    assert state(owner) == before


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nor_does_the_api_that_speaks_for_nobody(
    owner: Connection, api: Connection, people: dict[str, Principal], change: Callable[[Connection], object]
) -> None:
    before = state(owner)

    with pytest.raises(psycopg.Error) as refused:
        change(api)

    assert refused.value.sqlstate == "PF013"
    assert state(owner) == before


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_admin_changes_any(
    owner: Connection, api: Connection, people: dict[str, Principal], change: Callable[[Connection], object]
) -> None:
    person(owner, "second", "ADMIN")

    with asking(api, people["root"]):
        change(api)


@pytest.mark.parametrize("statement", CALLS)
@pytest.mark.parametrize("role", ["pgfleet_user", "pgfleet_api", "pgfleet_sender", "pgfleet_monitor", "pgfleet_worker"])
def test_no_other_login_calls_any_of_it_whatever_it_claims(
    owner: Connection, fleet_dsn: str, people: dict[str, Principal], role: str, statement: str
) -> None:
    claims = json.dumps({"sub": "root", "pgfleet_role": "ADMIN", "pgfleet_account": people["root"].account_id})

    with member_of(fleet_dsn, role) as conn, conn.transaction():
        conn.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    [
        "select hashed_password from autoscaler.users",
        "select key_hash from public.api_keys",
        "select email_hash from public.sign_in_failures",
        "update autoscaler.users set role = 'ADMIN'",
        "update public.api_users set account_id = 1",
        "update autoscaler.user_subjects set account_id = 1",
        "delete from autoscaler.audit_logs",
        "delete from public.refusals",
        "select public.insert_key(1, repeat('a', 64), 'abcdefgh', 60, '', false)",
        "select public.claim_username((select max(id) from autoscaler.users), 'free', true)",
        "select public.account_at_first_sight('issuer', 'subject', null, 'x', false)",
        "select autoscaler.write_audit('X', 'AUTH', '', '', '', '', 'SUCCESS', '')",
    ],
)
def test_the_api_reads_no_secret_and_writes_no_table_of_people(
    owner: Connection, api: Connection, people: dict[str, Principal], statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), asking(api, people["root"]):
        api.execute(statement.encode())


@pytest.mark.parametrize(
    "claims",
    [
        *({"sub": "ada", "pgfleet_role": role} for role in ("admin", "ADMIN ", {"a": "ADMIN"}, ["ADMIN"], "owner", "")),
        {"sub": "ada", "role": "ADMIN"},
        {"pgfleet_role": "admin"},
        {},
        [],
        "ADMIN",
    ],
)
def test_claims_that_are_no_admins_make_none(api: Connection, people: dict[str, Principal], claims: Any) -> None:
    api.execute("select set_config('request.jwt.claims', %s, false)", (json.dumps(claims),))

    with pytest.raises(psycopg.Error) as refused:
        accounts.set_role(api, "ada@example.org", "ADMIN")

    assert refused.value.sqlstate == "PF013"


def test_an_operator_sees_accounts_and_a_user_does_not(api: Connection, people: dict[str, Principal]) -> None:
    with asking(api, people["ops"]):
        seen = accounts.listing(api)
    with pytest.raises(psycopg.Error, match="may not do this"), asking(api, people["ada"]):
        accounts.listing(api)

    assert [(row["username"], row["role"]) for row in seen] == [("root", "ADMIN"), ("ops", "DEVOPS"), ("ada", "USER")]
    assert not {"hashed_password"} & seen[0].keys()


def test_lists_go_on_from_an_account(owner: Connection, people: dict[str, Principal]) -> None:
    first = accounts.listing(owner, most=2)
    rest = accounts.listing(owner, after=first[-1]["id"])

    assert [row["username"] for row in (*first, *rest)] == ["root", "ops", "ada"]


@pytest.mark.parametrize("account", ["ada@example.org", "ADA@Example.org"])
def test_a_person_changes_their_own_password_and_no_others(
    owner: Connection, api: Connection, people: dict[str, Principal], account: str
) -> None:
    with asking(api, people["ada"]):
        accounts.set_password(api, "ada@example.org", OWN)
    with pytest.raises(psycopg.Error, match="may not"), asking(api, people["ada"]):
        accounts.set_password(api, str(people["root"].account_id), OWN)

    assert [hashed for (hashed,) in rows(owner, "hashed_password")] == [None, None, OWN]


def test_a_node_with_the_name_of_a_person_is_not_the_person(
    owner: Connection, api: Connection, people: dict[str, Principal]
) -> None:
    with pytest.raises(psycopg.Error, match="may not"), asking(api, as_person("ada", Role.NODE)):
        accounts.set_password(api, "ada@example.org", OWN)

    assert rows(owner, "hashed_password") == [(None,)] * 3


@pytest.mark.parametrize("hashed", ["plain text", "", "$2b$31$" + "a" * 53, "$1$abc$def", "x" * 255])
def test_a_password_is_kept_as_a_bcrypt_hash_only(owner: Connection, people: dict[str, Principal], hashed: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        accounts.set_password(owner, "ada@example.org", hashed)

    assert refused.value.sqlstate == "PF004"
    assert not hashed or hashed not in str(refused.value).splitlines()[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda conn: accounts.set_active(conn, "root@example.org", active=False),
        lambda conn: accounts.set_role(conn, "root@example.org", "DEVOPS"),
        lambda conn: accounts.set_role(conn, "ROOT@example.org", "USER"),
    ],
)
def test_the_last_active_admin_stays_one(
    owner: Connection, people: dict[str, Principal], change: Callable[[Connection], None]
) -> None:
    second = accounts.add(owner, "second@example.org", role="ADMIN")
    accounts.set_active(owner, str(second), active=False)

    with pytest.raises(psycopg.Error, match="it is the last active ADMIN") as refused:
        change(owner)
    accounts.set_active(owner, str(second), active=True)
    change(owner)

    assert refused.value.sqlstate == "PF013"
    assert rows(owner, "email")[0] == ("root@example.org",)


def test_of_two_admins_who_end_each_other_at_once_one_stays(
    owner: Connection, api_dsn: str, people: dict[str, Principal]
) -> None:
    person(owner, "second", "ADMIN")
    together = threading.Barrier(2)

    def end(by: str, whom: str) -> str:
        with psycopg.connect(api_dsn, autocommit=True) as conn:
            together.wait(30)
            try:
                with asking(conn, as_person(by, Role.ADMIN)):
                    accounts.set_active(conn, f"{whom}@example.org", active=False)
            except psycopg.Error as error:
                return str(error.sqlstate)
            return "done"

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(end, ["root", "second"], ["second", "root"]))

    assert sorted(done) == ["PF013", "done"]


@pytest.mark.parametrize(
    "email", ["", "ada", "a@b c", "a@b@c", "\u0430da@example.org", "x" * 300 + "@a", "a\nb@c", "x@y.invalid", "'; --"]
)
def test_what_is_no_email_makes_no_account(owner: Connection, email: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        accounts.add(owner, email, username="ada")

    assert refused.value.sqlstate == "PF004"
    assert rows(owner, "id") == []


@pytest.mark.parametrize("field", ["email", "full_name", "role", "username"])
@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 10_000])
def test_what_the_database_can_not_hold_is_refused(owner: Connection, field: str, text: str) -> None:
    given: dict[str, Any] = {"email": "ada@example.org", "username": "ada", field: text}

    with pytest.raises(Refusal):
        accounts.add(owner, given.pop("email"), **given)

    assert rows(owner, "id") == []


@pytest.mark.parametrize("email", ["ada@example.org", "ADA@EXAMPLE.org"])
def test_an_email_has_one_account_in_capital_or_small_letters(owner: Connection, email: str) -> None:
    person(owner, "ada")

    with pytest.raises(psycopg.errors.UniqueViolation, match="there is an account"):
        accounts.add(owner, email, username="other")


def test_of_two_accounts_at_once_with_one_email_one_is_made(owner: Connection, fleet_dsn: str) -> None:
    together = threading.Barrier(2)

    def make(email: str) -> bool:
        with psycopg.connect(fleet_dsn, autocommit=True) as conn:
            together.wait(30)
            try:
                accounts.add(conn, email)
            except psycopg.Error:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(make, ["ada@example.org", "ADA@example.org"]))

    assert sorted(done) == [False, True]


@pytest.mark.parametrize("role", ["admin", "NODE", "", "SERVICE", "x' or 'y"])
def test_what_is_no_role_is_refused(owner: Connection, people: dict[str, Principal], role: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        accounts.set_role(owner, "ada@example.org", role)

    assert refused.value.sqlstate == "PF004"


@pytest.mark.parametrize("account", ["", "nobody@example.org", "999999999", "99999999999", "%", "' or true --"])
def test_an_account_that_is_not_there_is_not_changed(
    owner: Connection, people: dict[str, Principal], account: str
) -> None:
    with pytest.raises(psycopg.Error, match="there is no account") as refused:
        accounts.set_active(owner, account, active=False)

    assert refused.value.sqlstate == "PF008"


def test_an_account_of_an_issuer_has_no_password(owner: Connection, people: dict[str, Principal]) -> None:
    owner.execute("update autoscaler.users set auth_provider = 'keycloak' where email like 'ada%'")

    with pytest.raises(psycopg.Error, match="signs in with its issuer"):
        accounts.set_password(owner, "ada@example.org", OWN)


def test_another_name_ends_the_keys_of_both(owner: Connection, api: Connection, people: dict[str, Principal]) -> None:
    own = keys.make(owner, "ada", hours=1)
    service = keys.make(owner, "ci", hours=1, new_name=True)

    ended = accounts.bind(owner, "ada@example.org", "ci")

    assert ended == 2
    assert [keys.principal_of(api, made.key) for made in (own, service)] == [None, None]
    with pytest.raises(psycopg.Error, match="ada is not active"):
        keys.make(owner, "ada", hours=1)
    assert accounts.bind(owner, "ada@example.org", "ci") == 0


def test_a_name_of_another_account_is_not_bound(owner: Connection, people: dict[str, Principal]) -> None:
    with pytest.raises(psycopg.Error, match="the name root is another account's"):
        accounts.bind(owner, "ada@example.org", "root")

    assert [row["username"] for row in accounts.listing(owner)] == ["root", "ops", "ada"]


def test_who_is_let_in_again_is(owner: Connection, api: Connection, people: dict[str, Principal]) -> None:
    made = keys.make(owner, "ada", hours=1)
    accounts.set_active(owner, "ada@example.org", active=False)
    meanwhile = keys.principal_of(api, made.key)

    accounts.set_active(owner, "ada@example.org", active=True)

    assert (meanwhile, keys.principal_of(api, made.key) is not None) == (None, True)


def test_the_owner_of_the_tables_is_an_admin_of_its_own_right(owner: Connection) -> None:
    number = accounts.add(owner, "first@example.org", role="ADMIN", password_hash=OWN)

    (row,) = accounts.listing(owner, "FIRST@example.org")

    assert (row["id"], row["username"], row["role"], row["role_override"]) == (
        number,
        "first@example.org",
        "ADMIN",
        True,
    )
