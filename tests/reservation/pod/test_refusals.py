"""A node that gives a pod back before it ran: another one is tried, so many times an hour, and it is told."""

from collections.abc import Iterator

import pytest
from psycopg.types.json import Jsonb

from pgfleet.schema.doctor.findings import LIMITS, Finding
from pgfleet.schema.doctor.nodes import nodes
from worlds.fleet import Connection, assert_sound, history_of, move_clock
from worlds.pods import NAMESPACE, Outside, outside
from worlds.reservations import ended, letters, reach, status_of


@pytest.fixture
def here(dsn: str, conn: Connection) -> Iterator[Outside]:
    with outside(dsn, conn) as cluster:
        yield cluster


def refuses(here: Outside, row_id: str, reason: str, message: str) -> str:
    """The node that does; the next pod is on another one, or on none."""
    name, uid, node = here.pod(row_id).metadata.name, here.pod(row_id).metadata.uid, here.node_of(row_id)
    status = {"phase": "Failed", "reason": reason, "message": message, "containerStatuses": None, "conditions": None}
    here.api.patch_namespaced_pod_status(name, NAMESPACE, {"status": status})
    here.worker.run_until(
        lambda: (
            status_of(here.conn, row_id) != "preparing"
            or any(pod.metadata.uid != uid and pod.status.conditions for pod in here.pods(row_id))
        )
    )
    return node


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("UnexpectedAdmissionError", "Allocate failed due to no healthy devices present; cannot allocate unhealthy"),
        ("OutOfcpu", "Node didn't have enough resource: cpu, requested: 4000, used: 1000, capacity: 4000"),
        ("OutOfnvidia.com/gpu", "Node didn't have enough resource: nvidia.com/gpu, requested: 2, used: 7, capacity: 8"),
        ("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"),
        ("NodeShutdown", "Pod was rejected as the node is shutting down."),
        ("Evicted", "The node had condition: [DiskPressure]."),
        ("SomethingNew", "of a kubelet that we don't know"),
    ],
)
def test_another_node_is_tried_at_once_and_it_is_told(
    here: Outside, conn: Connection, reason: str, message: str
) -> None:
    row_id = here.placed()
    node = refuses(here, row_id, reason, message)

    shown = here.look(row_id, "refused it")

    assert f"1 node refused it, last {reason}: {message}" in shown
    assert here.node_of(row_id) != node
    assert here.row(row_id)["refusals"][0]["node"] == node
    here.runs(row_id)
    reach(conn, here.worker, row_id, "active")
    assert letters(conn) == []
    assert_sound(conn)


def test_a_container_that_never_ran_is_refused_too_whatever_its_status_says(here: Outside, conn: Connection) -> None:
    """A kubelet calls what it can't find terminated, with an exit code."""
    row_id = here.placed()
    lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The container could not be located"}
    here.container(row_id, {"terminated": lost}, phase="Failed", reason="UnexpectedAdmissionError")

    here.look(row_id, "refused it")

    assert status_of(conn, row_id) == "preparing"


@pytest.mark.parametrize("reason", ["UnexpectedAdmissionError", "NodeAffinity", "OutOfcpu"])
def test_a_kubelet_that_refuses_after_its_restart_what_it_ran_is_no_end_of_a_command(
    here: Outside, reason: str
) -> None:
    row_id = here.placed()
    here.runs(row_id, ready=False)
    here.look(row_id, "waiting for SSH")
    here.status(row_id, phase="Failed", reason=reason, message="Pod was rejected: no device")

    shown = here.look(row_id, "refused it")

    assert f"{reason}: Pod was rejected: no device" in shown
    assert here.row(row_id)["status"] == "preparing"


def test_where_no_other_node_is_left_it_waits_in_line_and_not_for_ever(dsn: str, conn: Connection) -> None:
    with outside(dsn, conn, "h100:1x8") as here:
        row_id = here.placed()
        refuses(here, row_id, "OutOfcpu", "Node didn't have enough resource: cpu")
        here.look(row_id, "No node yet")

        move_clock(conn, 31)
        reach(conn, here.worker, row_id, "queued")
        move_clock(conn, 601)
        here.worker.run_until(lambda: here.pods(row_id) and here.node_of(row_id) == "h100-1")

        assert ("preparing", "queued") in history_of(conn, row_id)


def test_five_refusals_in_an_hour_fail_it_with_the_real_reason(dsn: str, conn: Connection) -> None:
    with outside(dsn, conn, "h100:5x8") as here:
        row_id = here.placed()
        nodes = [refuses(here, row_id, "UnexpectedAdmissionError", "no healthy devices present") for _ in range(5)]

        row = ended(conn, here.worker, row_id)

        assert len(set(nodes)) == 5
        reason = "5 nodes refused its pod: UnexpectedAdmissionError: no healthy devices present"
        assert row["failure_reason"] == reason
        assert_sound(conn)


def test_a_refused_pod_that_is_seen_again_before_it_is_gone_is_counted_once(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    uid = here.pod(row_id).metadata.uid
    before = [{"node": here.node_of(row_id), "pod": uid, "at": "2999-01-01T00:00:00+00:00", "why": "OutOfcpu"}]
    conn.execute("update public.reservations set refusals = %s where reservation_id = %s", (Jsonb(before), row_id))

    refuses(here, row_id, "OutOfcpu", "not enough cpu")

    assert here.row(row_id)["refusals"] == before


def refusing(conn: Connection) -> list[Finding]:
    """Of what the doctor says of nodes, but for who looks at them: no process runs here."""
    return [found for found in nodes(conn, LIMITS) if found.kind != "no_look"]


def test_the_doctor_says_which_node_refuses_pods(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    node = refuses(here, row_id, "UnexpectedAdmissionError", "no healthy devices present")

    (found,) = refusing(conn)

    why = "UnexpectedAdmissionError: no healthy devices present"
    assert found.text == f"{node} refused pods once in the last hour, last {why}"
    assert f"kubectl cordon {node}" in str(found.remedy)
    move_clock(conn, 3601)
    assert refusing(conn) == []


def test_back_in_line_it_says_which_nodes_refused_it(dsn: str, conn: Connection) -> None:
    with outside(dsn, conn, "h100:1x8") as here:
        row_id = here.placed()
        refuses(here, row_id, "OutOfcpu", "Node didn't have enough resource: cpu")
        here.look(row_id, "No node yet")
        move_clock(conn, 31)

        row = reach(conn, here.worker, row_id, "queued")

        assert "1 node refused it, last OutOfcpu" in row["current_detailed_status"]


def test_refusals_of_more_than_an_hour_ago_do_not_count(dsn: str, conn: Connection) -> None:
    long_ago = [{"node": f"old-{number}", "at": "2026-01-01T00:00:00+00:00", "why": "?"} for number in "1234"]
    with outside(dsn, conn) as here:
        row_id = here.placed()
        conn.execute(
            "update public.reservations set refusals = %s where reservation_id = %s",
            (Jsonb(long_ago), row_id),
        )

        refuses(here, row_id, "OutOfcpu", "not enough cpu")

        assert "1 node refused it" in here.look(row_id, "refused it")
