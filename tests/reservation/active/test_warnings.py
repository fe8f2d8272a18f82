"""Warnings before the end: each once, the most urgent only, and nothing depends on what the pod makes of it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.line.asking import ask_lines, standings_in
from pgfleet.schema.reads.about import now
from pgfleet.schema.settings import BadSettings, read_settings
from pgfleet.workers.clients.kubernetes.inside.commands import clearing, warning
from pgfleet.workers.reservation.machine import KIND
from pgfleet.workers.runtime.outcomes import LeaseLostError
from worlds.fleet import Connection, Worker, assert_sound, move_clock, row_of, settings_for, stop_clock, worker_on
from worlds.reservations import active, ask, ended, letters

HOUR_S = 3600


def warned(conn: Connection, row_id: str) -> list[str]:
    """What the history says of it: entries that are no moves."""
    entries = conn.execute(
        "select from_status, to_status, reason from public.status_history where row_id = %s order by history_id",
        (row_id,),
    ).fetchall()
    return [reason for before, after, reason in entries if before == after]


def files(box: Box, row: dict[str, Any]) -> list[str]:
    """The names of the files that were written in its pod; `-` for each time that all were removed."""
    shells = [command[4:] for command in box.commands(row["pod_name"]) if command[0] == "/bin/sh"]
    return [given[0] if given else "-" for given in shells]


def go_to(conn: Connection, worker: Worker, row_id: str, left_s: float) -> None:
    """The moment at which so much is left of a reservation; its messages are due by themselves."""
    left = conn.execute(
        "select extract(epoch from expires_at - public.fleet_now())::float8 from public.reservations"
        " where reservation_id = %s",
        (row_id,),
    ).fetchone()
    assert left is not None
    move_clock(conn, left[0] - left_s)
    worker.run()


def test_each_warning_comes_once_at_its_time(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    stop_clock(conn)

    said = []
    for minutes in (31, 30, 29, 16, 15, 14, 6, 5, 4, 1):
        go_to(conn, worker, row_id, minutes * 60)
        worker.run()
        said.append(sorted(map(int, row_of(conn, row_id)["warnings_sent"])))

    row = row_of(conn, row_id)
    at = f"at {row['expires_at']:%Y-%m-%d %H:%M:%S} UTC"
    assert said == [[], [30], [30], [30], *[[15, 30]] * 3, *[[5, 15, 30]] * 3]
    assert warned(conn, row_id) == [f"warned: Expires in {minutes} minutes, {at}" for minutes in (30, 15, 5)]
    assert files(box, row) == [f"WARN_EXPIRES_IN_{minutes}MIN.txt" for minutes in (30, 15, 5)]
    assert row["warning"] == f"Expires in 5 minutes, {at}"
    assert row["status"] == "active"
    assert_sound(conn)


@pytest.mark.parametrize("minutes", [30, 15, 5])
def test_the_next_look_is_due_when_the_next_warning_is(conn: Connection, worker: Worker, minutes: int) -> None:
    row_id = active(conn, worker)
    stop_clock(conn)

    go_to(conn, worker, row_id, minutes * 60 + 20)

    due = conn.execute(
        "select r.expires_at - q.vt from pgmq.q_gpu_reservations q, public.reservations r"
        " where q.message ->> 'reservation_id' = r.reservation_id and q.message ->> 'ticket' = r.ticket::text"
    ).fetchall()
    assert [each.total_seconds() for (each,) in due] == [minutes * 60]


def test_after_a_long_silence_only_the_most_urgent_is_sent(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)

    go_to(conn, worker, row_id, 3.5 * 60)

    row = row_of(conn, row_id)
    assert [*row["warnings_sent"]] == ["5"]
    assert row["warning"].startswith("Expires in 4 minutes, ")
    assert files(box, row) == ["WARN_EXPIRES_IN_5MIN.txt"]


def test_who_reserves_ten_minutes_is_not_warned_of_fifteen(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker, duration_hours=1 / 6)
    before = row_of(conn, row_id)["warnings_sent"]

    go_to(conn, worker, row_id, 240)

    assert before == {}
    assert [*row_of(conn, row_id)["warnings_sent"]] == ["5"]


def test_extend_arms_them_again_and_takes_the_file_back(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    go_to(conn, worker, row_id, 4 * 60)

    ask(conn, "extend", row_id, extension_hours=1)
    worker.run()
    extended = row_of(conn, row_id)
    go_to(conn, worker, row_id, 29 * 60)

    row = row_of(conn, row_id)
    assert (extended["warning"], extended["warnings_sent"], extended["last_warning_time"]) == (None, {}, None)
    assert [*row["warnings_sent"]] == ["30"]
    assert files(box, row) == ["WARN_EXPIRES_IN_5MIN.txt", "-", "WARN_EXPIRES_IN_30MIN.txt"]
    assert len(warned(conn, row_id)) == 2
    assert_sound(conn)


def test_extend_keeps_what_else_the_row_warns_of(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    conn.execute("update public.reservations set warning = 'no SSH keys of bob'")

    ask(conn, "extend", row_id, extension_hours=1)
    worker.run()

    assert row_of(conn, row_id)["warning"] == "no SSH keys of bob"


def test_a_pod_in_which_no_command_runs_loses_no_warning_and_ends_nothing(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row_id = active(conn, worker)
    box.fault("/exec$", status=500, times=1000)

    go_to(conn, worker, row_id, 14 * 60)
    sent = row_of(conn, row_id)["warnings_sent"]
    ask(conn, "extend", row_id, extension_hours=1)
    worker.run()

    row = row_of(conn, row_id)
    assert [*sent] == ["15"]
    assert (row["status"], row["warnings_sent"], row["last_warning_time"]) == ("active", {}, None)
    assert conn.execute("select count(*) from public.outages where ended_at is null").fetchone() == (0,)
    assert conn.execute("select count(*) from public.dead_letters").fetchone() == (0,)


def test_an_outage_of_the_cluster_delays_no_warning(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    box.outage()

    go_to(conn, worker, row_id, 4 * 60)

    assert [*row_of(conn, row_id)["warnings_sent"]] == ["5"]


def test_a_worker_killed_after_the_file_leaves_the_warning_to_the_next(
    conn: Connection, worker: Worker, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file comes twice, by the same name; the warning once."""
    row_id = active(conn, worker)
    inside = type(worker.running.tools.inside)
    real = inside.warn
    dead: list[Any] = []

    def deadly(self: Any, *given: Any) -> None:
        real(self, *given)
        if not dead:
            dead.append(given)
            raise LeaseLostError

    monkeypatch.setattr(inside, "warn", deadly)
    go_to(conn, worker, row_id, 14 * 60)
    conn.execute("update pgmq.q_gpu_reservations set vt = public.fleet_now()")
    worker.run()

    assert files(box, row_of(conn, row_id)) == ["WARN_EXPIRES_IN_15MIN.txt"] * 2
    assert len(warned(conn, row_id)) == 1


