"""A gang that runs: who is let in, where Jupyter is, how it is found, what it is warned of, and when nobody uses it."""

import os
from collections.abc import Sequence
from typing import Any

import pytest

from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.reservation.machine import KIND
from reservation.access.test_jupyter import services
from reservation.access.test_names import groups, mapping_of, mappings
from reservation.access.test_users import NS, keys_of
from reservation.active.test_idle import notices, pass_minutes, pass_second
from reservation.active.test_warnings import files, go_to, warned
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, assert_sound, move_clock, row_of, settings_for, stop_clock, worker_on
from worlds.reservations import all_are, all_ended, ask, gang, letters, moments, rows_of, statuses


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def running(conn: Connection, worker: Worker, **fields: Any) -> list[str]:
    ids = gang(conn, **fields)
    all_are(conn, worker, ids, "active")
    return ids


def idle(conn: Connection, worker: Worker) -> list[str]:
    """A gang that ends after an hour without use; from now on the clock stands still."""
    ids = running(conn, worker, gpu_count=2, idle_minutes=60)
    stop_clock(conn)
    return ids


def use(conn: Connection, box: Box, row_id: str, *percent: int) -> None:
    box.use_gpus(NS, row_of(conn, row_id)["pod_name"], *percent)


def column(conn: Connection, ids: Sequence[str], name: str) -> list[Any]:
    return [row[name] for row in rows_of(conn, ids)]


def test_all_of_it_ends_when_the_gpus_of_all_its_nodes_were_idle_for_so_long(conn: Connection, worker: Worker) -> None:
    ids = idle(conn, worker)

    pass_minutes(conn, worker, 60)
    before = column(conn, ids, "warning")
    pass_minutes(conn, worker, 5)
    warnings = column(conn, ids, "warning")
    pass_minutes(conn, worker, 10)
    still = statuses(conn, ids)
    pass_minutes(conn, worker, 5)
    worker.run_until(lambda: pass_second(conn) and all(column(conn, ids, "reservation_ended")))

    assert before == [None, None]
    assert warnings[0].startswith("IDLE: all of its GPUs were idle for 60 minutes; ends at ")
    assert warnings[1] == warnings[0]
    assert [notices(conn, each) for each in ids] == [[f"warned: {warnings[0]}"]] * 2
    assert still == ["active", "active"]
    told = ("expired", "IDLE: all of its GPUs were idle for 75 minutes")
    assert [(row["status"], row["status_reason"]) for row in rows_of(conn, ids)] == [told, told]
    assert moments(conn, ids)["expired"] == 1
    assert_sound(conn)


@pytest.mark.parametrize("busy", [0, 1])
def test_use_of_one_node_is_use_of_all(conn: Connection, worker: Worker, box: Box, busy: int) -> None:
    ids = idle(conn, worker)
    use(conn, box, ids[busy], 0, 60)

    pass_minutes(conn, worker, 100)

    expected = [[0, 0], [0, 0]]
    expected[busy] = [0, 60]
    assert column(conn, ids, "gpus_use") == expected
    assert [(row["status"], row["idle_since"], row["warning"]) for row in rows_of(conn, ids)] == [
        ("active", None, None)
    ] * 2


def test_use_of_any_node_takes_the_warning_back_from_all(conn: Connection, worker: Worker, box: Box) -> None:
    ids = idle(conn, worker)
    pass_minutes(conn, worker, 65)
    use(conn, box, ids[1], 90, 90)
    pass_minutes(conn, worker, 5)
    use(conn, box, ids[1], 0, 0)

    pass_minutes(conn, worker, 55)

    assert statuses(conn, ids) == ["active", "active"]
    assert [(row["warning"], row["idle_warned_at"]) for row in rows_of(conn, ids)] == [(None, None)] * 2


def test_a_node_whose_use_can_not_be_read_counts_as_used(conn: Connection, worker: Worker, box: Box) -> None:
    ids = idle(conn, worker)
    box.contents(NS, row_of(conn, ids[1])["pod_name"], b"N/A\nN/A\n")

    pass_minutes(conn, worker, 100)

    assert statuses(conn, ids) == ["active", "active"]
    assert column(conn, ids, "gpus_use") == [[0, 0], []]


def test_an_extension_by_any_node_begins_the_idle_time_of_all_anew(conn: Connection, worker: Worker) -> None:
    ids = idle(conn, worker)
    pass_minutes(conn, worker, 70)

    ask(conn, "extend", ids[1], extension_hours=1)
    conn.execute("update pgmq.q_gpu_reservations set vt = public.fleet_now() where message ->> 'action' = 'extend'")
    worker.run()
    extended = [(row["warning"], row["idle_since"]) for row in rows_of(conn, ids)]
    pass_minutes(conn, worker, 60)

    assert extended == [(None, None)] * 2
    assert [(row["status"], row["idle_warned_at"]) for row in rows_of(conn, ids)] == [("active", None)] * 2


