"""Producing disk messages: in the caller's transaction, or by hand with `pgfleet submit disk`; and following them."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import psycopg
import pytest

from pgfleet.producers.disk import (
    clear_disk_lock,
    clone_disk,
    create_disk,
    delete_disk,
    restore_disk,
    snapshot_disk,
    undelete_disk,
)
from pgfleet.producers.submit import following
from pgfleet.producers.submit.disk import look
from pgfleet.schema.disk import QUEUE, REQUESTS, read
from pgfleet.schema.messages import BadMessage
from worlds.commands import Pgfleet
from worlds.database import Connection
from worlds.fleet import new_id, send
from worlds.rows_of_disks import (
    HOSTILE,
    bodies,
    bury,
    change_operation,
    change_snapshot,
    clean,
    disk,
    operation,
    snapshot,
)

COUNT = "select count(*) from pgmq.q_disk_operations"
ID = "5f0c2b1e-90d3-4a54-9c44-1d2f6d3f5a10"


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


def test_a_message_is_sent_if_and_only_if_its_caller_commits(conn: Connection) -> None:
    with conn.transaction(force_rollback=True):
        create_disk("ada", "data", 100, conn)
    assert conn.execute(COUNT).fetchone() == (0,)

    with conn.transaction():
        assert create_disk("ada", "data", 100, conn, operation_id=ID) == ID
    assert conn.execute(COUNT).fetchone() == (1,)


def test_without_a_connection_it_is_sent_to_database_url(
    fleet_dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", fleet_dsn)

    given = delete_disk("ada", "data")

    assert bodies(conn) == [
        {"action": "delete_disk", "operation_id": given, "user_id": "ada", "disk_name": "data"},
    ]


def test_there_is_a_producer_for_every_request_and_a_worker_reads_what_they_send(conn: Connection) -> None:
    sent = [
        create_disk("ada", "data", 100, conn),
        snapshot_disk("ada", "data", conn, kind="migration"),
        delete_disk("ada", "data", conn),
        undelete_disk("ada", "data", conn),
        clone_disk("ada", "data", "copy", conn),
        restore_disk("ada", "data", ID, conn),
        clear_disk_lock("ada", "data", conn),
    ]

    messages: list[Any] = [read(body) for body in bodies(conn)]

    assert [message.action for message in messages] == list(REQUESTS)
    assert [message.operation_id for message in messages] == sent
    assert {message.user_id for message in messages} == {"ada"}
    assert [message.disk_name for message in messages] == ["data"] * 4 + ["copy"] + ["data"] * 2
    assert (messages[0].size_gb, messages[1].kind, messages[5].snapshot_id) == (100, "migration", ID)


@pytest.mark.parametrize(
    "produce",
    [
        pytest.param(lambda conn: create_disk("ada", "a disk", 100, conn), id="a name with a space"),
        pytest.param(lambda conn: create_disk("ada", "data", 9, conn), id="too small"),
        pytest.param(lambda conn: create_disk("ada", "data", 10_001, conn), id="too large"),
        pytest.param(lambda conn: create_disk(HOSTILE, "data", 100, conn), id="a user that moves the cursor"),
        pytest.param(lambda conn: snapshot_disk("ada", "data", conn, kind=cast("Any", "odd")), id="no known kind"),
        pytest.param(lambda conn: restore_disk("ada", "data", "9b1c", conn), id="no whole id"),
        pytest.param(lambda conn: delete_disk("ada", "data", conn, operation_id="1"), id="no UUID"),
    ],
)
def test_what_makes_no_message_is_refused_before_it_is_sent(
    conn: Connection, produce: Callable[[Connection], str]
) -> None:
    with pytest.raises(BadMessage, match=r"disk_name|size_gb|user_id|kind|snapshot_id|operation_id"):
        produce(conn)

    assert conn.execute(COUNT).fetchone() == (0,)


# --- pgfleet submit disk


def test_submit_makes_a_disk_unless_another_action_is_given(pgfleet: Pgfleet, conn: Connection) -> None:
    made = pgfleet("submit", "disk", "--name", "data", "--id", ID.upper())
    copied = pgfleet("submit", "disk", "--action", "clone_disk", "--source", "data", "--name", "copy")

    create, clone = bodies(conn)
    assert (made.code, made.out.strip()) == (0, ID)
    assert f"Follow it: pgfleet disk operation {ID}" in made.err
    assert create == {
        "action": "create_disk",
        "operation_id": ID,
        "user_id": "ada",
        "disk_name": "data",
        "size_gb": 100,
    }
    assert copied.out.strip() == clone["operation_id"]
    assert (clone["user_id"], clone["source_disk"], clone["target_disk"]) == ("ada", "data", "copy")


def test_the_same_id_twice_is_one_operation(pgfleet: Pgfleet, conn: Connection) -> None:
    arguments = ("submit", "disk", "--name", "data", "--id", ID)
    pgfleet(*arguments)

    again = pgfleet(*arguments)
    operation(conn, "completed", operation_id=ID)
    conn.execute("delete from pgmq.q_disk_operations")
    later = pgfleet(*arguments, "--json")
    theirs = pgfleet(*arguments, "--user", "bob")

    assert "in the queue already: it is one operation" in again.err
    assert later.json == {
        "operation_id": ID,
        "result": f"{ID} exists already and is completed: it is one operation",
    }
    assert (theirs.code, "exists already and is ada's" in theirs.err) == (1, True)
    assert bodies(conn) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--name", "data", "--action", "burn_disk"), "Known are create_disk, snapshot_disk"),
        (("--name", "data", "--action", "proceed"), "Known are create_disk"),
        (("--name", "data", "--snapshot", ID), "create_disk has no --snapshot"),
        (("--name", "a disk"), "--name: must be"),
        (("--name", "data", "--size", "5"), "--size: must be at least 10, not 5"),
        (("--name", "data", "--action", "restore_disk"), "--snapshot: is missing"),
        (("--size", "5"), "--name"),
    ],
)
def test_a_wrong_option_is_named_and_sends_nothing(
    pgfleet: Pgfleet, conn: Connection, given: tuple[str, ...], said: str
) -> None:
    end = pgfleet("submit", "disk", *given)

    assert end.code == 2
    assert said in end.err
    assert bodies(conn) == []


# --- following


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens between two looks, instead of time; then somebody presses Ctrl-C."""
    coming: list[Callable[[], object]] = []

    def sleep(_: float) -> None:
        if not coming:
            raise KeyboardInterrupt
        coming.pop(0)()

    monkeypatch.setattr("pgfleet.producers.submit.following.time.sleep", sleep)
    return coming


