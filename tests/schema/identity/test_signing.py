"""Signing in with a password: wrong ones slow down one account from one address, and nobody learns who is there."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pgfleet.schema.asking import Role
from pgfleet.schema.errors import Refusal
from pgfleet.schema.identity import accounts, keys, passwords
from pgfleet.schema.identity.signing import TooSoon, WrongPassword, begin, let_in
from pgfleet.schema.identity.speaking import Origin
from worlds.database import Connection
from worlds.fleet import move_clock
from worlds.identity.people import ORIGIN, PASSWORD, audited, forget_audit, person

EMAIL = "ada@example.org"
ELSEWHERE = Origin("198.51.100.1", "elsewhere")


def fail(api: Connection, times: int, origin: Origin = ORIGIN, email: str = EMAIL) -> None:
    """Wrong passwords, each as soon as it is looked at."""
    for _ in range(times):
        begin(api, email, origin)


def pause_s(api: Connection, origin: Origin = ORIGIN, email: str = EMAIL) -> int:
    """How long the next password has to wait; that of somebody who need not wait counts."""
    try:
        begin(api, email, origin)
    except TooSoon as soon:
        return soon.after_s
    return 0


def test_the_right_password_makes_a_session(owner: Connection, api: Connection, password_hash: str) -> None:
    ada = person(owner, "ada", "DEVOPS", password_hash)
    forget_audit(owner)

    attempt = begin(api, " ADA@example.org ", ORIGIN)
    attempt.check(PASSWORD)
    principal, session = let_in(api, attempt, ORIGIN, hours=2)

    assert (principal.username, principal.role, principal.account_id) == ("ada", Role.DEVOPS, ada.account_id)
    assert keys.principal_of(api, session.key) == principal
    assert audited(owner) == [(EMAIL, "DEVOPS", "SIGNED_IN", str(session.key_id), "SUCCESS")]
    found = owner.execute("select ip_address, user_agent from autoscaler.audit_logs").fetchall()
    assert found == [("192.0.2.7", "tests/1.0")]


def test_hash_and_key_are_in_no_text_of_what_is_in_hand(owner: Connection, api: Connection, password_hash: str) -> None:
    person(owner, "ada", "USER", password_hash)

    attempt = begin(api, EMAIL, ORIGIN)
    _, session = let_in(api, attempt, ORIGIN, hours=1)

    assert password_hash not in repr(attempt)
    assert session.key not in repr(session)


@pytest.mark.parametrize("given", ["", "wrong", PASSWORD + " ", PASSWORD.upper(), "x" * 73, "a\0b", "\ud800", "é" * 60])
def test_any_other_password_is_wrong(owner: Connection, api: Connection, password_hash: str, given: str) -> None:
    person(owner, "ada", "USER", password_hash)

    with pytest.raises(WrongPassword):
        begin(api, EMAIL, ORIGIN).check(given)


@pytest.mark.parametrize(
    "change",
    [
        "update autoscaler.users set is_active = false",
        "update autoscaler.users set hashed_password = null",
        "update autoscaler.users set hashed_password = 'secret'",
        "update autoscaler.users set auth_provider = 'keycloak'",
        "update public.api_users set is_active = false",
        "delete from autoscaler.users",
    ],
)
def test_who_may_not_sign_in_is_told_no_more_than_with_a_wrong_password(
    owner: Connection, api: Connection, password_hash: str, change: str
) -> None:
    person(owner, "ada", "USER", password_hash)
    owner.execute(change.encode())

    with pytest.raises(WrongPassword) as told:
        begin(api, EMAIL, ORIGIN).check(PASSWORD)

    assert str(told.value) == "The e-mail or the password is wrong."


def test_an_email_that_is_nobodys_is_compared_and_slowed_down_as_any(
    owner: Connection, api: Connection, password_hash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bcrypt  # noqa: PLC0415

    person(owner, "ada", "USER", password_hash)
    compared: list[bytes] = []

    def compare(_: bytes, hashed: bytes) -> bool:
        compared.append(hashed)
        return False

    monkeypatch.setattr(bcrypt, "checkpw", compare)

    for email in (EMAIL, "nobody@example.org"):
        with pytest.raises(WrongPassword):
            begin(api, email, ORIGIN).check("wrong")
        fail(api, 3, email=email)

    # Work as much: 2 to the power of 12 rounds.
    assert [hashed[:7] for hashed in compared] == [b"$2b$12$"] * 2
    assert pause_s(api) == pause_s(api, email="nobody@example.org") == 1


@pytest.mark.parametrize("email", ["", "x" * 10_000, "a\0b", "\ud800", "' or 1=1 --", "%"])
def test_what_is_no_email_is_nobodys(owner: Connection, api: Connection, email: str) -> None:
    attempt = begin(api, email, ORIGIN)

    assert (attempt.account_id, attempt.hashed) == (None, None)


def test_pauses_grow_to_a_quarter_of_an_hour(owner: Connection, api: Connection, password_hash: str) -> None:
    person(owner, "ada", "USER", password_hash)
    fail(api, 3)
    pauses = []

    for _ in range(14):
        fail(api, 1)
        pauses.append(pause_s(api))
        move_clock(owner, pauses[-1])

    assert pauses[:6] == [1, 2, 4, 8, 16, 32]
    assert pauses[-3:] == [900] * 3


def test_a_password_in_a_pause_is_not_looked_at_and_lengthens_nothing(
    owner: Connection, api: Connection, password_hash: str
) -> None:
    person(owner, "ada", "USER", password_hash)
    fail(api, 4)
    before = owner.execute("select failures, not_before from public.sign_in_failures").fetchall()

    pauses = [pause_s(api) for _ in range(3)]

    assert pauses == [1, 1, 1]
    assert owner.execute("select failures, not_before from public.sign_in_failures").fetchall() == before


def test_nobody_locks_another_out(owner: Connection, api: Connection, password_hash: str) -> None:
    person(owner, "ada", "USER", password_hash)
    person(owner, "bob", "USER", password_hash)
    fail(api, 4)

    from_elsewhere = begin(api, EMAIL, ELSEWHERE)
    another = begin(api, "bob@example.org", ORIGIN)

    assert pause_s(api) == 1
    assert from_elsewhere.hashed == another.hashed == password_hash


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "x; drop", True),
        ("192.0.2.1", "192.0.2.1/24", True),
    ],
)
def test_a_network_that_one_person_has_is_one_address(
    owner: Connection,
    api: Connection,
    first: str,
    second: str,
    is_one: bool,  # noqa: FBT001
) -> None:
    fail(api, 4, Origin(first))

    assert (pause_s(api, Origin(second)) > 0) == is_one


def test_a_success_forgets_the_failures_from_there_alone(
    owner: Connection, api: Connection, password_hash: str
) -> None:
    person(owner, "ada", "USER", password_hash)
    fail(api, 4, ELSEWHERE)
    fail(api, 2)

    attempt = begin(api, EMAIL, ORIGIN)
    let_in(api, attempt, ORIGIN, hours=1)

    assert owner.execute("select address from public.sign_in_failures").fetchall() == [("198.51.100.1",)]


def test_failures_of_the_day_before_count_no_more(owner: Connection, api: Connection) -> None:
    fail(api, 4)

    move_clock(owner, 86401)
    fail(api, 3)

    assert pause_s(api) == 0


def test_an_operator_unlocks_an_account(owner: Connection, api: Connection, password_hash: str) -> None:
    person(owner, "ada", "USER", password_hash)
    fail(api, 4)
    fail(api, 4, ELSEWHERE)

    forgotten = accounts.unlock(owner, "Ada@Example.org")

    assert (forgotten, pause_s(api), pause_s(api, ELSEWHERE)) == (2, 0, 0)


def test_many_guesses_at_once_are_many(owner: Connection, api_dsn: str, password_hash: str) -> None:
    person(owner, "ada", "USER", password_hash)
    together = threading.Barrier(8)

    def guess(_: int) -> bool:
        with psycopg.connect(api_dsn, autocommit=True) as conn:
            together.wait(30)
            return pause_s(conn) == 0

    with ThreadPoolExecutor(8) as pool:
        looked_at = list(pool.map(guess, range(8)))

    assert sum(looked_at) == 4


def test_no_email_that_was_typed_is_kept(owner: Connection, api: Connection) -> None:
    fail(api, 1, email="my-password-in-the-wrong-field")

    (kept,) = owner.execute("select to_jsonb(f)::text from public.sign_in_failures f").fetchone() or ()
    assert "password" not in kept


def test_a_password_that_was_changed_meanwhile_lets_nobody_in(
    owner: Connection, api: Connection, password_hash: str
) -> None:
    person(owner, "ada", "USER", password_hash)
    attempt = begin(api, EMAIL, ORIGIN)
    accounts.set_password(owner, EMAIL, passwords.NOBODYS.decode())

    with pytest.raises(psycopg.Error, match="changed meanwhile") as refused:
        let_in(api, attempt, ORIGIN, hours=1)

    assert refused.value.sqlstate == "PF013"
    assert owner.execute("select from public.api_keys").fetchall() == []


def test_another_password_ends_sessions_and_no_other_keys(
    owner: Connection, api: Connection, password_hash: str
) -> None:
    person(owner, "ada", "USER", password_hash)
    made = keys.make(owner, "ada", hours=1)
    _, session = let_in(api, begin(api, EMAIL, ORIGIN), ORIGIN, hours=1)

    accounts.set_password(owner, EMAIL, passwords.NOBODYS.decode())

    assert keys.principal_of(api, session.key) is None
    assert keys.principal_of(api, made.key) is not None


def test_of_two_accounts_that_differ_in_capital_letters_each_has_its_own(
    owner: Connection, api: Connection, password_hash: str
) -> None:
    owner.execute(
        "insert into autoscaler.users (email, full_name, hashed_password)"
        " values ('ada@example.org', 'a', %(hash)s), ('ADA@example.org', 'b', %(hash)s)",
        {"hash": password_hash},
    )

    found = [begin(api, email, ORIGIN).account_id for email in ("ada@example.org", "ADA@example.org")]

    assert found == [number for (number,) in owner.execute("select id from autoscaler.users order by id")]


@pytest.mark.parametrize("given", ["short", "x" * 73, "é" * 37, "long enough but \0", "long enough but \ud800", ""])
def test_what_can_not_be_a_password_is_refused_without_telling_it(given: str) -> None:
    with pytest.raises(Refusal) as refused:
        passwords.hash_of(given)

    assert not given or given not in str(refused.value)


def test_a_letter_that_can_be_written_in_two_ways_is_one() -> None:
    hashed = passwords.hash_of("caf\u00e9 caf\u00e9 caf\u00e9")

    assert passwords.is_right("cafe\u0301 cafe\u0301 cafe\u0301", hashed)
