"""`pgfleet users`: who is on which cluster, who waits and why, and what can be asked for them."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from worlds.commands import Pgfleet
from worlds.database import Connection
from worlds.fleet import send
from worlds.outside.hopsworks import (
    HARMLESS,
    HOSTILE,
    KEY,
    KUBECONFIG,
    QUEUE,
    assigned,
    bodies,
    bury,
    change,
    clean,
    fail_check,
    hopsworks,
    line_with,
    person,
)

ADA, BOB, EVE = "auth0|aaa1", "auth0|bbb1", "google-oauth2|eee1"


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


def team(conn: Connection) -> str:
    """Ada owns an account and is on eu-1, Bob is of her team and waits, Eve was never assigned; the cluster's id."""
    cluster = hopsworks(conn, "eu-1")
    person(conn, ADA, "Ada@Example.org", name="Ada L")
    person(conn, BOB, "bob@example.org", owner=ADA)
    person(conn, EVE, "eve@example.org")
    assigned(
        conn, ADA, "active", cluster, assigned_by="system", detail="aa110000 on eu-1", hopsworks_username="ada10000"
    )
    assigned(conn, BOB, assigned_by="team_member_auto", detail="CLUSTER_FULL: all 10 seats of eu-1 are taken")
    return cluster


# --- ls


def test_without_a_user_it_says_who_writes_them(pgfleet: Pgfleet) -> None:
    end = pgfleet("users")

    assert end.code == 0
    assert "sign-up service" in end.out


def test_users_are_listed_with_cluster_and_why_they_wait_those_who_need_somebody_first(
    pgfleet: Pgfleet, conn: Connection
) -> None:
    team(conn)

    end = pgfleet("users")

    assert "3 users: 1 pending, 1 active, 1 without an assignment" in end.out
    assert [line.split()[0] for line in end.out.splitlines()[3:]] == [
        "bob@example.org",
        "Ada@Example.org",
        "eve@example.org",
    ]
    waits, on = line_with(end.out, "bob@example.org"), line_with(end.out, "active")
    assert "CLUSTER_FULL: all 10 seats of eu-1 are taken" in waits
    assert "Ada@Example.org" in waits
    assert all(word in on.split() for word in ("eu-1", "ada10000", "system"))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        pytest.param((), {ADA, BOB, EVE}, id="all"),
        pytest.param(("--waiting",), {BOB}, id="who waits"),
        pytest.param(("--status", "ACTIVE"), {ADA}, id="of a state"),
        pytest.param(("--status", "none"), {EVE}, id="without an assignment"),
        pytest.param(("--cluster", "EU"), {ADA}, id="on a cluster"),
    ],
)
def test_ls_takes_its_options_with_and_without_its_name(
    pgfleet: Pgfleet, conn: Connection, options: tuple[str, ...], found: set[str]
) -> None:
    team(conn)

    for command in (("users",), ("users", "ls")):
        listed = pgfleet(*command, *options, "--json").json["users"]
        assert {row["user_id"] for row in listed} == found


