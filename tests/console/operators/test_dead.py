"""Dead letters: a replayed one gives its reservation another life, whoever answers second is told."""

from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.errors import Refusal
from pgfleet.schema.replay import letters as dead
from pgfleet.schema.rows.row import Row
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, assert_sound, history_of, new_id, row_of, send
from worlds.reservations import QUEUE, create, ended, letters, status_of
from worlds.strangers import stranger_on


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def the_letter(conn: Connection) -> Row:
    (letter,) = dead.listing(conn, dead.Filters())
    return letter


def failed_by_its_message(conn: Connection, worker: Worker, box: Box) -> str:
    """A reservation that failed after three attempts, torn down."""
    row_id = refused(conn, box)
    worker.run_until(lambda: status_of(conn, row_id) == "failed")
    box.clear_rules()
    ended(conn, worker, row_id)
    return row_id


def refused(conn: Connection, box: Box) -> str:
    """A reservation whose pod nobody takes, and nobody knows whose fault that is."""
    box.rule("webhook", image="forbidden", code=409)
    return create(conn, dockerimage="example.org/forbidden:1")


def queued_bodies(conn: Connection) -> list[Any]:
    rows = conn.execute("select message, headers from pgmq.q_gpu_reservations where read_ct = 0 order by msg_id")
    return rows.fetchall()


def test_a_replayed_ticket_gives_its_reservation_another_life(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = failed_by_its_message(conn, worker, box)

    dead.replay(conn, the_letter(conn)["dead_letter_id"], "grace")
    row = row_of(conn, row_id)
    worker.run_until(lambda: status_of(conn, row_id) == "active")

    assert row["status"] == "pending"
    forgotten = ("reservation_ended", "failed_at", "failure_reason", "pod_name", "retry_at", "expires_at")
    assert [row[name] for name in forgotten] == [None] * len(forgotten)
    assert history_of(conn, row_id)[-3:] == [
        ("failed", "pending"),
        ("pending", "preparing"),
        ("preparing", "active"),
    ]
    assert_sound(conn)


def test_the_history_says_who_replayed_it(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = failed_by_its_message(conn, worker, box)
    number = the_letter(conn)["dead_letter_id"]

    dead.replay(conn, number, "grace")

    told = conn.execute(
        "select reason, actor from public.status_history where row_id = %s order by history_id desc limit 1", (row_id,)
    ).fetchone()
    assert told == (f"replayed from dead letter {number}", "console:grace")


def test_a_replay_while_its_pod_is_torn_down_is_refused_and_changes_nothing(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row_id = refused(conn, box)
    worker.run_until(lambda: status_of(conn, row_id) == "failed")
    number = the_letter(conn)["dead_letter_id"]

    with pytest.raises(Refusal, match="again in a moment"):
        dead.replay(conn, number, "grace")

    assert status_of(conn, row_id) == "failed"
    assert dead.one(conn, number)["answered_at"] is None


def test_any_other_message_is_sent_again_without_its_past(conn: Connection, worker: Worker) -> None:
    send(conn, QUEUE, {"action": "nonsense"})
    worker.run()

    dead.replay(conn, the_letter(conn)["dead_letter_id"], "grace")

    assert queued_bodies(conn) == [({"action": "nonsense"}, None)]
    worker.run()
    assert len(letters(conn)) == 2


def test_what_was_refused_to_somebody_is_refused_to_them_again(dsn: str, conn: Connection, worker: Worker) -> None:
    theirs = create(conn, user_id="bob")
    worker.run()
    with stranger_on(dsn) as eve:
        send(eve, QUEUE, {"action": "cancel", "reservation_id": theirs, "user_id": "bob"})
        login = eve.info.user
    worker.run()

    dead.replay(conn, the_letter(conn)["dead_letter_id"], "grace")
    worker.run()

    assert status_of(conn, theirs) != "cancelled"
    assert letters(conn) == [f"user_id: {login} may ask for no other, such as bob"] * 2


def test_a_null_message_can_be_replayed(conn: Connection, worker: Worker) -> None:
    send(conn, QUEUE, None)
    worker.run()

    dead.replay(conn, the_letter(conn)["dead_letter_id"], "grace")

    assert queued_bodies(conn) == [(None, None)]


def test_a_ticket_of_a_reservation_that_went_on_is_only_sent_again(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = failed_by_its_message(conn, worker, box)
    number = the_letter(conn)["dead_letter_id"]
    dead.replay(conn, number, "grace")
    worker.run_until(lambda: status_of(conn, row_id) == "active")
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, row_id, message, reason, enqueued_at)"
        " select queue, msg_id, row_id, message, reason, enqueued_at from public.dead_letters"
    )

    dead.replay(conn, the_letter(conn)["dead_letter_id"], "grace")
    worker.run_once()

    assert status_of(conn, row_id) == "active"


@pytest.mark.parametrize("answer", [dead.replay, dead.discard])
@pytest.mark.parametrize("again", [dead.replay, dead.discard])
def test_a_letter_is_answered_once(conn: Connection, worker: Worker, answer: Any, again: Any) -> None:
    send(conn, QUEUE, {"action": "nonsense"})
    worker.run()
    number = the_letter(conn)["dead_letter_id"]
    answer(conn, number, "grace")

    with pytest.raises(Refusal, match="already, by grace"):
        again(conn, number, "ada")


def test_a_discarded_letter_stays_and_is_not_sent(conn: Connection, worker: Worker) -> None:
    send(conn, QUEUE, {"action": "nonsense"})
    worker.run()
    number = the_letter(conn)["dead_letter_id"]

    dead.discard(conn, number, "grace")

    assert queued_bodies(conn) == []
    assert dead.listing(conn, dead.Filters()) == []
    (kept,) = dead.listing(conn, dead.Filters(queue=QUEUE, answered_too=True))
    assert (kept["answer"], kept["answered_by"]) == ("discarded", "grace")


def test_a_letter_that_does_not_exist_is_refused(conn: Connection) -> None:
    with pytest.raises(Refusal, match="no dead letter 42"):
        dead.replay(conn, 42, new_id())


def test_a_screen_shows_the_names_of_environment_variables_and_not_their_values(
    conn: Connection, worker: Worker, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create(conn, gpu_count=3, env_vars={"HF_TOKEN": "hunter2"})
    worker.run()
    pgfleet = Pgfleet(dsn, monkeypatch, capsys)

    shown = pgfleet("dead", "show", str(the_letter(conn)["dead_letter_id"]))
    listed = pgfleet("dead", "list", "--json")

    assert "HF_TOKEN" in shown.out
    assert "hunter2" not in shown.out + listed.out


def test_a_letter_that_python_cant_read_is_listed_shown_and_replayed_as_it_was(
    conn: Connection, worker: Worker, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    conn.execute("select pgmq.send(%s, (repeat('[', 3000) || repeat(']', 3000))::jsonb)", (QUEUE,))
    worker.run()
    pgfleet = Pgfleet(dsn, monkeypatch, capsys)
    number = str(the_letter(conn)["dead_letter_id"])

    assert pgfleet("dead", "list", "--json").code == 0
    assert "unreadable JSON" in pgfleet("dead", "show", number).out
    assert pgfleet("dead", "replay", number).code == 0
    row = conn.execute("select message::text = repeat('[', 3000) || repeat(']', 3000) from pgmq.q_gpu_reservations")
    assert row.fetchone() == (True,)


def many(conn: Connection, number: int, reason: str, verdict: str = "failure", queue: str = QUEUE) -> None:
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, message, reason, verdict, enqueued_at)"
        " select %s, n, jsonb_build_object('action', 'admit', 'gpu_type', 'h100'), %s || ' ' || n, %s,"
        " public.fleet_now() from generate_series(1, %s) n",
        (queue, reason, verdict, number),
    )


def test_a_long_list_says_how_many_it_does_not_show(pgfleet: Pgfleet, conn: Connection) -> None:
    many(conn, 602, "throttled after")

    listed = pgfleet("dead")

    assert "and 402 more" in listed.err
    assert len(pgfleet("dead", "ls", "--limit", "700", "--json").json) == 602


def test_letters_are_counted_by_their_reason_whatever_numbers_are_in_it(pgfleet: Pgfleet, conn: Connection) -> None:
    many(conn, 30, "throttled after")
    many(conn, 7, "no field", "rejection")

    counted = pgfleet("dead", "reasons", "--json").json

    assert [(row["number"], row["verdict"], row["reason"]) for row in counted] == [
        (30, "failure", "throttled after #"),
        (7, "rejection", "no field #"),
    ]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (("--reason", "THROTTLED"), {"no field", "deep"}),
        (("--verdict", "rejection"), {"throttled", "deep"}),
        (("--kind", "disk"), {"throttled", "no field"}),
        (("--kind", "disk_operations"), {"throttled", "no field"}),
        ((), set()),
    ],
)
def test_many_are_discarded_by_what_they_have_in_common(
    pgfleet: Pgfleet, conn: Connection, options: tuple[str, ...], left: set[str]
) -> None:
    many(conn, 3, "throttled")
    many(conn, 4, "no field", "rejection")
    many(conn, 5, "deep", queue="disk_operations")

    ended = pgfleet("dead", "discard", "--all", "--yes", *options)

    assert ended.code == 0
    assert {letter["reason"].rsplit(" ", 1)[0] for letter in dead.listing(conn, dead.Filters())} == left
    assert {
        row[0] for row in conn.execute("select distinct answered_by from public.dead_letters where answer <> ''")
    } == {"ada"}


