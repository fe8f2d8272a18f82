"""People with a token: issuer and subject are who one is; e-mails, names and roles count as far as they may."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pgfleet.schema.asking import Role
from pgfleet.schema.errors import Refusal
from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.identity.people import NotLetIn, Verified, principal_of
from pgfleet.schema.identity.principal import Principal, Proof
from worlds.database import Connection
from worlds.identity.people import audited, forget_audit, person

ISSUER, OTHER = "https://login.example.org/", "https://other.example.net/"
ADA = Verified(ISSUER, "auth0|1", "ada", "ada@example.org", email_verified=True, full_name="Ada L.", role="USER")


def rows(owner: Connection, columns: str) -> list[Any]:
    return owner.execute(f"select {columns} from autoscaler.users order by id".encode()).fetchall()


def test_an_account_and_a_name_are_made_at_first_sight(owner: Connection, api: Connection) -> None:
    found = principal_of(api, ADA)

    ((number, *account),) = rows(owner, "id, email, full_name, auth_provider::text, keycloak_user_id, hashed_password")
    assert found == Principal("ada", Role.USER, Proof.OIDC, number, "ada@example.org")
    assert account == ["ada@example.org", "Ada L.", "keycloak", "auth0|1", None]
    assert owner.execute("select username, account_id from public.api_users").fetchall() == [("ada", number)]


def test_the_same_subject_is_the_same_person_whatever_else_has_changed(owner: Connection, api: Connection) -> None:
    first = principal_of(api, ADA)

    again = principal_of(api, replace(ADA, username="eve", email="new@example.org", full_name="E."))

    assert again == first


def test_one_that_is_known_writes_nothing_and_waits_for_nobody(
    owner: Connection, api: Connection, api_dsn: str
) -> None:
    first = principal_of(api, ADA)
    api.execute("set lock_timeout = '1ms'")

    with psycopg.connect(api_dsn) as somebody:
        principal_of(somebody, replace(ADA, subject="2", username="bob", email="bob@example.org"))
        with api.transaction():
            api.execute("set transaction read only")
            again = principal_of(api, ADA)

    assert again == first


def test_the_same_subject_of_another_issuer_is_another_person(owner: Connection, api: Connection) -> None:
    first = principal_of(api, ADA)

    other = principal_of(api, replace(ADA, issuer=OTHER, username="ada.b", email="ada@example.net"))

    assert (other.account_id != first.account_id, other.username) == (True, "ada.b")
    assert rows(owner, "keycloak_user_id") == [("auth0|1",), (None,)]


def test_a_verified_email_of_the_named_issuer_leads_to_the_account_that_was_there(
    owner: Connection, api: Connection, password_hash: str
) -> None:
    there = person(owner, "ada.l", "ADMIN", password_hash)

    found = principal_of(api, replace(ADA, email="ADA.L@Example.org"), link_issuer=ISSUER)

    assert (found.account_id, found.username, found.role) == (there.account_id, "ada.l", Role.ADMIN)
    assert rows(owner, "auth_provider::text, keycloak_user_id, hashed_password") == [("keycloak", "auth0|1", None)]


@pytest.mark.parametrize(
    ("token", "link_issuer"),
    [
        (replace(ADA, email_verified=False), ISSUER),
        (ADA, OTHER),
        (ADA, None),
        (replace(ADA, email="\u0430da@example.org"), ISSUER),
        (replace(ADA, email=None), ISSUER),
        (replace(ADA, email="' or true --"), ISSUER),
    ],
    ids=["unverified", "another issuer", "no issuer named", "look-alike", "none", "no e-mail"],
)
def test_any_other_email_leads_to_nobody_and_is_not_kept(
    owner: Connection, api: Connection, token: Verified, link_issuer: str | None
) -> None:
    there = accounts.add(owner, "ada@example.org", role="ADMIN", username="root")

    found = principal_of(api, token, link_issuer)

    assert found.account_id != there
    assert (found.role, found.email, found.username) == (Role.USER, None, "ada")
    assert rows(owner, "email")[0] == ("ada@example.org",)
    assert rows(owner, "email")[1][0].endswith("@no-email.invalid")
    assert owner.execute("select email from public.api_users where username = 'ada'").fetchall() == [(None,)]


def test_an_email_that_nobody_verified_waits_for_nobody(owner: Connection, api: Connection) -> None:
    attacker = principal_of(api, replace(ADA, issuer=OTHER, subject="x", username="x", email_verified=False))

    found = principal_of(api, ADA, link_issuer=ISSUER)

    assert (found.account_id != attacker.account_id, found.email) == (True, "ada@example.org")


def test_an_account_that_somebody_signs_in_to_by_token_is_not_linked_once_more(
    owner: Connection, api: Connection
) -> None:
    first = principal_of(api, replace(ADA, issuer=OTHER))

    found = principal_of(api, replace(ADA, username="ada.l"), link_issuer=ISSUER)

    assert (found.account_id != first.account_id, found.email) == (True, None)


def test_a_subject_that_was_known_before_is_the_named_issuers(owner: Connection, api: Connection) -> None:
    owner.execute(
        "insert into autoscaler.users (email, full_name, auth_provider, keycloak_user_id, role)"
        " values ('old@example.org', 'Old', 'keycloak', 'auth0|1', 'DEVOPS')"
    )

    strange = principal_of(api, replace(ADA, issuer=OTHER, username="x", role=None), link_issuer=ISSUER)
    found = principal_of(api, replace(ADA, role=None), link_issuer=ISSUER)

    assert (strange.role, found.role, found.email) == (Role.USER, Role.DEVOPS, "old@example.org")


def test_a_verified_email_is_kept_as_soon_as_there_is_one(owner: Connection, api: Connection) -> None:
    first = principal_of(api, replace(ADA, email_verified=False))

    found = principal_of(api, ADA)

    assert (first.email, found.email) == (None, "ada@example.org")


@pytest.mark.parametrize(
    ("claim", "role"),
    [
        ("ADMIN", Role.ADMIN),
        ("DEVOPS", Role.DEVOPS),
        ("USER", Role.USER),
        ("NODE", Role.USER),
        ("SERVICE", Role.USER),
        ("admin", Role.USER),
        ("ADMIN ", Role.USER),
        ("", Role.USER),
    ],
)
def test_the_role_is_what_the_claim_says(owner: Connection, api: Connection, claim: str, role: Role) -> None:
    first = principal_of(api, replace(ADA, role="DEVOPS"))

    found = principal_of(api, replace(ADA, role=claim))

    assert (first.role, found.role) == (Role.DEVOPS, role)


def test_without_a_claim_for_it_the_role_stays(owner: Connection, api: Connection) -> None:
    principal_of(api, replace(ADA, role="DEVOPS"))

    assert principal_of(api, replace(ADA, role=None)).role == Role.DEVOPS


@pytest.mark.parametrize("claim", ["USER", "ADMIN", None])
def test_a_role_that_an_admin_gave_stays(owner: Connection, api: Connection, claim: str | None) -> None:
    first = principal_of(api, ADA)
    accounts.set_role(owner, str(first.account_id), "DEVOPS")

    assert principal_of(api, replace(ADA, role=claim)).role == Role.DEVOPS


def take(owner: Connection, how: str) -> None:
    """Somebody has the name ada."""
    statements = {
        "a key": "insert into public.api_users (username) values ('ada')",
        "capital letters": "insert into public.api_users (username) values ('ADA')",
        "reservations": "insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at,"
        " reservation_ended) values ('r1', 'ada', 'cancelled', 1, now(), now())",
        "disks": "insert into public.disks (disk_name, user_id) values ('data', 'ada')",
        "Hopsworks": "insert into hopsworks.users (id, email) values ('ada', 'h@example.org') on conflict do nothing",
    }
    owner.execute(statements[how].encode())


@pytest.mark.parametrize("how", ["a key", "capital letters", "reservations", "disks", "Hopsworks"])
def test_a_name_that_is_used_is_refused_until_an_admin_binds_it(owner: Connection, api: Connection, how: str) -> None:
    take(owner, how)
    try:
        with pytest.raises(NotLetIn, match="An ADMIN binds a name to account"):
            principal_of(api, ADA)
        with pytest.raises(NotLetIn):
            principal_of(api, ADA)
        ((number,),) = rows(owner, "id")
        if how != "capital letters":
            accounts.bind(owner, str(number), "ada")

            assert principal_of(api, ADA).username == "ada"
    finally:
        owner.execute("delete from hopsworks.users where id = 'ada'; delete from public.disks where user_id = 'ada'")


def test_the_name_of_a_login_is_not_taken(owner: Connection, api: Connection) -> None:
    names = ["postgres", "Postgres", "pgfleet_api", "PGFLEET_WORKER", api.info.user]

    for number, name in enumerate(names):
        with pytest.raises(NotLetIn, match="Rows or logins use the name"):
            principal_of(api, Verified(ISSUER, str(number), name))

    assert owner.execute("select from public.api_users").fetchall() == []


def test_the_name_of_another_subject_is_never_taken_over(owner: Connection, api: Connection) -> None:
    first = principal_of(api, ADA)
    thief = replace(ADA, subject="auth0|2", email="eve@example.org")

    with pytest.raises(NotLetIn, match="The name ada belongs to somebody else"):
        principal_of(api, thief)
    with pytest.raises(psycopg.Error, match="another account's") as refused:
        accounts.bind(owner, "eve@example.org", "ada")

    assert refused.value.sqlstate == "PF013"
    assert principal_of(api, ADA) == first


@pytest.mark.parametrize(
    "name", ["", "17", "a b", "ad\u0430", "x" * 256, "'; drop table public.reservations; --", "a\nb"]
)
def test_a_name_that_can_be_mistaken_is_refused(owner: Connection, api: Connection, name: str) -> None:
    with pytest.raises(NotLetIn, match="can't be used here"):
        principal_of(api, replace(ADA, username=name))

    assert owner.execute("select from public.api_users").fetchall() == []


@pytest.mark.parametrize("field", ["subject", "username", "email", "issuer", "full_name", "role"])
@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 10_000])
def test_what_the_database_can_not_hold_is_refused(owner: Connection, api: Connection, field: str, text: str) -> None:
    changed: dict[str, Any] = {field: text}

    with pytest.raises(Refusal):
        principal_of(api, replace(ADA, **changed))

    assert rows(owner, "id") == []


@pytest.mark.parametrize("field", ["subject", "issuer"])
def test_an_identity_is_some_text(owner: Connection, api: Connection, field: str) -> None:
    changed: dict[str, Any] = {field: ""}

    with pytest.raises(psycopg.Error) as refused:
        principal_of(api, replace(ADA, **changed))

    assert refused.value.sqlstate == "PF004"


@pytest.mark.parametrize(
    "end", ["update autoscaler.users set is_active = false", "update public.api_users set is_active = false"]
)
def test_who_is_not_active_is_not_let_in(owner: Connection, api: Connection, end: str) -> None:
    principal_of(api, ADA)
    owner.execute(end.encode())

    with pytest.raises(psycopg.Error, match="not active") as refused:
        principal_of(api, ADA)

    assert refused.value.sqlstate == "PF013"


def test_nor_under_another_subject_with_the_same_email(owner: Connection, api: Connection) -> None:
    principal_of(api, ADA)
    owner.execute("update autoscaler.users set is_active = false")

    with pytest.raises(psycopg.Error, match="not active"):
        principal_of(api, replace(ADA, subject="auth0|2", username="ada2"))

    assert len(rows(owner, "id")) == 1


def test_many_first_sights_at_once_make_one_account(owner: Connection, api_dsn: str) -> None:
    together = threading.Barrier(6)

    def sight(_: int) -> Principal:
        with psycopg.connect(api_dsn, autocommit=True) as conn:
            together.wait(30)
            return principal_of(conn, ADA)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(sight, range(6)))

    assert len(set(found)) == 1
    assert len(rows(owner, "id")) == 1


def test_of_two_who_want_one_name_at_once_one_has_it(owner: Connection, api_dsn: str) -> None:
    together = threading.Barrier(4)

    def sight(number: int) -> str:
        with psycopg.connect(api_dsn, autocommit=True) as conn:
            together.wait(30)
            try:
                return principal_of(conn, Verified(ISSUER, str(number), "ada" if number % 2 else "ADA")).username
            except NotLetIn:
                return ""

    with ThreadPoolExecutor(4) as pool:
        found = sorted(pool.map(sight, range(4)))

    assert found[:3] == [""] * 3
    assert found[3].lower() == "ada"
    assert len(rows(owner, "id")) == 4


def test_first_sight_and_a_new_role_are_in_the_audit_as_theirs(owner: Connection, api: Connection) -> None:
    number = str(principal_of(api, ADA).account_id)

    principal_of(api, replace(ADA, role="ADMIN"))

    assert audited(owner) == [
        ("ada@example.org", "USER", "USER_CREATED", number, "SUCCESS"),
        ("ada@example.org", "USER", "USER_UPDATED", number, "SUCCESS"),
    ]


def test_a_key_has_the_role_that_the_issuer_says_now(owner: Connection, api: Connection) -> None:
    principal_of(api, replace(ADA, role="ADMIN"))
    made = keys.make(owner, "ada", hours=1)
    forget_audit(owner)

    principal_of(api, ADA)
    found = keys.principal_of(api, made.key)

    assert found is not None
    assert found.role == Role.USER