def test_each_node_is_warned_once_with_a_file_in_its_own_pod(conn: Connection, worker: Worker, box: Box) -> None:
    ids = running(conn, worker)
    stop_clock(conn)

    for minutes in (29, 14, 4):
        go_to(conn, worker, ids[0], minutes * 60)
        worker.run()

    for row in rows_of(conn, ids):
        assert files(box, row) == [f"WARN_EXPIRES_IN_{minutes}MIN.txt" for minutes in (30, 15, 5)]
        assert len(warned(conn, row["reservation_id"])) == 3
    assert_sound(conn)


def test_an_extension_by_any_node_arms_the_warnings_of_all_again(conn: Connection, worker: Worker, box: Box) -> None:
    ids = running(conn, worker)
    go_to(conn, worker, ids[0], 4 * 60)

    ask(conn, "extend", ids[1], extension_hours=1)
    worker.run()
    extended = [(row["warning"], row["warnings_sent"]) for row in rows_of(conn, ids)]
    go_to(conn, worker, ids[0], 29 * 60)

    assert extended == [(None, {})] * 2
    for row in rows_of(conn, ids):
        assert files(box, row) == ["WARN_EXPIRES_IN_5MIN.txt", "-", "WARN_EXPIRES_IN_30MIN.txt"]


@pytest.mark.parametrize("asked", [0, 1])
def test_who_is_added_to_any_node_is_let_into_all_pods(conn: Connection, worker: Worker, asked: int) -> None:
    ids = running(conn, worker)

    ask(conn, "add_user", ids[asked], github_username="bob", request_id="r")
    worker.run()

    keys = worker.running.tools.ssh_keys.of("bob")
    for row in rows_of(conn, ids):
        assert set(keys) <= set(keys_of(worker, row))
        assert row["secondary_users"] == ["bob"]
        assert [done["request_id"] for done in row["requests_done"]] == ["r"]


def test_who_is_added_while_it_waits_is_let_into_all_pods(conn: Connection, worker: Worker) -> None:
    first = gang(conn, gpu_count=8)
    all_are(conn, worker, first, "active")
    ids = gang(conn, gpu_count=8)
    all_are(conn, worker, ids, "queued")
    ask(conn, "add_user", ids[1], github_username="bob")
    worker.run()

    ask(conn, "cancel", first[0])
    rows = all_are(conn, worker, ids, "active")

    keys = worker.running.tools.ssh_keys.of("bob")
    assert all(set(keys) <= set(keys_of(worker, row)) for row in rows)


def test_who_has_no_key_is_named_in_all_rows(conn: Connection, worker: Worker) -> None:
    ids = running(conn, worker)

    ask(conn, "add_user", ids[1], github_username="nokeys-eve")
    worker.run()

    assert column(conn, ids, "warning") == ["no SSH key of nokeys-eve is on GitHub: they can't log in"] * 2


@pytest.mark.parametrize("asked", [0, 1])
def test_jupyter_is_switched_on_the_first_node_whichever_is_asked(conn: Connection, worker: Worker, asked: int) -> None:
    ids = running(conn, worker)

    for request in ("on", "on"):
        ask(conn, "enable_jupyter", ids[asked], request_id=request)
    worker.run_until(lambda: row_of(conn, ids[0])["jupyter_url"] is not None)
    on = rows_of(conn, ids)
    there = ["jupyter" in services(worker, row) for row in on]
    ask(conn, "disable_jupyter", ids[asked], request_id="off")
    worker.run_until(lambda: row_of(conn, ids[0])["jupyter_url"] is None)

    assert there == [True, False]
    assert [row["jupyter_enabled"] for row in on] == [True, False]
    assert on[1]["jupyter_token"] is None
    for row in rows_of(conn, ids):
        done = [(each["request_id"], each["told"]) for each in row["requests_done"]]
        assert done == [("on", "Jupyter on on its first node"), ("off", "Jupyter off on its first node")]


def test_the_command_shows_the_jupyter_of_the_first_node_whichever_is_asked(
    conn: Connection, worker: Worker, pgfleet: Pgfleet
) -> None:
    ids = running(conn, worker)
    sent = pgfleet("jupyter", "on", ids[1], "--json").json
    worker.run_until(lambda: row_of(conn, ids[0])["jupyter_url"] is not None)

    shown = pgfleet("jupyter", "show", ids[1], "--json").json

    assert sent["reservation_id"] == shown["reservation_id"] == ids[0]
    assert shown["address"].startswith(row_of(conn, ids[0])["jupyter_url"])


