"""Producing assignment messages: in the caller's transaction, or by hand with `pgfleet submit assignment`."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, cast

import psycopg
import pytest

from pgfleet.producers.assignment import assign, drain, reactivate, release, suspend
from pgfleet.producers.submit import following
from pgfleet.producers.submit.assignment import look
from pgfleet.schema.assignment import Assign, Drain, Reactivate, Release, Suspend, read
from pgfleet.schema.messages import BadMessage
from worlds.commands import Pgfleet
from worlds.database import Connection
from worlds.fleet import new_id, send
from worlds.outside.hopsworks import (
    HOSTILE,
    KEY,
    KUBECONFIG,
    QUEUE,
    assigned,
    bodies,
    bury,
    change,
    clean,
    hopsworks,
    person,
)

COUNT = "select count(*) from pgmq.q_cluster_assignments"
ADA, NEW = "auth0|ada", "auth0|ada-the-second"
SUBMIT = ("submit", "assignment", "--user", ADA)


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


def test_a_message_is_sent_if_and_only_if_its_caller_commits(conn: Connection) -> None:
    with conn.transaction(force_rollback=True):
        assign(ADA, conn)
    assert conn.execute(COUNT).fetchone() == (0,)

    with conn.transaction():
        assert assign(ADA, conn) == ADA
    assert conn.execute(COUNT).fetchone() == (1,)


def test_without_a_connection_it_is_sent_to_database_url(
    fleet_dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", fleet_dsn)

    release(ADA, "has left")

    assert bodies(conn) == [{"action": "release", "user_id": ADA, "reason": "has left"}]


def test_what_a_producer_sends_is_what_a_worker_reads(conn: Connection) -> None:
    cluster = new_id()

    assign(ADA, conn, cluster_id=cluster, assigned_by="admin")
    release(ADA, "has left", conn)
    suspend(ADA, conn)
    reactivate(ADA, conn)
    drain(cluster, conn)

    assert [read(body) for body in bodies(conn)] == [
        Assign(user_id=ADA, cluster_id=cluster, assigned_by="admin"),
        Release(user_id=ADA, reason="has left"),
        Suspend(user_id=ADA),
        Reactivate(user_id=ADA),
        Drain(cluster_id=cluster),
    ]


@pytest.mark.parametrize(
    "produce",
    [
        pytest.param(lambda conn: assign("", conn), id="nobody"),
        pytest.param(lambda conn: assign(HOSTILE, conn), id="an id that moves the cursor"),
        pytest.param(lambda conn: assign(ADA, conn, cluster_id="eu-1"), id="a cluster's name"),
        pytest.param(lambda conn: assign(ADA, conn, assigned_by=cast("Any", "me")), id="no known sort of assignment"),
        pytest.param(lambda conn: release(ADA, "", conn), id="no reason"),
        pytest.param(lambda conn: drain("eu-1", conn), id="drain by name"),
    ],
)
def test_what_makes_no_message_is_refused_before_it_is_sent(
    conn: Connection, produce: Callable[[Connection], str]
) -> None:
    with pytest.raises(BadMessage, match=r"user_id|cluster_id|assigned_by|reason"):
        produce(conn)

    assert conn.execute(COUNT).fetchone() == (0,)


# --- pgfleet submit assignment


def test_submit_resolves_user_and_cluster_and_prints_the_id(pgfleet: Pgfleet, conn: Connection) -> None:
    person(conn, ADA, "Ada@example.org")
    cluster = hopsworks(conn, "eu-1")

    end = pgfleet("submit", "assignment", "--user", "ada@EXAMPLE.org", "--cluster", "eu", "--by", "admin")

    assert (end.code, end.out.strip()) == (0, ADA)
    assert bodies(conn) == [{"action": "assign", "user_id": ADA, "cluster_id": cluster, "assigned_by": "admin"}]


def test_unless_it_is_given_the_worker_finds_out_on_whose_behalf(pgfleet: Pgfleet, conn: Connection) -> None:
    person(conn, ADA)

    end = pgfleet(*SUBMIT, "--json")

    assert end.json["sent"] is True
    assert (end.json["user_id"], end.json["status"]) == (ADA, None)
    assert bodies(conn) == [{"action": "assign", "user_id": ADA}]


def test_an_unknown_user_is_refused_with_who_writes_users(pgfleet: Pgfleet, conn: Connection) -> None:
    end = pgfleet("submit", "assignment", "--user", "zoe@example.org")

    assert end.code == 1
    assert "The sign-up service writes hopsworks.users" in end.err
    assert bodies(conn) == []


def test_a_whole_auth0_id_is_sent_though_its_user_may_be_on_its_way(pgfleet: Pgfleet, conn: Connection) -> None:
    person(conn, NEW)

    end = pgfleet(*SUBMIT)

    assert (end.code, end.out.strip()) == (0, ADA)
    assert "not in hopsworks.users yet" in end.err
    assert bodies(conn) == [{"action": "assign", "user_id": ADA}]


def test_who_is_active_is_not_assigned_again(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = hopsworks(conn, "eu-1")
    person(conn, ADA)
    assigned(conn, ADA, "active", cluster)

    for more in ((), ("--cluster", "eu-1")):
        end = pgfleet(*SUBMIT, *more)
        assert end.code == 0
        assert "is active already on eu-1" in end.err
    waited = pgfleet(*SUBMIT, "--wait")
    assert (waited.code, waited.out.strip()) == (0, "ada10000")
    assert pgfleet(*SUBMIT, "--wait", "--json").json["hopsworks_username"] == "ada10000"
    assert bodies(conn) == []


def test_who_is_on_another_cluster_than_the_one_named_is_told_what_to_do(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = hopsworks(conn, "eu-1")
    hopsworks(conn, "us-1")
    person(conn, ADA)
    assigned(conn, ADA, "active", cluster)

    end = pgfleet(*SUBMIT, "--cluster", "us-1")

    assert end.code == 1
    assert "is on eu-1, not on us-1. First: pgfleet users release ada@example.org --reason" in end.err
    assert bodies(conn) == []


def test_sent_twice_it_is_one_assignment(pgfleet: Pgfleet, conn: Connection) -> None:
    person(conn, ADA)
    pgfleet(*SUBMIT)

    queued = pgfleet(*SUBMIT)
    conn.execute("delete from pgmq.q_cluster_assignments")
    assigned(conn, ADA)
    waiting = pgfleet(*SUBMIT, "--json")

    assert "in the queue already" in queued.err
    assert "pending already" in waiting.err
    assert (queued.code, waiting.code, waiting.json["sent"]) == (0, 0, False)
    assert bodies(conn) == []


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(lambda conn, _: assigned(conn, ADA), id="another cluster is wanted"),
        pytest.param(lambda conn, _: send(conn, QUEUE, {"action": "assign", "user_id": ADA}), id="in the queue, too"),
        pytest.param(lambda conn, cluster: assigned(conn, ADA, "released", cluster), id="released"),
        pytest.param(lambda conn, cluster: assigned(conn, ADA, "failed", cluster), id="failed"),
        pytest.param(
            lambda conn, cluster: (
                assigned(conn, ADA, "active", cluster),
                send(conn, QUEUE, {"action": "release", "user_id": ADA, "reason": "x"}),
            ),
            id="about to be released",
        ),
    ],
)
def test_what_changes_something_is_sent(pgfleet: Pgfleet, conn: Connection, before: Callable[..., Any]) -> None:
    person(conn, ADA)
    cluster = hopsworks(conn, "eu-1")
    before(conn, cluster)

    end = pgfleet(*SUBMIT, "--cluster", "eu-1", "--json")

    assert end.json["sent"] is True
    assert bodies(conn)[-1] == {"action": "assign", "user_id": ADA, "cluster_id": cluster}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--cluster", "nowhere"), 1, "pgfleet hopsworks"),
        (("--by", "me"), 2, "--by"),
        (("--user", "auth0|\x1b[31m"), 2, "--user"),
        (("--timeout", "soon"), 2, "--timeout"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_sent(
    pgfleet: Pgfleet, conn: Connection, arguments: tuple[str, ...], code: int, said: str
) -> None:
    person(conn, ADA)

    end = pgfleet(*SUBMIT, *arguments)

    assert end.code == code
    assert said in end.err
    assert "\x1b" not in end.err
    assert bodies(conn) == []


def test_the_help_of_submit_assignment_ends_with_an_example(pgfleet: Pgfleet) -> None:
    assert "Example: pgfleet submit assignment --user" in pgfleet("submit", "assignment", "--help").out


def test_messages_that_nobody_can_read_are_in_nobodys_way(pgfleet: Pgfleet, conn: Connection) -> None:
    person(conn, ADA)
    nested = "'[' || repeat('[', 3000) || repeat(']', 3000) || ']'"
    unreadable = f"jsonb_build_object('action', 'assign', 'user_id', '{ADA}', 'x', ({nested})::jsonb)"
    conn.execute(f"select pgmq.send('cluster_assignments', {unreadable})".encode())
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, message, reason, enqueued_at)"
        f" values ('cluster_assignments', 1, {unreadable}, 'too deep', now())".encode()
    )

    ends = [pgfleet(*SUBMIT), pgfleet(*SUBMIT, "--wait", "--timeout", "0"), pgfleet("users", "show", ADA, "--json")]

    assert [end.code for end in ends] == [0, 1, 0]


# --- following one


@pytest.fixture
def at_each_look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let something happen between looks; each look is 5 seconds after the one before."""

    def plan(*happenings: Callable[[], Any]) -> None:
        left, clock = iter(happenings), itertools.count(0, 5)
        monkeypatch.setattr("pgfleet.producers.submit.following.time.monotonic", lambda: next(clock))
        monkeypatch.setattr("pgfleet.producers.submit.following.time.sleep", lambda _: next(left)())

    return plan