def request(conn: Connection, operation_id: str = ID) -> None:
    body = {"action": "create_disk", "operation_id": operation_id, "user_id": "ada", "disk_name": "data"}
    send(conn, QUEUE, {**body, "size_gb": 100})


def follow(conn: Connection, timeout_s: float | None, show: Callable[[str], None]) -> following.Look:
    return following.follow(lambda: look(conn, ID), timeout_s, show, "disk")


def test_an_operation_is_followed_from_the_queue_to_its_end(
    conn: Connection, steps: list[Callable[[], object]]
) -> None:
    request(conn)
    copied = snapshot(conn, disk(conn), "creating", progress_percent=10)

    def take() -> None:
        operation(conn, "in_progress", operation_id=ID, snapshot_id=copied, detail="AWS copies it")
        conn.execute("delete from pgmq.q_disk_operations")

    steps += [
        lambda: conn.execute("update pgmq.q_disk_operations set read_ct = 1"),
        take,
        lambda: change_snapshot(conn, copied, progress_percent=60),
        lambda: change_snapshot(conn, copied, status="completed", progress_percent=100, completed_at="now()"),
        lambda: change_operation(conn, ID, status="completed", detail="it is there"),
    ]
    told: list[str] = []

    last = follow(conn, None, told.append)

    assert told == [
        "sent: no worker has taken it yet",
        "sent: a worker has claimed it",
        "in_progress: AWS copies it, snapshot 10 %",
        "in_progress: AWS copies it, snapshot 60 %",
        "in_progress: AWS copies it",
    ]
    assert (last.settled, last.failed, last.text) == (True, False, "completed: it is there")


def test_a_letter_that_was_sent_again_is_not_the_end(conn: Connection) -> None:
    bury(conn, {"action": "create_disk", "operation_id": ID})
    request(conn)

    assert follow(conn, 0, lambda _: None).text == "sent: no worker has taken it yet"


