"""A reservation whose GPUs nobody uses ends, if it was asked for: after a warning, and never by a guess."""

from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.producers.reservation import create_reservation
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.reservation import read
from pgfleet.workers.clients.kubernetes.inside.commands import use_in
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, assert_sound, move_clock, new_id, row_of, stop_clock
from worlds.reservations import active, ask

NS = "gpu-dev"
POLL_S = 300


def idle(conn: Connection, worker: Worker, **fields: Any) -> dict[str, Any]:
    """An active reservation that ends after so long without use; from now on the clock stands still."""
    row_id = active(conn, worker, **{"idle_minutes": 60, **fields})
    stop_clock(conn)
    return row_of(conn, row_id)


def pass_minutes(conn: Connection, worker: Worker, minutes: int) -> None:
    """As time passes: a look at the GPUs every five minutes."""
    for _ in range(minutes // 5):
        move_clock(conn, POLL_S)
        worker.run()


def pass_second(conn: Connection) -> bool:
    move_clock(conn, 1)
    return True


def notices(conn: Connection, row_id: str) -> list[str]:
    found = conn.execute(
        "select reason from public.status_history where row_id = %s and from_status = to_status order by history_id",
        (row_id,),
    ).fetchall()
    return [reason for (reason,) in found]


def test_after_so_long_without_use_comes_a_warning_and_then_the_end(conn: Connection, worker: Worker) -> None:
    row_id = idle(conn, worker)["reservation_id"]

    pass_minutes(conn, worker, 60)
    before = row_of(conn, row_id)
    pass_minutes(conn, worker, 5)
    warned = row_of(conn, row_id)
    pass_minutes(conn, worker, 10)
    still = row_of(conn, row_id)["status"]
    pass_minutes(conn, worker, 5)
    worker.run_until(lambda: pass_second(conn) and row_of(conn, row_id)["reservation_ended"])

    row = row_of(conn, row_id)
    assert (before["warning"], before["status"]) == (None, "active")
    assert warned["warning"].startswith("IDLE: all of its GPUs were idle for 60 minutes; ends at ")
    assert notices(conn, row_id) == [f"warned: {warned['warning']}"]
    assert still == "active"
    assert (row["status"], row["status_reason"]) == ("expired", "IDLE: all of its GPUs were idle for 75 minutes")
    assert row["gpus_held"] == 0
    assert_sound(conn)


def test_use_of_one_gpu_is_use(conn: Connection, worker: Worker, box: Box) -> None:
    row = idle(conn, worker)
    box.use_gpus(NS, row["pod_name"], 0, 5)

    pass_minutes(conn, worker, 100)

    seen = row_of(conn, row["reservation_id"])
    assert (seen["status"], seen["gpus_use"], seen["idle_since"]) == ("active", [0, 5], None)


def test_use_after_the_warning_takes_it_back_and_begins_anew(conn: Connection, worker: Worker, box: Box) -> None:
    row = idle(conn, worker)
    row_id = row["reservation_id"]
    pass_minutes(conn, worker, 65)
    box.use_gpus(NS, row["pod_name"], 90, 0)
    pass_minutes(conn, worker, 5)
    used = row_of(conn, row_id)
    box.use_gpus(NS, row["pod_name"], 4, 4)

    pass_minutes(conn, worker, 60)

    assert (used["warning"], used["idle_warned_at"]) == (None, None)
    assert (row_of(conn, row_id)["status"], len(notices(conn, row_id))) == ("active", 1)


def test_an_extension_begins_it_anew(conn: Connection, worker: Worker) -> None:
    row_id = idle(conn, worker)["reservation_id"]
    pass_minutes(conn, worker, 70)

    ask(conn, "extend", row_id, extension_hours=1)
    conn.execute("update pgmq.q_gpu_reservations set vt = public.fleet_now() where message ->> 'action' = 'extend'")
    worker.run()
    extended = row_of(conn, row_id)
    pass_minutes(conn, worker, 60)

    row = row_of(conn, row_id)
    assert (extended["warning"], extended["idle_since"]) == (None, None)
    assert (row["status"], row["idle_warned_at"]) == ("active", None)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"0\n",
        b"0\n0\n0\n",
        b"N/A\nN/A\n",
        b"0, 0\n",
        b"-1\n0\n",
        b"0\n101\n",
        b"0 %\n0 %\n",
        pytest.param(b"0\n" * 10**6, id="endless"),
    ],
)
def test_what_is_no_number_of_each_gpu_counts_as_use(conn: Connection, worker: Worker, box: Box, said: bytes) -> None:
    row = idle(conn, worker)
    box.contents(NS, row["pod_name"], said)

    pass_minutes(conn, worker, 100)

    seen = row_of(conn, row["reservation_id"])
    assert (seen["status"], seen["gpus_use"], seen["idle_since"]) == ("active", [], None)


