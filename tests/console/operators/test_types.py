"""`pgfleet types`: what operators say of GPU types stays, is told, and is in the audit."""

import pytest

from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, row_of
from worlds.reservations import active, create, status_of

ADD = ("types", "add", "l40s", "--instance-type", "g6e.12xlarge", "--cpus", "48", "--memory", "384")


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def audit(conn: Connection) -> list[tuple[object, ...]]:
    return conn.execute(
        "select action, resource_id, details::jsonb ->> 'reason' from autoscaler.audit_logs order by id"
    ).fetchall()


def test_a_type_gets_more_gpus_and_who_waits_gets_them(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    conn.execute("update public.gpu_types set total_cluster_gpus = 0 where gpu_type = 'h100'")
    row_id = create(conn)
    worker.run()
    assert status_of(conn, row_id) == "queued"

    said = pgfleet("types", "set", "H100", "--total", "64", "--json")
    worker.run()

    assert said.json == {"gpu_type": "h100", "result": "has 64 GPUs in all, of which 0 are held"}
    assert row_of(conn, row_id)["gpus_held"] == 2
    assert audit(conn)[-1] == ("GPU_TYPE_UPDATED", "h100", "ada: total_cluster_gpus from 0 to 64")


def test_fewer_gpus_than_are_held_end_nothing_and_admit_nobody(
    pgfleet: Pgfleet, conn: Connection, worker: Worker
) -> None:
    running = active(conn, worker, gpu_count=4)

    said = pgfleet("types", "set", "h100", "--total", "2")
    waiting = create(conn, gpu_count=1)
    worker.run()

    assert said.code == 0
    assert "nobody gets any until 2 are given back" in said.err
    assert (row_of(conn, running)["status"], row_of(conn, running)["gpus_held"]) == ("active", 4)
    assert status_of(conn, waiting) == "queued"
    assert "4 are held: nobody gets one until 2 are given back" in pgfleet("types").out


def test_a_type_follows_its_nodes_until_it_is_given_a_total(pgfleet: Pgfleet, conn: Connection) -> None:
    before = pgfleet("types", "set", "h100", "--follow-nodes")
    conn.execute(
        "insert into public.gpu_nodes (node_name, gpu_type, gpus, is_ready, is_cordoned, resource_version)"
        " select 'h100-' || i, 'h100', 8, true, false, '1' from generate_series(1, 3) i"
    )
    conn.execute("select public.note_gpu_look('x', '{}', null)")
    shown, told = pgfleet("types"), pgfleet("types", "--json")
    pgfleet("types", "set", "h100", "--total", "4")
    conn.execute("select public.note_gpu_look('x', '{}', null)")

    assert before.out == "h100 follows its nodes: it has 16 GPUs in all, of which 0 are held\n"
    assert "follows its nodes" in shown.out
    (h100,) = (row for row in told.json if row["gpu_type"] == "h100")
    assert (h100["total_cluster_gpus"], h100["follows_nodes"], h100["available_gpus"]) == (24, True, 24)
    assert conn.execute(
        "select total_cluster_gpus, follows_nodes from public.gpu_types where gpu_type = 'h100'"
    ).fetchone() == (4, False)
    by_hand = ["ada: total_cluster_gpus follows its nodes, from 16 on", "ada: total_cluster_gpus from 24 to 4"]
    assert [reason for action, _, reason in audit(conn) if action == "GPU_TYPE_UPDATED" and reason] == by_hand


def test_a_type_is_switched_off_and_on_again(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    off = pgfleet("types", "disable", "h100")
    again = pgfleet("types", "disable", "h100")
    refused = create(conn)
    worker.run()
    on = pgfleet("types", "enable", "h100")
    taken = create(conn)
    worker.run()

    assert (off.out, again.out, on.out) == ("h100 is off\n", "h100 is already off\n", "h100 is on\n")
    (reason,) = conn.execute("select reason from public.dead_letters where row_id = %s", (refused,)).fetchall()
    assert reason == ("gpu_type: h100 is switched off",)
    assert row_of(conn, taken)["gpus_held"] == 2
    assert [reason for *_, reason in audit(conn)] == ["ada: switched off", "ada: switched on"]


def test_a_type_is_added_once(pgfleet: Pgfleet, conn: Connection) -> None:
    added = pgfleet(*ADD, "--per-node", "4", "--total", "8")
    again = pgfleet(*ADD, "--per-node", "4")

    assert (added.code, added.out) == (0, "l40s is known, with 8 GPUs\n")
    assert (again.code, "There is a GPU type l40s already" in again.err) == (1, True)
    assert conn.execute(
        "select instance_type, max_gpus, max_per_node, cpus, memory_gb, total_cluster_gpus, is_active"
        " from public.gpu_types where gpu_type = 'l40s'"
    ).fetchall() == [("g6e.12xlarge", 4, 4, 48, 384, 8, True)]
    assert audit(conn) == [("GPU_TYPE_CREATED", "l40s", "ada: added with 8 GPUs")]


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("set", "h1000", "--total", "8"), 1, "There is no GPU type h1000. Did you mean h100?"),
        (("disable", "zzz"), 1, "Known are a100, a10g,"),
        (("set", "cpu-x86", "--total", "8"), 1, "cpu-x86 has no GPUs"),
        (("set", "h100", "--total", "-1"), 2, "--total"),
        (("set", "h100"), 2, "--total"),
        (("set", "h100", "--total", "8", "--follow-nodes"), 2, "Give --total or --follow-nodes"),
        (("set", "cpu-x86", "--follow-nodes"), 1, "cpu-x86 has no GPUs"),
        (("add", "A 100", *ADD[3:], "--per-node", "8"), 2, "small letters, digits, dots and dashes"),
        (("add", "cpu-new", *ADD[3:], "--per-node", "8"), 2, "--per-node is 0 for a type whose name begins with cpu-"),
        (("add", "new", *ADD[3:], "--per-node", "0"), 2, "--per-node is 0 for a type whose name begins with cpu-"),
    ],
)
def test_what_can_not_be_is_refused_with_what_can(
    pgfleet: Pgfleet, conn: Connection, command: tuple[str, ...], code: int, said: str
) -> None:
    ended = pgfleet("types", *command)

    assert (ended.code, said in ended.err) == (code, True), ended.err
    assert audit(conn) == []