def test_a_dead_letter_of_the_workers_own_does_not_reject_a_request(conn: Connection) -> None:
    bury(conn, {"action": "proceed", "operation_id": ID})

    assert not follow(conn, 0, lambda _: None).failed


@pytest.mark.parametrize(
    "command", [("submit", "disk", "--name", "data", "--wait", "--id", ID), ("disk", "operation", ID)]
)
def test_waiting_ends_with_0_when_it_is_completed(pgfleet: Pgfleet, conn: Connection, command: tuple[str, ...]) -> None:
    operation(conn, "completed", operation_id=ID, detail="it is there")

    end = pgfleet(*command)
    told = pgfleet(*command, "--json")

    assert (end.code, end.out) == (0, "completed: it is there\n")
    assert (told.json["status"], told.json["operation_id"], told.json["rejected"]) == ("completed", ID, None)


def test_waiting_ends_with_1_and_the_error_when_it_failed(pgfleet: Pgfleet, conn: Connection) -> None:
    operation(conn, "failed", operation_id=ID, error=f"AWS: {HOSTILE}")

    end = pgfleet("disk", "operation", ID)

    assert (end.code, end.out) == (1, "")
    assert "failed: AWS: [red]x[/] [31mred gnp.exe" in end.err
    assert "\x1b" not in end.err


def test_waiting_ends_with_1_and_the_reason_when_it_was_rejected(pgfleet: Pgfleet, conn: Connection) -> None:
    bury(conn, {"action": "create_disk", "operation_id": ID}, "size_gb: too large")

    end = pgfleet("disk", "operation", ID, "--json")

    assert end.code == 1
    assert (end.json["status"], end.json["rejected"]) == (None, "size_gb: too large")
    assert end.error == "rejected: size_gb: too large\nMore of it: pgfleet dead --kind disk"


def test_when_the_time_is_up_it_goes_on(pgfleet: Pgfleet, conn: Connection) -> None:
    end = pgfleet("submit", "disk", "--name", "data", "--id", ID, "--wait", "--timeout", "0")

    assert end.code == 1
    assert "still sent: no worker has taken it yet" in end.err
    assert f"It goes on: pgfleet disk operation {ID}" in end.err
    assert len(bodies(conn)) == 1


def test_after_some_silence_the_worker_is_named(
    conn: Connection, steps: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    request(conn)
    monkeypatch.setattr(following, "SILENCE_S", -1)
    told: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        follow(conn, None, told.append)

    assert told == ["sent: no worker has taken it yet; is one running? `pgfleet worker disk` starts one"]


def test_ctrl_c_leaves_it_running_and_says_how_to_follow_again(
    pgfleet: Pgfleet, conn: Connection, steps: list[Callable[[], object]]
) -> None:
    operation(conn, "in_progress", operation_id=ID, detail="AWS copies it")

    end = pgfleet("disk", "operation", ID)

    assert end.code == 130
    assert "in_progress: AWS copies it" in end.err
    assert f"It goes on: pgfleet disk operation {ID}" in end.err
    assert conn.execute("select status from public.disk_operations").fetchall() == [("in_progress",)]


# --- which operation


def test_an_operation_is_meant_by_a_beginning_that_is_unique_among_ones_own(pgfleet: Pgfleet, conn: Connection) -> None:
    operation(conn, "completed", operation_id="aaaa0000-0000-4000-8000-000000000001")
    operation(conn, "completed", operation_id="aaaa0000-0000-4000-8000-000000000002", user_id="bob")
    operation(conn, "completed", operation_id="aabb0000-0000-4000-8000-000000000003")

    one, several, none = (pgfleet("disk", "operation", given) for given in ("AAAA", "aa", "ff"))

    assert (one.code, several.code, none.code) == (0, 1, 1)
    assert "aaaa0000-0000-4000-8000-000000000001  create_disk data" in several.err
    assert "pgfleet disk show NAME" in none.err


def test_an_operation_that_nobody_knows_is_not_waited_for(pgfleet: Pgfleet) -> None:
    end = pgfleet("disk", "operation", new_id())

    assert end.code == 1
    assert "There is no operation" in end.err