def test_past_the_limit_it_says_how_many_more_there_are(pgfleet: Pgfleet, conn: Connection) -> None:
    team(conn)

    assert "and 2 more" in pgfleet("users", "--limit", "1").out
    assert "more" not in pgfleet("users", "--limit", "3").out
    assert pgfleet("users", "--limit", "1", "--json").json["more"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--status", "asleep"), 2, "Known are failed, pending, creating_user, active, released, none"),
        (("--cluster", "us"), 1, "pgfleet hopsworks"),
        (("--limit", "0"), 2, "--limit"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_what_ls_does_not_know_is_refused(
    pgfleet: Pgfleet, conn: Connection, arguments: tuple[str, ...], code: int, said: str
) -> None:
    team(conn)

    end = pgfleet("users", *arguments)

    assert end.code == code
    assert said in end.err


# --- who is meant


@pytest.mark.parametrize("given", [ADA, "Ada@Example.org", "ada@example.ORG", "ada", "AUTH0|A", " auth0|aaa "])
def test_a_user_is_found_by_id_by_email_in_any_case_and_by_a_beginning(
    pgfleet: Pgfleet, conn: Connection, given: str
) -> None:
    team(conn)

    assert pgfleet("users", "show", given, "--json").json["user_id"] == ADA


def test_a_whole_id_or_email_wins_over_the_beginning_of_another(pgfleet: Pgfleet, conn: Connection) -> None:
    for user_id, email in (("auth0|1", "a@x.org"), ("auth0|12", "a@x.org.uk")):
        person(conn, user_id, email)

    for given in ("auth0|1", "A@X.org"):
        assert pgfleet("users", "show", given, "--json").json["user_id"] == "auth0|1"


def test_of_two_mailboxes_that_differ_in_case_the_exact_one_is_meant(pgfleet: Pgfleet, conn: Connection) -> None:
    for user_id, email in (("auth0|1", "a@x.org"), ("auth0|2", "A@x.org")):
        person(conn, user_id, email)

    assert pgfleet("users", "show", "A@x.org", "--json").json["user_id"] == "auth0|2"
    end = pgfleet("users", "show", "A@X.ORG")
    assert (end.code, end.out) == (1, "")
    assert "auth0|1" in end.err
    assert "auth0|2" in end.err


def test_an_ambiguous_beginning_names_five_candidates(pgfleet: Pgfleet, conn: Connection) -> None:
    for number in range(7):
        person(conn, f"auth0|{number}", f"u{number}@x.org")

    end = pgfleet("users", "show", "auth0|")

    assert end.code == 1
    assert [f"u{number}@x.org" in end.err for number in range(7)] == [True] * 5 + [False] * 2
    assert "and more" in end.err


@pytest.mark.parametrize("given", ["zoe", "%", "_", ""])
def test_nobody_is_refused_with_who_writes_users(pgfleet: Pgfleet, conn: Connection, given: str) -> None:
    team(conn)

    end = pgfleet("users", "show", given)

    assert (end.code, end.out) == (1, "")
    assert "sign-up service" in end.err


# --- show


def test_one_user_is_shown_with_account_team_history_messages_and_letters(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = team(conn)
    change(conn, ADA, hopsworks_user_id=10042, account_enabled=True, max_projects=5)
    fail_check(conn, cluster, "account", ADA, "ACCOUNT_GONE: it is not there")
    send(conn, QUEUE, {"action": "advance", "user_id": ADA, "ticket": 1})
    bury(conn, {"action": "release", "user_id": ADA}, "reason: Field required")

    end = pgfleet("users", "show", ADA)

    told = ("Ada L", "eu-1", "ada10000, number 10042: may log in, 5 projects", "ACCOUNT_GONE", "team", "what happened")
    assert all(words in end.out for words in (*told, "bob@example.org", "what comes next", "advance", "dead letter 1"))
    assert "release: reason: Field required" in end.out
    shown = pgfleet("users", "show", ADA, "--json").json
    assert [move["to_status"] for move in shown["history"]] == ["pending", "creating_user", "active"]
    assert [member["user_id"] for member in shown["team"]] == [BOB]
    assert shown["messages"][0]["message"]["action"] == "advance"
    assert [letter["reason"] for letter in shown["dead_letters"]] == ["reason: Field required"]
    assert shown["failures"][0]["check_name"] == "account"


def test_letters_about_a_user_are_found_by_their_row_too(pgfleet: Pgfleet, conn: Connection) -> None:
    team(conn)
    bury(conn, {"action": "advance"}, row_id=ADA)
    bury(conn, {"action": "assign", "user_id": BOB}, row_id=BOB)

    assert len(pgfleet("users", "show", ADA, "--json").json["dead_letters"]) == 1


def test_who_waits_is_told_why_and_for_what(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = hopsworks(conn, "eu-1", 0)
    person(conn, EVE)
    assigned(conn, EVE, wanted_cluster_id=cluster, detail="CLUSTER_FULL: all 0 seats of eu-1 are taken")

    end = pgfleet("users", "show", EVE)

    assert "pending: CLUSTER_FULL: all 0 seats of eu-1 are taken" in end.out
    assert "wanted is eu-1" in end.out


def test_suspended_and_left_and_unassigned_are_told(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = team(conn)
    change(conn, ADA, suspended_at="now()", suspended_for=ADA)
    change(conn, BOB, suspended_at="now()", suspended_for=ADA)
    person(conn, "auth0|gone")
    assigned(conn, "auth0|gone", "released", cluster)

    assert "active, suspended" in pgfleet("users").out
    assert f"with the owner {ADA}" in pgfleet("users", "show", BOB).out
    assert "with the owner" not in pgfleet("users", "show", ADA).out
    assert "none; was on eu-1" in pgfleet("users", "show", "auth0|gone").out
    assert "no assignment: `pgfleet submit assignment`" in pgfleet("users", "show", EVE).out


# --- release, suspend, reactivate


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (("release", "--reason", "has left"), {"action": "release", "user_id": ADA, "reason": "has left"}),
        (("suspend",), {"action": "suspend", "user_id": ADA}),
    ],
)
def test_what_is_asked_for_a_user_is_sent_with_the_whole_id(
    pgfleet: Pgfleet, conn: Connection, command: tuple[str, ...], body: dict[str, Any]
) -> None:
    team(conn)

    end = pgfleet("users", *command, "ADA@example.org", "--json")

    assert end.code == 0
    assert end.json["user_id"] == ADA
    assert f"{body['action']} sent" in end.json["result"]
    assert bodies(conn) == [body]


def test_reactivate_is_sent_for_who_is_suspended_or_will_be(pgfleet: Pgfleet, conn: Connection) -> None:
    team(conn)
    assert "is not suspended" in pgfleet("users", "reactivate", ADA).out
    assert bodies(conn) == []

    pgfleet("users", "suspend", ADA)
    assert "reactivate sent, for 1 team members too" in pgfleet("users", "reactivate", ADA).out
    change(conn, BOB, suspended_at="now()")
    pgfleet("users", "reactivate", BOB)

    asked = [(body["action"], body["user_id"]) for body in bodies(conn)]
    assert asked == [("suspend", ADA), ("reactivate", ADA), ("reactivate", BOB)]


def test_who_is_released_already_is_not_released_again(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = hopsworks(conn, "eu-1")
    person(conn, ADA)
    assigned(conn, ADA, "released", cluster)

    end = pgfleet("users", "release", ADA, "--reason", "again")
    assert end.code == 0
    assert "is released already" in end.out
    assert "release" not in [body["action"] for body in bodies(conn)]

    send(conn, QUEUE, {"action": "assign", "user_id": ADA})
    assert "release sent" in pgfleet("users", "release", ADA, "--reason", "before it is assigned").out


@pytest.mark.parametrize("command", [("release", "--reason", "x"), ("suspend",), ("reactivate",)])
def test_without_an_assignment_there_is_nothing_to_ask(
    pgfleet: Pgfleet, conn: Connection, command: tuple[str, ...]
) -> None:
    person(conn, EVE)

    end = pgfleet("users", *command, EVE)

    assert end.code == 1
    assert "has no assignment" in end.err
    assert bodies(conn) == []


def test_a_release_needs_a_reason(pgfleet: Pgfleet, conn: Connection) -> None:
    team(conn)

    assert pgfleet("users", "release", ADA).code == 2
    end = pgfleet("users", "release", ADA, "--reason", "")
    assert end.code == 2
    assert "reason" in end.err
    assert bodies(conn) == []


# --- what is shown harmlessly, and what is not shown


def test_hostile_names_are_shown_harmlessly(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = hopsworks(conn, HOSTILE)
    person(conn, f"auth0|1{HOSTILE}", f"1{HOSTILE}", name=HOSTILE)
    person(conn, f"auth0|2{HOSTILE}", f"2{HOSTILE}", owner=f"auth0|1{HOSTILE}")
    assigned(
        conn, f"auth0|1{HOSTILE}", "active", cluster, detail=HOSTILE, hopsworks_username=HOSTILE, status_reason=HOSTILE
    )
    assigned(conn, f"auth0|2{HOSTILE}", detail=HOSTILE, suspended_at="now()", suspended_for=HOSTILE)
    fail_check(conn, cluster, "account", f"auth0|1{HOSTILE}", HOSTILE)
    bury(conn, {"action": HOSTILE, "user_id": f"auth0|1{HOSTILE}"}, HOSTILE)

    ends = [
        pgfleet("users"),
        pgfleet("users", "show", "auth0|1"),
        pgfleet("users", "show", "auth0|2"),
        pgfleet("users", "show", "auth0|"),
        pgfleet("users", "show", HOSTILE),
        pgfleet("users", "--status", HOSTILE),
        pgfleet("users", "--cluster", f"{HOSTILE}?"),
        pgfleet("users", "suspend", "auth0|1"),
    ]

    assert HARMLESS in ends[0].out
    assert HARMLESS in ends[1].out
    for end in ends:
        assert not set("\x1b\x07\u202e") & set(end.out + end.err)
    assert pgfleet("users", "--json").json["users"][0]["email"] == f"2{HOSTILE}"


def test_no_key_and_no_kubeconfig_is_shown(pgfleet: Pgfleet, conn: Connection) -> None:
    team(conn)
    commands = [("users",), ("users", "--cluster", "eu-1"), ("users", "show", ADA), ("users", "show", BOB)]
    commands += [("users", "suspend", ADA), ("users", "release", ADA, "--reason", "x"), ("users", "show", "a")]
    commands += [("users", "--cluster", "x"), ("users", "reactivate", ADA), ("users", "show", "nobody")]

    for command in commands:
        for end in (pgfleet(*command), pgfleet(*command, "--json")):
            assert KEY not in end.out + end.err
            assert KUBECONFIG not in end.out + end.err


@pytest.mark.parametrize("command", ["", "ls", "show", "release", "suspend", "reactivate"])
def test_every_command_has_help_with_an_example(pgfleet: Pgfleet, command: str) -> None:
    end = pgfleet("users", *command.split(), "--help")

    assert end.code == 0
    assert f"Example: pgfleet users {command}".strip() in end.out