def test_ssh_and_logs_of_a_node_are_those_of_its_own_pod(
    conn: Connection, worker: Worker, box: Box, pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = running(conn, worker)
    programs: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, arguments: programs.append(arguments))

    for each, row in zip(ids, rows_of(conn, ids), strict=True):
        pgfleet("ssh", each)
        assert f"HostKeyAlias={row['pod_name']}" in programs[-1]
        assert programs[-1][1:3] == ["-p", str(row["node_port"])]
        box.log(NS, row["pod_name"], f"I am {each}\n")
    ask(conn, "cancel", ids[0])
    all_ended(conn, worker, ids)

    assert [pgfleet("logs", each).out.strip() for each in ids] == [f"I am {each}" for each in ids]


def test_each_node_has_a_name_and_the_first_one_that_of_jupyter(dsn: str, conn: Connection, box: Box) -> None:
    with worker_on(KIND, settings_for(dsn, box, domain="gpu.example.org")) as worker:
        ids = running(conn, worker, name="llama", jupyter_enabled=True)
        worker.run_until(lambda: row_of(conn, ids[0])["jupyter_url"] is not None)
        rows = rows_of(conn, ids)
        there = (sorted(mappings(conn)), [group[0] for group in groups(conn)])
        ask(conn, "cancel", ids[1])
        all_ended(conn, worker, ids)

    assert there == (sorted(map(mapping_of, rows)), [ids[0]])
    assert [row["domain_name"].rpartition("-")[0] for row in rows] == ["llama-node-1-2", "llama-node-2-2"]
    assert (mappings(conn), groups(conn)) == ([], [])


@pytest.mark.parametrize(
    ("limit", "most", "reason"),
    [
        ("reservations", 3, "ada has 2 reservations that wait or run, and may have 3; 2 more would be too many"),
        ("gpus", 15, "ada has 8 h100 GPUs that wait or run, and may have 15; 8 more would be too many"),
        ("hours_week", 10, "ada has 8 hours of reservations in seven days, and may have 10; 8 more would be too many"),
    ],
)
def test_each_node_counts_in_a_policy(conn: Connection, worker: Worker, limit: str, most: int, reason: str) -> None:
    conn.execute("delete from public.policies where limit_name = %s", (limit,))
    conn.execute(
        "insert into public.policies (applies_to, subject, limit_name, gpu_type, most)"
        " values ('everybody', '', %s, '', %s)",
        (limit, most),
    )
    gang(conn)
    worker.run()
    assert letters(conn) == []

    gang(conn)
    worker.run()

    assert letters(conn) == [reason]


def test_more_hours_count_for_each_node_in_a_policy(conn: Connection, worker: Worker) -> None:
    conn.execute(
        "insert into public.policies (applies_to, subject, limit_name, gpu_type, most)"
        " values ('everybody', '', 'hours_week', '', 13)"
    )
    ids = running(conn, worker)

    for hours in (3, 2):
        ask(conn, "extend", ids[1], extension_hours=hours)
        worker.run()

    assert len(letters(conn)) == 1
    assert column(conn, ids, "duration_hours") == [6, 6]


def test_a_gang_that_is_let_go_of_by_force_is_so_as_a_whole_whichever_node_is_named(
    dsn: str, conn: Connection, pgfleet: Pgfleet
) -> None:
    with (
        sandbox.running(["h100:2x8"], ready_delay_s=0.02, termination_delay_s=600) as box,
        worker_on(KIND, settings_for(dsn, box)) as worker,
    ):
        ids = running(conn, worker)
        ask(conn, "cancel", ids[0])
        all_are(conn, worker, ids, "cancelled")
        move_clock(conn, 3600)
        worker.run_until(lambda: all(column(conn, ids, "held_by")))

        told = pgfleet("release", ids[1])
        done = pgfleet("release", ids[1], "--force", "--yes")

        assert "of its 2 nodes, 1, 2 still hold something" in told.err
        assert "Its 8 x h100 count as free at once" in told.err
        assert done.code == 0
        assert column(conn, ids, "gpus_held") == [0, 0]
        assert all(column(conn, ids, "forced_at"))
        all_ended(conn, worker, ids)
        worker.run_until(lambda: not box.state()["objects"]["secrets"])
        assert_sound(conn)


def test_of_a_gang_only_what_holds_something_is_let_go_of(conn: Connection, worker: Worker) -> None:
    ids = running(conn, worker)
    ask(conn, "cancel", ids[0])
    all_ended(conn, worker, ids)
    conn.execute("update public.reservations set held_by = 'its pod' where reservation_id = %s", (ids[1],))

    conn.execute("select public.release_by_force(%s)", (ids[0],))

    assert [at is not None for at in column(conn, ids, "forced_at")] == [False, True]
