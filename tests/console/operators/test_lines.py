"""`pgfleet lines`: the order of a line, who starts when, and what operators set of it."""

import pytest

from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker
from worlds.reservations import active, create, status_of


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def test_what_is_set_of_lines_is_shown_and_audited_and_the_rest_stays(pgfleet: Pgfleet, conn: Connection) -> None:
    before = pgfleet("lines", "--json").json["settings"]
    said = pgfleet("lines", "set", "--fair-share", "on", "--starving-after", "2d", "--json").json
    pgfleet("lines", "set", "--extensions-win", "on")
    after = pgfleet("lines").out

    assert before == {"fair_share": False, "starving_after_hours": 24, "extensions_win": False}
    assert said == {"fair_share": True, "starving_after_hours": 48, "extensions_win": False}
    assert "Fair share is on: who has had more GPUs in the last 24 hours stands further behind." in after
    assert "Who has waited for 2 d is passed by nobody." in after
    assert "Extensions win is on: an extension may move a start that was promised" in after
    audited = conn.execute(
        "select action, details::jsonb ->> 'reason' from autoscaler.audit_logs order by id"
    ).fetchall()
    assert audited == [
        ("LINE_SETTINGS_UPDATED", "ada: fair_share True, starving_after 2 days, 0:00:00"),
        ("LINE_SETTINGS_UPDATED", "ada: extensions_win True"),
    ]


def test_lines_are_looked_at_when_their_rules_change(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8)
    create(conn, gpu_count=8)
    worker.run()
    admits = "select count(*) from pgmq.q_gpu_reservations where message ->> 'action' = 'admit'"
    assert conn.execute(admits).fetchone() == (0,)

    pgfleet("lines", "set", "--fair-share", "on")

    assert conn.execute(admits).fetchone() == (1,)


def test_a_line_is_shown_in_its_order_with_who_starts_when(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8, duration_hours=6)
    first = create(conn, gpu_count=8, duration_hours=2)
    second = create(conn, gpu_count=4, user_id="bob")
    worker.run_until(lambda: status_of(conn, second) == "queued")

    shown, told = pgfleet("lines", "show", "H100"), pgfleet("lines", "show", "h100", "--json").json
    (h100,) = (line for line in pgfleet("lines", "--json").json["lines"] if line["gpu_type"] == "h100")

    assert [(row["place"], row["reservation_id"], row["user_id"]) for row in told] == [
        (1, first, "ada"),
        (2, second, "bob"),
    ]
    assert [row["is_promised"] for row in told] == [True, False]
    assert [row["reason_code"] for row in told] == ["NO_CAPACITY", "BEHIND_OTHERS"]
    assert "promised" in shown.out
    assert (h100["waiting"], h100["free_gpus"], h100["booked"]) == (2, 0, 0)


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (("show", "h1000"), 1, "There is no GPU type h1000"),
        (("set", "--starving-after", "soon"), 2, "Write 90m, 24h or 2d"),
        (("set", "--starving-after", "0h"), 2, "Write 90m, 24h or 2d"),
        (("set", "--json"), 2, "Give --fair-share"),
        (("set", "--fair-share", "perhaps"), 2, "on"),
    ],
)
def test_what_makes_no_sense_is_refused_with_why(
    pgfleet: Pgfleet, given: tuple[str, ...], code: int, says: str
) -> None:
    ended = pgfleet("lines", *given)

    assert (ended.code, says in ended.err) == (code, True), ended.err


def test_a_line_of_nobody_says_so(pgfleet: Pgfleet) -> None:
    assert "Nobody waits for h100" in pgfleet("lines", "show", "h100").err