def taken(conn: Connection) -> int:
    return conn.execute("delete from pgmq.q_cluster_assignments").rowcount


def test_waiting_tells_each_change_and_prints_the_username(
    pgfleet: Pgfleet, conn: Connection, at_each_look: Callable[..., None]
) -> None:
    person(conn, ADA)
    cluster = hopsworks(conn, "eu-1")
    seat = {"hopsworks_cluster_id": cluster, "holds_seat": True, "detail": "Creating the account on eu-1"}
    at_each_look(
        lambda: (assigned(conn, ADA, detail="CLUSTER_FULL: all are taken"), taken(conn)),
        lambda: None,
        lambda: change(conn, ADA, status="creating_user", **seat),
        lambda: change(conn, ADA, status="active", hopsworks_username="ada10000", detail="ada10000 on eu-1"),
    )

    end = pgfleet(*SUBMIT, "--wait")

    assert (end.code, end.out) == (0, "ada10000\n")
    assert end.err.splitlines() == [
        f"sent for {ADA}",
        "sent: no worker has taken it yet",
        "pending: CLUSTER_FULL: all are taken",
        "creating_user: Creating the account on eu-1",
        "active: ada10000 on eu-1",
    ]


def test_what_it_was_before_is_not_what_became_of_it(
    pgfleet: Pgfleet, conn: Connection, at_each_look: Callable[..., None]
) -> None:
    cluster = hopsworks(conn, "eu-1")
    person(conn, ADA)
    assigned(conn, ADA, "failed", cluster)
    at_each_look(
        lambda: None,
        lambda: (change(conn, ADA, status="pending", detail="Waiting for a seat"), taken(conn)),
        lambda: change(conn, ADA, status="failed", status_reason="refused again"),
    )

    end = pgfleet(*SUBMIT, "--wait", "--json")

    assert end.code == 1
    assert "failed: refused again" in end.err
    assert "why failed" not in end.err
    assert (end.json["status"], end.json["rejected"]) == ("failed", None)