def test_a_pod_that_runs_no_command_counts_as_used(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = idle(conn, worker)["reservation_id"]
    pass_minutes(conn, worker, 65)
    box.fault("/exec$", status=500, times=1000)

    pass_minutes(conn, worker, 30)

    row = row_of(conn, row_id)
    assert (row["status"], row["idle_since"], row["warning"]) == ("active", None, None)


def test_a_time_in_which_nobody_looked_counts_as_use(conn: Connection, worker: Worker) -> None:
    row_id = idle(conn, worker)["reservation_id"]
    pass_minutes(conn, worker, 65)

    move_clock(conn, 3600)
    worker.run()

    row = row_of(conn, row_id)
    assert (row["status"], row["warning"]) == ("active", None)
    assert (row["idle_since"] - row["gpus_read_at"]).total_seconds() == 0


def test_nobody_looks_unless_it_was_asked_for(conn: Connection, worker: Worker, box: Box) -> None:
    row = row_of(conn, active(conn, worker))
    stop_clock(conn)

    pass_minutes(conn, worker, 20)

    assert box.commands(row["pod_name"]) == []
    assert row_of(conn, row["reservation_id"])["status"] == "active"


def test_the_looks_of_a_day_are_kept(conn: Connection, worker: Worker, box: Box) -> None:
    row = idle(conn, worker)
    box.use_gpus(NS, row["pod_name"], 70, 80)
    pass_minutes(conn, worker, 15)
    kept = "select percent from public.gpu_use where reservation_id = %s"
    assert conn.execute(kept, (row["reservation_id"],)).fetchall() == [([70, 80],)] * 3

    move_clock(conn, 25 * 3600)
    conn.execute("update public.retention set next_at = '-infinity' where table_name = 'public.gpu_use'")
    conn.execute("select public.keep_house()")

    assert conn.execute(kept, (row["reservation_id"],)).fetchall() == []


def test_watch_shows_how_busy_its_gpus_are_and_what_it_was_warned_of(
    conn: Connection,
    worker: Worker,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pgfleet = Pgfleet(dsn, monkeypatch, capsys)
    row_id = idle(conn, worker)["reservation_id"]
    before = pgfleet("watch", row_id, "--once").out
    pass_minutes(conn, worker, 65)

    shown = " ".join(pgfleet("watch", row_id, "--once").out.split())
    told = pgfleet("watch", row_id, "--once", "--json").json

    assert "ends after 60 min; nobody has looked at its GPUs yet" in " ".join(before.split())
    assert "ends after 60 min; GPUs 0 %, 0 % busy 0 s ago, the first idle look 60 min ago" in shown
    assert "warned: IDLE: all of its GPUs were idle for 60 minutes" in shown
    assert (told["idle_minutes"], told["gpus_use"]) == (60, [0, 0])


def test_the_submit_script_and_the_producer_ask_for_it(
    conn: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("submit", "reservation", "--gpu-type", "h100", "--github-user", "ada", "--idle-minutes", "45")

    ended = Pgfleet(dsn, monkeypatch, capsys)(*asked)
    create_reservation(conn, user_id="ada", gpu_type="h100", gpu_count=1, idle_minutes=30)

    assert ended.code == 0
    sent = conn.execute("select message -> 'idle_minutes' from pgmq.q_gpu_reservations order by msg_id").fetchall()
    assert sent == [(45,), (30,)]


def test_a_cpu_type_is_never_idle() -> None:
    body = {"action": "create_reservation", "reservation_id": new_id(), "user_id": "ada", "gpu_type": "cpu-x86"}

    with pytest.raises(BadMessage, match="idle_minutes: cpu-x86 has no GPUs that could be idle"):
        read({**body, "gpu_count": 0, "idle_minutes": 60})


@pytest.mark.parametrize("minutes", [0, -1, 7 * 24 * 60 + 1, 1.5])
def test_how_long_has_bounds(minutes: float) -> None:
    body = {"action": "create_reservation", "reservation_id": new_id(), "user_id": "ada", "gpu_type": "h100"}

    with pytest.raises(BadMessage, match="idle_minutes"):
        read({**body, "gpu_count": 1, "idle_minutes": minutes})


def test_what_a_driver_says_is_read() -> None:
    assert use_in(b" 97 \r\n3\n", 2) == (97, 3)
