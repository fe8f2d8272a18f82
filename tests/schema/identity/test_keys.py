"""Keys: whom one lets in and until when, who makes and ends them, and that nothing but its hash is kept."""

from datetime import timedelta

import psycopg
import pytest

from pgfleet.schema.asking import Role
from pgfleet.schema.errors import Refusal
from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.identity.audit import Noted, note
from pgfleet.schema.identity.principal import Principal, Proof
from worlds.database import Connection
from worlds.fleet import move_clock
from worlds.identity.people import ADMIN, as_person, asking, audited, forget_audit, person

HOSTILE = ["", "x\0y", "x" * 10_000, "'; drop table public.api_keys; --", "\ud800", "%s", "ключ"]


def key_of(owner: Connection, name: str = "ada", hours: float = 2) -> keys.NewKey:
    return keys.make(owner, name, hours=hours, new_name=True)


def used_at(owner: Connection, made: keys.NewKey) -> object:
    return owner.execute("select last_used_at from public.api_keys where key_id = %s", (made.key_id,)).fetchall()


def test_a_key_lets_in_its_owner(owner: Connection, api: Connection) -> None:
    ada = person(owner, "ada", "DEVOPS")
    made = key_of(owner)

    found = keys.principal_of(api, made.key)

    assert found == Principal(
        "ada", Role.DEVOPS, Proof.KEY, ada.account_id, "ada@example.org", made.key_id, made.expires_at
    )


def test_a_name_without_an_account_asks_as_a_user(owner: Connection, api: Connection) -> None:
    made = key_of(owner, "ci")

    found = keys.principal_of(api, made.key)

    assert found == Principal("ci", Role.USER, Proof.KEY, None, None, made.key_id, made.expires_at)


@pytest.mark.parametrize(
    "end",
    [
        "update public.api_keys set is_active = false",
        "update public.api_keys set is_active = null",
        "update public.api_keys set expires_at = public.fleet_now()",
        "update public.api_users set is_active = false",
        "update public.api_users set is_active = null",
        "update autoscaler.users set is_active = false",
        "update autoscaler.users set is_active = null",
        "delete from autoscaler.users",
    ],
)
def test_a_key_that_has_ended_or_whose_owner_is_not_active_lets_nobody_in(
    owner: Connection, api: Connection, end: str
) -> None:
    person(owner, "ada")
    made = key_of(owner)

    owner.execute(end.encode())

    assert keys.principal_of(api, made.key) is None


@pytest.mark.parametrize("given", HOSTILE)
def test_what_is_no_key_lets_nobody_in(owner: Connection, api: Connection, given: str) -> None:
    key_of(owner)

    assert keys.principal_of(api, given) is None


def test_nor_does_its_hash_or_its_prefix(owner: Connection, api: Connection) -> None:
    made = key_of(owner)

    assert [keys.principal_of(api, text) for text in (keys.hash_of(made.key), made.prefix)] == [None, None]


def test_a_key_is_64_bytes_of_which_only_the_hash_is_kept(owner: Connection) -> None:
    made = key_of(owner)

    (kept,) = owner.execute("select to_jsonb(k) from public.api_keys k").fetchone() or ()
    assert (len(made.key), kept["key_hash"], kept["key_prefix"]) == (86, keys.hash_of(made.key), made.key[:8])
    assert made.key not in str(kept)
    assert made.key not in repr(made)


def test_its_use_is_written_at_most_once_a_minute(owner: Connection, api: Connection) -> None:
    made = key_of(owner)
    keys.principal_of(api, made.key)
    first = used_at(owner, made)

    keys.principal_of(api, made.key)
    again = used_at(owner, made)
    move_clock(owner, 61)
    keys.principal_of(api, made.key)

    assert first == again != used_at(owner, made)