def test_many_are_replayed_and_those_that_cant_be_are_told_with_the_reason(
    pgfleet: Pgfleet, conn: Connection, worker: Worker, box: Box
) -> None:
    many(conn, 3, "throttled")
    row_id = refused(conn, box)
    worker.run_until(lambda: status_of(conn, row_id) == "failed")

    replayed = pgfleet("dead", "replay", "--all", "--yes")

    assert replayed.out == "replayed: 3\n"
    assert replayed.code == 1
    assert "1 letter could not be:" in replayed.err
    assert "still being torn down" in replayed.err
    assert len(dead.listing(conn, dead.Filters())) == 1


@pytest.mark.parametrize("options", [(), ("--reason", "x")])
def test_nothing_is_answered_unless_it_is_said_which(
    pgfleet: Pgfleet, conn: Connection, options: tuple[str, ...]
) -> None:
    many(conn, 3, "x")

    ended = pgfleet("dead", "discard", *options)

    assert ended.code != 0
    assert "--all" in ended.err
    assert dead.count(conn, dead.Filters()) == 3


def test_nobody_who_cant_be_asked_answers_many(pgfleet: Pgfleet, conn: Connection) -> None:
    many(conn, 3, "x")

    ended = pgfleet("dead", "replay", "--all")

    assert "Whoever can't be asked says --yes." in ended.err
    assert dead.count(conn, dead.Filters()) == 3


def test_a_command_that_died_is_not_shown(pgfleet: Pgfleet, conn: Connection) -> None:
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, message, reason, enqueued_at) values"
        " (%s, 1, '{\"command\": \"export TOKEN=s3cret\"}', 'no', public.fleet_now())",
        (QUEUE,),
    )

    shown = pgfleet("dead", "--json").out + pgfleet("dead", "show", str(the_letter(conn)["dead_letter_id"])).out

    assert "s3cret" not in shown