def test_the_times_are_a_setting(dsn: str, conn: Connection, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGFLEET_WARNINGS_MIN", "60, 10")

    with worker_on(KIND, settings_for(dsn, box)) as running:
        row_id = active(conn, running)
        go_to(conn, running, row_id, 55 * 60)

        assert [*row_of(conn, row_id)["warnings_sent"]] == ["60"]


@pytest.mark.parametrize("given", ["0", "30,,5", "soon"])
def test_times_that_are_none_are_refused_by_their_name(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGFLEET_WARNINGS_MIN", given)

    with pytest.raises(BadSettings, match="PGFLEET_WARNINGS_MIN"):
        read_settings()


def test_a_reservation_that_is_over_is_warned_of_nothing(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    move_clock(conn, 5 * HOUR_S)
    row = ended(conn, worker, row_id)

    assert (row["status"], row["warnings_sent"]) == ("expired", {})


def test_the_commands_write_one_file_and_remove_those_before_it(tmp_path: Path) -> None:
    elsewhere = tmp_path / "home.txt"
    elsewhere.write_text("mine")
    folder = tmp_path / "work space"
    folder.mkdir()
    (folder / "WARN_EXPIRES_IN_15MIN.txt").symlink_to(elsewhere)
    (folder / "WARN_EXPIRES_IN_30MIN.txt").touch()
    (folder / "notes.txt").touch()

    subprocess.run(warning(15, "Expires in 15 minutes, at $(noon) %s\\n", str(folder)), check=True)
    written = {each.name: each.read_text() for each in folder.iterdir()}
    subprocess.run(clearing(str(folder)), check=True)

    assert written == {"WARN_EXPIRES_IN_15MIN.txt": "Expires in 15 minutes, at $(noon) %s\\n\n", "notes.txt": ""}
    assert [each.name for each in folder.iterdir()] == ["notes.txt"]
    assert elsewhere.read_text() == "mine"


@pytest.mark.parametrize("lacks", ["expires_at", "launched_at"])
def test_an_active_row_that_somebody_left_without_its_end_gets_one_and_no_line_stands_for_it(
    conn: Connection, worker: Worker, lacks: str
) -> None:
    row_id = active(conn, worker, duration_hours=4)
    stop_clock(conn)
    conn.execute(f"update public.reservations set {lacks} = null where reservation_id = %s".encode(), (row_id,))
    assert [end.gpus for end in standings_in(ask_lines(conn, ["h100"], None), 120)["h100"].ends] == [2]

    # Past the next look at each row.
    move_clock(conn, 61)
    worker.run()
    worker.run()

    row = row_of(conn, row_id)
    assert (row["status"], row[lacks] is None) == ("active", False)
    assert HOUR_S * 3.9 < (row["expires_at"] - now(conn)).total_seconds() <= HOUR_S * 4
    assert letters(conn) == []