def test_a_request_does_not_wait_for_another_that_notes_the_use(
    owner: Connection, api: Connection, api_dsn: str
) -> None:
    made = key_of(owner)
    api.execute("set lock_timeout = '1ms'")

    with psycopg.connect(api_dsn) as other:
        noted = keys.principal_of(other, made.key)
        found = keys.principal_of(api, made.key)

    assert noted == found is not None


def test_a_key_ends_with_its_life(owner: Connection, api: Connection) -> None:
    made = key_of(owner, hours=1)

    move_clock(owner, 3599)
    before = keys.principal_of(api, made.key)
    move_clock(owner, 2)

    assert (before is not None, keys.principal_of(api, made.key)) == (True, None)


@pytest.mark.parametrize("hours", [0, -1, 8761, float("inf"), float("nan")])
def test_no_key_lasts_for_longer_than_may_be(owner: Connection, hours: float) -> None:
    with pytest.raises(Refusal, match="A key lasts for"):
        key_of(owner, hours=hours)

    assert owner.execute("select from public.api_keys").fetchall() == []


@pytest.mark.parametrize("life_s", [0, -1, 366 * 86400, float("inf"), float("nan"), None])
def test_nor_does_the_database_make_one(owner: Connection, life_s: float | None) -> None:
    key_of(owner)

    with pytest.raises(psycopg.Error, match="the life of a key") as refused:
        owner.execute("select public.make_key('ada', %s, 'abcdefgh', %s, '')", ("a" * 64, life_s))

    assert refused.value.sqlstate == "PF004"


def test_a_person_makes_keys_of_their_own(owner: Connection, api: Connection) -> None:
    ada = person(owner, "ada")

    with asking(api, ada):
        made = keys.make(api, "ada", hours=3, description="laptop")
        (listed,) = keys.listing(api, "ada")

    assert (listed["key_id"], listed["description"], listed["is_active"]) == (made.key_id, "laptop", True)
    assert made.expires_at - listed["created_at"] == timedelta(hours=3)
    assert not {"key", "key_hash"} & listed.keys()


@pytest.mark.parametrize(
    "who", [as_person("eve"), as_person("Ada"), as_person("ops", Role.DEVOPS), as_person("ada", Role.NODE)]
)
def test_nobody_but_an_admin_makes_lists_or_ends_keys_of_another(
    owner: Connection, api: Connection, who: Principal
) -> None:
    made = key_of(owner)

    for attack in (
        lambda: keys.make(api, "ada", hours=1),
        lambda: keys.make(api, "ada", hours=1, new_name=True),
        lambda: keys.listing(api, "ada"),
        lambda: keys.listing(api),
        lambda: keys.revoke(api, str(made.key_id)),
        lambda: keys.revoke(api, made.prefix),
    ):
        with pytest.raises(psycopg.Error) as refused, asking(api, who):
            attack()
        assert refused.value.sqlstate in ("PF013", "PF008")
    assert owner.execute("select is_active from public.api_keys").fetchall() == [(True,)]


def test_anothers_key_is_one_that_is_not_there(owner: Connection, api: Connection) -> None:
    made = key_of(owner)

    told = rf"there is no active key {made.key_id}\n"
    with pytest.raises(psycopg.Error, match=told) as refused, asking(api, as_person("eve")):
        keys.revoke(api, str(made.key_id))

    assert refused.value.sqlstate == "PF008"


def test_an_admin_makes_and_ends_anybodys(owner: Connection, api: Connection) -> None:
    with asking(api, ADMIN):
        made = keys.make(api, "ci-bot", hours=1, new_name=True)
        listed = keys.listing(api)
        ended = keys.revoke(api, made.prefix)

    assert [row["username"] for row in listed] == ["ci-bot"]
    assert ended == {"key_id": made.key_id, "username": "ci-bot", "key_prefix": made.prefix}
    assert keys.principal_of(api, made.key) is None


def test_a_person_ends_their_own_by_its_first_letters(owner: Connection, api: Connection) -> None:
    made = key_of(owner)

    with asking(api, as_person("ada")):
        keys.revoke(api, made.prefix[:4])

    assert keys.principal_of(api, made.key) is None


