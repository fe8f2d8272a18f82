"""Admission knows nodes: what no node can hold waits and is in nobody's way, and a dry run says the same."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.about import now
from pgfleet.schema.reads.place import place
from pgfleet.schema.reads.trial import DryRun, dry_run
from pgfleet.schema.reservation import CreateReservation
from pgfleet.schema.room import Room
from pgfleet.workers.clients.kubernetes.watch.nodes import Nodes
from pgfleet.workers.reservation.cluster.book import Book
from pgfleet.workers.reservation.cluster.looker import Looker
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import Connection, Worker, assert_sound, move_clock, new_id, row_of, settings_for, worker_on
from worlds.outside.kubernetes import NS, Api, connected, pod
from worlds.reservations import active, create, reach, status_of

GRACE = timedelta(seconds=120)


@pytest.fixture
def cluster(box: Box) -> Iterator[Api]:
    with connected(box) as api:
        yield client.CoreV1Api(api)


def look(worker: Worker) -> None:
    """The look at everything that one worker makes each minute."""
    pods = worker.running.tools.pods
    Looker(Nodes(pods.api, NS, 10), Book(worker.running)).look()


def others(cluster: Api, name: str, node: str, gpus: int, namespace: str = NS) -> None:
    """A pod that is not ours has GPUs of a node."""
    body = pod(name, gpus)
    body["spec"]["nodeName"] = node
    cluster.create_namespaced_pod(namespace, body)


def asked(conn: Connection, gpus: int, gpu_type: str = "h100") -> DryRun:
    message = CreateReservation(reservation_id=new_id(), user_id="ada", gpu_type=gpu_type, gpu_count=gpus)
    line = reads.lines(conn, [gpu_type], GRACE)[gpu_type]
    return dry_run(message, reads.types(conn)[gpu_type], line, 72)


@pytest.fixture
def halves(worker: Worker, cluster: Api) -> Worker:
    """Of each of two nodes with eight GPUs, four are free."""
    others(cluster, "other-1", "h100-1", 4)
    others(cluster, "other-2", "h100-2", 4, namespace="default")
    look(worker)
    return worker


def shown(conn: Connection, row_id: str) -> str:
    return str(row_of(conn, row_id)["current_detailed_status"])


def test_what_no_node_can_hold_waits_and_lets_others_pass(conn: Connection, halves: Worker) -> None:
    large = create(conn, gpu_count=8)
    halves.run()
    small = create(conn, gpu_count=1)
    reach(conn, halves, small, "active")

    why = "NO_CAPACITY: 8 GPUs on one node wanted, at most {} are free on one (of 2 nodes)"
    assert status_of(conn, large) == "queued"
    assert shown(conn, large) in (why.format(4), why.format(3))
    assert row_of(conn, large)["gpus_held"] == 0
    assert_sound(conn)


def taint(cluster: Api, *taints: Mapping[str, str | None]) -> None:
    for node in ("h100-1", "h100-2"):
        cluster.patch_node(node, {"spec": {"taints": list(taints)}})


TAINTS = [
    ("maintenance", "true", "NoSchedule"),
    ("node.cilium.io/agent-not-ready", None, "NoSchedule"),
    ("ebs.csi.aws.com/agent-not-ready", None, "NoExecute"),
    ("nvidia.com/gpu", "present", "NoExecute"),
]


@pytest.mark.parametrize(("key", "value", "effect"), TAINTS, ids=str)
def test_a_node_with_a_taint_that_our_pods_do_not_tolerate_has_no_room(
    conn: Connection, worker: Worker, cluster: Api, key: str, value: str | None, effect: str
) -> None:
    """Its GPUs are free, and no pod of ours would ever go there. What they tolerate is none, nor is a preference."""
    taint(cluster, {"key": key, "value": value, "effect": effect})
    look(worker)
    row_id = create(conn, gpu_count=1)
    worker.run()

    assert (status_of(conn, row_id), row_of(conn, row_id)["gpus_held"]) == ("queued", 0)
    assert asked(conn, 1).code == "NO_CAPACITY"
    assert f"is tainted {key}" in asked(conn, 1).reason

    mine = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    taint(cluster, mine, {"key": "busy", "effect": "PreferNoSchedule"})
    look(worker)

    reach(conn, worker, row_id, "active")


def test_what_the_template_of_pods_tolerates_closes_no_node(
    dsn: str, conn: Connection, box: Box, cluster: Api, tmp_path: Path
) -> None:
    """To its watch, its looks, and where it looks for a zone."""
    template = tmp_path / "pod.yaml"
    template.write_text("spec: {tolerations: [{key: dedicated, value: gpu, effect: NoSchedule}]}", encoding="utf-8")
    taint(cluster, {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"})

    with worker_on(KIND, settings_for(dsn, box, pod_template=str(template)), watches=True) as worker:
        reach(conn, worker, create(conn, gpu_count=8), "active")
        zones = worker.running.tools.homes.zones("h100", 8)
        problems = conn.execute("select distinct problem from public.gpu_node_room where gpu_type = 'h100'").fetchall()

    with worker_on(KIND, settings_for(dsn, box)) as other:
        none = other.running.tools.homes.zones("h100", 8)

    assert (problems, len(zones), none) == ([(None,)], 1, [])


def test_a_dry_run_says_the_same(conn: Connection, halves: Worker) -> None:
    assert asked(conn, 8) == DryRun(
        starts_now=False,
        code="NO_CAPACITY",
        reason="8 GPUs on one node wanted, at most 4 are free on one (of 2 nodes)",
    )
    assert asked(conn, 4).starts_now
    create(conn, gpu_count=8)
    halves.run()
    assert asked(conn, 4).starts_now, "who has no room is in nobody's way"


def test_as_soon_as_a_node_has_room_the_oldest_gets_it(conn: Connection, halves: Worker, cluster: Api) -> None:
    first, second = create(conn, gpu_count=8), create(conn, gpu_count=8)
    halves.run()

    cluster.delete_namespaced_pod("other-1", NS, grace_period_seconds=0)
    look(halves)

    reach(conn, halves, first, "active")
    assert status_of(conn, second) == "queued"


def test_of_two_that_no_node_has_room_for_the_second_has_the_first_ahead_and_both_are_counted(
    conn: Connection, halves: Worker
) -> None:
    first, second, small = create(conn, gpu_count=8), create(conn, gpu_count=8), create(conn, gpu_count=1)
    reach(conn, halves, small, "active")
    halves.run()

    line = reads.lines(conn, ["h100"], GRACE)["h100"]

    rows = {str(row["reservation_id"]): row for row in reads.listing(conn, reads.Filters())}
    places = [place(rows[row_id], line) for row_id in (first, second)]
    assert [found and found.as_json()["position"] for found in places] == [1, 2]
    assert line.number == 2


def test_a_dry_run_of_a_type_without_gpus_knows_whether_there_is_a_machine(
    conn: Connection, worker: Worker, box: Box
) -> None:
    look(worker)

    assert asked(conn, 0, "cpu-x86").starts_now
    assert asked(conn, 0, "cpu-arm").reason == "no node of cpu-arm is in the cluster"


@pytest.mark.parametrize("added", [True, False], ids=["a node is added", "a node is opened again"])
def test_a_node_that_can_be_used_moves_the_line(
    conn: Connection, halves: Worker, box: Box, cluster: Api, *, added: bool
) -> None:
    box.add_nodes("h100")
    if not added:
        cluster.patch_node("h100-3", {"spec": {"unschedulable": True}})
        look(halves)
    row_id = create(conn, gpu_count=8)
    halves.run()
    assert status_of(conn, row_id) == "queued"

    cluster.patch_node("h100-3", {"spec": {"unschedulable": False}})
    look(halves)

    reach(conn, halves, row_id, "active")


def test_those_admitted_before_are_counted_although_their_pods_have_no_node_yet(
    conn: Connection, halves: Worker, box: Box
) -> None:
    box.add_nodes("h100")
    look(halves)
    rows = [create(conn, gpu_count=8) for _ in range(2)]

    halves.run_until(lambda: status_of(conn, rows[0]) == "active")

    assert status_of(conn, rows[1]) == "queued"
    assert not asked(conn, 8).starts_now


def test_many_that_no_node_can_hold_keep_nobody_from_being_looked_at(conn: Connection, halves: Worker) -> None:
    conn.execute("update public.gpu_types set total_cluster_gpus = 1000 where gpu_type = 'h100'")
    for _ in range(40):
        create(conn, gpu_count=8)
    small = create(conn, gpu_count=1)

    reach(conn, halves, small, "active")


def test_nodes_that_were_not_seen_lately_do_not_count_and_that_is_told(conn: Connection, halves: Worker) -> None:
    move_clock(conn, 200)
    row_id = create(conn, gpu_count=8)

    answer = asked(conn, 8)
    halves.run_until(lambda: status_of(conn, row_id) == "preparing")

    assert answer.reason.endswith("its nodes were last seen 3 min ago")
    assert row_of(conn, row_id)["status_reason"] == "admitted by totals alone: its nodes were last seen 3 min ago"


def follow(conn: Connection) -> None:
    conn.execute("update public.gpu_types set follows_nodes = true where gpu_type = 'h100'")


def total(conn: Connection) -> int:
    row = conn.execute("select total_cluster_gpus from public.gpu_types where gpu_type = 'h100'").fetchone()
    assert row is not None
    return int(row[0])


def test_a_total_that_follows_the_nodes_lets_in_who_waited_when_one_comes(
    conn: Connection, worker: Worker, box: Box
) -> None:
    look(worker)
    follow(conn)
    first = [active(conn, worker, gpu_count=8) for _ in range(2)]
    waiting = create(conn, gpu_count=8)
    worker.run()
    assert (total(conn), status_of(conn, waiting)) == (16, "queued")

    box.add_nodes("h100")
    look(worker)
    worker.run_until(lambda: status_of(conn, waiting) == "preparing")

    assert total(conn) == 24
    assert [row_of(conn, each)["gpus_held"] for each in first] == [8, 8]
    assert_sound(conn)


def test_a_total_that_follows_the_nodes_shrinks_below_what_is_held_and_ends_nothing(
    conn: Connection, worker: Worker, cluster: Api
) -> None:
    look(worker)
    follow(conn)
    held = [active(conn, worker, gpu_count=4) for _ in range(3)]

    cluster.delete_node("h100-2")
    look(worker)
    waiting = create(conn, gpu_count=4)
    worker.run()

    assert total(conn) == 8
    assert status_of(conn, waiting) == "queued"
    assert {row_of(conn, each)["gpus_held"] for each in held} == {4}
    changes = "select description, details::jsonb ->> 'held' from autoscaler.audit_logs where user_email = 'pgfleet'"
    assert conn.execute(changes).fetchall() == [("h100 has 8 GPUs, as its nodes have; before, 16", "12")]


def test_a_node_that_is_not_ready_counts_as_far_as_its_gpus_are_held(
    conn: Connection, worker: Worker, box: Box
) -> None:
    look(worker)
    follow(conn)
    conn.execute(
        "insert into public.gpu_pods (pod_uid, pod_name, namespace, gpu_type, node_name, gpus, phase, is_ready,"
        " is_deleting, fingerprint, resource_version)"
        " values ('1', 'one', 'x', 'h100', 'h100-1', 4, 'Running', true, false, '', '1')"
    )

    box.node("h100-1", ready=False)
    look(worker)

    assert total(conn) == 12


def test_without_its_only_node_a_type_has_nothing_free_and_says_why(conn: Connection, worker: Worker, box: Box) -> None:
    (node,) = box.add_nodes("a100")
    look(worker)
    assert availability(conn, "a100") == (8, 8, 1, 1)
    with connected(box) as api:
        client.CoreV1Api(api).delete_node(node)
    look(worker)

    line = reads.lines(conn, ["a100"], GRACE)["a100"]
    assert (line.free, line.room.why_none) == (0, "no node of a100 is in the cluster")
    assert availability(conn, "a100") == (0, 0, 0, 0)
    assert asked(conn, 8, "a100").reason == "8 GPUs on one node wanted, no node of a100 is in the cluster"


def availability(conn: Connection, gpu_type: str) -> Any:
    return conn.execute(
        "select available_gpus, max_reservable, full_nodes_available, running_instances from public.gpu_types"
        " where gpu_type = %s and last_availability_updated_by like 'reservation@%%'",
        (gpu_type,),
    ).fetchone()


def test_the_instances_that_all_who_hold_or_wait_would_need_are_said(conn: Connection, worker: Worker) -> None:
    """16 GPUs are held and 11 waited for: 27, in whole instances of 8. What is booked for later is not counted."""
    for _ in range(2):
        active(conn, worker, gpu_count=8)
    waits = [create(conn, gpu_count=count) for count in (8, 1, 2)]
    create(conn, gpu_count=8, start_at=(now(conn) + timedelta(days=5)).isoformat())
    worker.run_until(lambda: [status_of(conn, row_id) for row_id in waits] == ["queued"] * 3)

    look(worker)

    wanted = "select gpu_type, desired_capacity from public.gpu_types where gpu_type = any(%s)"
    types: dict[str, int | None] = dict(conn.execute(wanted, (["h100", "a100", "cpu-arm"],)).fetchall())
    assert types == {"h100": 4, "a100": 0, "cpu-arm": None}


def test_pods_of_ours_take_their_node_s_gpus_and_give_them_back(conn: Connection, dsn: str, box: Box) -> None:
    with worker_on(KIND, settings_for(dsn, box), watches=True) as worker:
        first = active(conn, worker, gpu_count=8)
        active(conn, worker, gpu_count=8)
        worker.run_until(lambda: free(conn) == [0, 0])
        waits = create(conn, gpu_count=8)
        worker.run_until(lambda: status_of(conn, waits) == "queued")

        conn.execute("select pgmq.send('gpu_reservations', %s::jsonb)", (cancel(first),))

        reach(conn, worker, waits, "active")


def free(conn: Connection) -> list[int]:
    return [row[0] for row in conn.execute("select gpus_free from public.gpu_node_room where gpu_type = 'h100'")]


def cancel(row_id: str) -> str:
    return f'{{"action": "cancel", "reservation_id": "{row_id}", "user_id": "ada"}}'


def room(**free: int) -> Room:
    return Room("h100", 100, free, is_seen=True)


def test_a_pod_goes_where_most_is_free() -> None:
    assert room(a=4, b=8).without(2).free == {"a": 4, "b": 6}
    assert room(a=4, b=8).without(8).free == {"a": 4, "b": 0}
    assert room(a=4, b=4).without(8).free == {"a": 4, "b": 4}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (room(a=4, b=1), "8 GPUs on one node wanted, at most 4 are free on one (of 2 nodes)"),
        (room(a=1), "8 GPUs on one node wanted, at most 1 is free on one (of 1 node)"),
        (room(), "8 GPUs on one node wanted, no node of h100 is in the cluster"),
        (
            Room("h100", 8, {"a": 0}, {"a": "is cordoned"}, is_seen=True),
            "8 GPUs on one node wanted, a is cordoned",
        ),
    ],
)
def test_a_shortage_says_what_there_is(where: Room, said: str) -> None:
    assert where.shortage(8) == said


def test_a_type_without_gpus_needs_no_room() -> None:
    assert Room("cpu-x86", 0, is_seen=True).fits(0)