def test_a_rejected_assign_ends_with_its_reason(
    pgfleet: Pgfleet, conn: Connection, at_each_look: Callable[..., None]
) -> None:
    body = {"action": "assign", "user_id": ADA}
    bury(conn, body, "an old one")
    at_each_look(lambda: None, lambda: (taken(conn), bury(conn, body, f"there is no user {HOSTILE}")))

    end = pgfleet(*SUBMIT, "--wait", "--json")

    assert end.code == 1
    assert end.json["rejected"].startswith("there is no user")
    assert "rejected: there is no user [red]x[/]" in end.err
    assert "an old one" not in end.err
    assert "More of it: pgfleet dead --kind assignment" in end.err
    assert "\x1b" not in end.err


def test_after_some_silence_it_says_what_to_run(
    pgfleet: Pgfleet, conn: Connection, at_each_look: Callable[..., None]
) -> None:
    person(conn, ADA)
    at_each_look(*[lambda: None] * 5)

    end = pgfleet(*SUBMIT, "--wait", "--timeout", "21")

    assert end.code == 1
    hint = "sent: no worker has taken it yet; is one running? `pgfleet worker assignment` starts one"
    assert [line for line in end.err.splitlines() if "worker assignment" in line] == [hint]
    assert "still sent: no worker has taken it yet\nIt goes on: pgfleet users show" in end.err


def test_who_is_told_why_is_not_told_to_run_a_worker(conn: Connection, at_each_look: Callable[..., None]) -> None:
    person(conn, ADA)
    assigned(conn, ADA, detail="NO_CLUSTER: no Hopsworks cluster is active")
    at_each_look(*[lambda: None] * 9)
    told = list[str]()

    seen = following.follow(lambda: look(conn, ADA), 41, told.append, "assignment")

    assert not seen.settled
    assert told == ["pending: NO_CLUSTER: no Hopsworks cluster is active"]


def test_a_user_who_is_on_the_way_is_told_of(conn: Connection, at_each_look: Callable[..., None]) -> None:
    assign(ADA, conn)
    conn.execute("update pgmq.q_cluster_assignments set read_ct = 1")
    at_each_look()
    told = list[str]()

    following.follow(lambda: look(conn, ADA), 0, told.append, "assignment")

    assert told == ["sent: a worker waits for the sign-up service to write the user"]


def test_no_key_and_no_kubeconfig_is_shown(pgfleet: Pgfleet, conn: Connection) -> None:
    person(conn, ADA)
    cluster = hopsworks(conn, "eu-1")
    ends = [pgfleet(*SUBMIT, "--cluster", "eu-1", *more) for more in ((), ("--json",), ("--wait", "--timeout", "0"))]
    conn.execute("delete from pgmq.q_cluster_assignments")
    assigned(conn, ADA, "active", cluster)
    ends += [pgfleet(*SUBMIT, "--wait", *more) for more in ((), ("--json",), ("--cluster", "x"))]

    for end in ends:
        assert KEY not in end.out + end.err
        assert KUBECONFIG not in end.out + end.err