def test_first_letters_of_two_keys_end_none(owner: Connection) -> None:
    for end in "ab":
        owner.execute(
            "insert into public.api_users (username) values ('ada') on conflict do nothing",
        )
        owner.execute("select public.make_key('ada', %s, %s, 60, '')", (end * 64, f"same___{end}"))

    with pytest.raises(psycopg.Error, match="2 keys begin with same"):
        keys.revoke(owner, "same")


@pytest.mark.parametrize("which", ["", "a", "abc", "%", "____", "999999999", "99999999999999", "1 or true"])
def test_what_names_no_key_ends_none(owner: Connection, which: str) -> None:
    key_of(owner)

    with pytest.raises(psycopg.Error, match="there is no active key"):
        keys.revoke(owner, which)


def test_a_name_that_is_not_there_gets_no_key_by_mistake(owner: Connection) -> None:
    with pytest.raises(psycopg.Error, match="nobody has the name adaa") as refused:
        keys.make(owner, "adaa", hours=1)

    assert refused.value.sqlstate == "PF008"


@pytest.mark.parametrize("name", [*HOSTILE, "17", "a b", "ad\u0430", "-ada", "a/b", "a\nb"])
def test_a_name_that_can_be_mistaken_is_not_made(owner: Connection, name: str) -> None:
    with pytest.raises((psycopg.Error, Refusal)):
        keys.make(owner, name, hours=1, new_name=True)

    assert owner.execute("select username from public.api_users").fetchall() == []


def test_nor_one_that_differs_in_capital_letters_only(owner: Connection) -> None:
    key_of(owner, "ada")

    with pytest.raises(psycopg.Error, match="ada, which is there already"):
        key_of(owner, "ADA")


def test_who_is_not_active_gets_no_key(owner: Connection) -> None:
    person(owner, "ada")
    person(owner, "root", "ADMIN")
    accounts.set_active(owner, "ada@example.org", active=False)

    with pytest.raises(psycopg.Error, match="ada is not active") as refused:
        key_of(owner)

    assert refused.value.sqlstate == "PF013"


def test_a_thousand_keys_are_enough(owner: Connection) -> None:
    made = key_of(owner)
    owner.execute(
        "insert into public.api_keys (user_id, key_hash, key_prefix, expires_at)"
        " select user_id, n::text, 'x', expires_at from public.api_keys, generate_series(1, 999) n"
    )

    with pytest.raises(psycopg.Error, match="1,000 keys"):
        key_of(owner)
    keys.revoke(owner, str(made.key_id))

    assert key_of(owner).key_id > made.key_id


def test_lists_go_on_from_a_key(owner: Connection) -> None:
    numbers = [key_of(owner).key_id for _ in range(5)]

    first = keys.listing(owner, most=3)
    rest = keys.listing(owner, before=first[-1]["key_id"])

    assert [row["key_id"] for row in (*first, *rest)] == numbers[::-1]


def test_a_key_made_by_hand_is_in_the_audit_and_its_use_is_not(owner: Connection, api: Connection) -> None:
    made = key_of(owner)
    forget_audit(owner)
    again = key_of(owner)
    keys.principal_of(api, again.key)
    keys.revoke(owner, str(made.key_id))

    assert [(action, row) for _, _, action, row, _ in audited(owner)] == [
        ("KEY_CREATED", str(again.key_id)),
        ("KEY_UPDATED", str(made.key_id)),
    ]


def test_a_key_made_through_the_api_is_in_the_audit_once(owner: Connection, api: Connection) -> None:
    ada = person(owner, "ada")
    forget_audit(owner)
    secret = keys.draw()

    with asking(api, ada):
        note(api, Noted("KEY_CREATED", "AUTH", "key", secret.prefix))
        keys.make(api, "ada", hours=1, secret=secret)

    assert audited(owner) == [("ada@example.org", "USER", "KEY_CREATED", secret.prefix, "SUCCESS")]
