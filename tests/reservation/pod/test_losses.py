"""An active pod that is lost, or in trouble: each cause in its own words, and none is believed too early."""

from collections.abc import Callable, Iterator

import pytest

from worlds.fleet import Connection, assert_sound, move_clock
from worlds.pods import NEVER_S, Outside, outside
from worlds.reservations import letters, status_of

LONG = 700.0  # past the first minutes


@pytest.fixture
def here(dsn: str, conn: Connection) -> Iterator[Outside]:
    with outside(dsn, conn, "h100:1x8") as cluster:
        yield cluster


def lost(here: Outside, row_id: str) -> str:
    """The reason that it ends with: after a second look."""
    assert here.watched(row_id)["status"] == "active", "one look may be wrong"
    row = here.watched(row_id, 11)
    assert row["status"] == "expired"
    assert_sound(here.conn)
    assert letters(here.conn) == []
    return str(row["status_reason"])


PREEMPTED = "default-scheduler: preempting to accommodate a higher priority pod"
MEMORY = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi."
TAINT = "Taint manager: deleting due to NoExecute taint"
CAUSES: list[tuple[str, Callable[[Outside, str], None], str]] = [
    (
        "preempted",
        lambda here, row_id: here.taken(row_id, "PreemptionByScheduler", PREEMPTED),
        f"POD_LOST: PREEMPTED: a pod of higher priority took its place: {PREEMPTED}",
    ),
    (
        "evicted",
        lambda here, row_id: here.ends(row_id, 137, reason="Evicted", message=MEMORY),
        f"POD_LOST: EVICTED: its pod was evicted: {MEMORY}",
    ),
    (
        "drained",
        lambda here, row_id: here.taken(row_id, "EvictionByEvictionAPI", "Eviction API: evicting"),
        "POD_LOST: EVICTED: its pod was evicted: Eviction API: evicting",
    ),
    (
        "shut down",
        lambda here, row_id: here.ends(row_id, 137, reason="Terminated", message="imminent node shutdown"),
        "POD_LOST: NODE_SHUTDOWN: its node h100-1 shuts down: imminent node shutdown",
    ),
    (
        "tainted",
        lambda here, row_id: here.taken(row_id, "DeletionByTaintManager", TAINT),
        f"POD_LOST: TAINTED: its node h100-1 was emptied by a taint: {TAINT}",
    ),
    (
        "refused by its kubelet after a restart",
        lambda here, row_id: here.status(
            row_id, phase="Failed", reason="UnexpectedAdmissionError", message="no device"
        ),
        "POD_LOST: ENDED: its node h100-1 ended it: UnexpectedAdmissionError: no device",
    ),
    (
        "ended",
        lambda here, row_id: here.ends(row_id, 0),
        "POD_LOST: ENDED: its command ended with exit code 0 (Completed)",
    ),
    (
        "failed",
        lambda here, row_id: here.ends(row_id, 3),
        "POD_LOST: ENDED: its command ended with exit code 3 (Error)",
    ),
]


@pytest.mark.parametrize(("happens", "reason"), [each[1:] for each in CAUSES], ids=[each[0] for each in CAUSES])
def test_what_the_cluster_says_is_believed_from_the_first_minute(
    here: Outside, happens: Callable[[Outside, str], None], reason: str
) -> None:
    row_id = here.active()
    happens(here, row_id)

    assert here.watched(row_id)["current_detailed_status"] == reason.replace("POD_LOST", "Its pod is lost")
    move_clock(here.conn, 11)
    here.worker.run()

    row = here.row(row_id)
    assert row["status"] == "expired"
    assert row["status_reason"] == reason
    assert row["failure_reason"].startswith(row["status_reason"])
    assert_sound(here.conn)


def test_a_loss_that_is_seen_out_of_turn_is_looked_at_again_as_soon(here: Outside, conn: Connection) -> None:
    row_id = here.active()
    here.ends(row_id, 137, reason="Evicted", message=MEMORY)
    conn.execute("select public.nudge_reservations(array[%s])", (row_id,))
    here.look(row_id, "Its pod is lost: EVICTED")

    move_clock(conn, 11)
    here.worker.run()

    assert here.row(row_id)["status"] == "expired"


def test_a_silent_node_is_told_at_once_and_well_again_when_it_comes_back(here: Outside, conn: Connection) -> None:
    row_id = here.active()
    here.watched(row_id, LONG)
    node = here.node_of(row_id)
    here.silent(row_id)

    shown = here.watched(row_id)["current_detailed_status"]
    here.watched(row_id, 120)
    assert status_of(conn, row_id) == "active"
    here.node_says(node, "True", "KubeletReady")
    here.answers(row_id)
    row = here.watched(row_id, 11)

    assert shown.startswith(f"NODE_SILENT: its node {node} does not answer since ")
    assert shown.endswith("NodeStatusUnknown: Kubelet stopped posting node status.")
    assert row["status"] == "active"
    assert row["current_detailed_status"] == "Ready"
    assert row["pod_lost"] is None


def test_a_node_that_answers_and_is_not_ready_is_called_so(here: Outside) -> None:
    row_id = here.active()
    here.silent(row_id)
    here.node_says(here.node_of(row_id), "False", "KubeletNotReady", "container runtime is down")

    shown = here.watched(row_id)["current_detailed_status"]

    assert shown.startswith("NODE_NOT_READY: its node h100-1 is not ready since ")
    assert shown.endswith("KubeletNotReady: container runtime is down")


def test_a_node_that_stays_silent_loses_its_pod(here: Outside) -> None:
    row_id = here.active()
    here.watched(row_id, LONG)
    here.silent(row_id)
    here.watched(row_id)

    for _ in range(4):
        here.watched(row_id)

    assert here.row(row_id)["status"] == "active"
    assert here.watched(row_id)["status"] == "active", "one look may be wrong"
    row = here.watched(row_id, 11)
    assert row["status"] == "expired"
    assert row["status_reason"].startswith(f"POD_LOST: NODE_SILENT: its node {row['pod_node']} does not answer since")


def test_a_silent_node_is_no_loss_in_the_first_minutes_until_the_cluster_says_so(here: Outside) -> None:
    row_id = here.active()
    here.silent(row_id)
    for _ in range(8):
        assert here.watched(row_id)["status"] == "active"

    here.taken(row_id, "DeletionByTaintManager", TAINT)

    here.watched(row_id, 11)
    row = here.watched(row_id, 11)
    assert row["status"] == "expired"
    assert row["status_reason"] == f"POD_LOST: NODE_LOST: its node {row['pod_node']} does not answer: {TAINT}"


def test_a_pod_that_went_with_its_node_says_so(here: Outside) -> None:
    row_id = here.active()
    here.watched(row_id, 1)
    node = here.node_of(row_id)
    here.api.delete_node(node)
    here.worker.run_until(lambda: not here.pods(row_id))

    assert lost(here, row_id) == f"POD_LOST: NODE_DELETED: its node {node} was deleted"


def test_why_a_pod_was_deleted_is_known_when_it_is_gone(here: Outside) -> None:
    row_id = here.active()
    here.taken(row_id, "PreemptionByScheduler", PREEMPTED)
    here.watched(row_id)
    here.api.patch_namespaced_pod(here.pod(row_id).metadata.name, "gpu-dev", {"metadata": {"finalizers": None}})
    here.worker.run_until(lambda: not here.pods(row_id))

    row = here.watched(row_id, 11)

    assert row["status"] == "expired"
    assert row["status_reason"].startswith("POD_LOST: PREEMPTED")


def test_a_pod_that_is_deleted_by_hand_is_told_and_given_up_after_the_first_minutes(dsn: str, conn: Connection) -> None:
    with outside(dsn, conn, ending_s=NEVER_S) as here:
        row_id = here.active()
        here.deleted(row_id)
        young = here.watched(row_id)
        assert young["status"] == "active"
        assert young["current_detailed_status"] == "Its pod is lost: DELETED: somebody deletes its pod"

        move_clock(conn, LONG)

        assert lost(here, row_id) == "POD_LOST: DELETED: somebody deletes its pod"


def test_a_deleted_pod_whose_container_has_stopped_is_over(here: Outside) -> None:
    row_id = here.active()
    here.deleted(row_id)
    here.ends(row_id, 137)

    assert lost(here, row_id) == "POD_LOST: STOPPED: somebody deleted its pod"


def test_ssh_that_does_not_answer_is_told_and_ends_nothing(here: Outside, conn: Connection) -> None:
    row_id = here.active()
    here.watched(row_id, LONG)
    here.runs(row_id, ready=False)

    for _ in range(10):
        row = here.watched(row_id)

    assert row["status"] == "active"
    assert row["current_detailed_status"] == "SSH does not answer: its pod runs, and is not ready"
    here.runs(row_id)
    assert here.watched(row_id, 11)["current_detailed_status"] == "Ready"


def test_a_container_that_crashes_is_told_and_ends_nothing(here: Outside) -> None:
    row_id = here.active()
    here.crashes(row_id, 7, code=139)

    row = here.watched(row_id)

    assert row["status"] == "active"
    assert row["current_detailed_status"].startswith("CRASHING: its container crashed: exit code 139 (Error)")


def test_what_others_show_in_a_row_that_is_well_is_left_alone(here: Outside, conn: Connection) -> None:
    row_id = here.active()
    here.watched(row_id)
    conn.execute("update public.reservations set current_detailed_status = 'Jupyter is starting'")

    assert here.watched(row_id)["current_detailed_status"] == "Jupyter is starting"


def test_times_of_a_kubelet_mean_nothing(here: Outside) -> None:
    row_id = here.active()
    here.status(row_id, startTime="2020-01-01T00:00:00Z")

    assert here.watched(row_id)["status"] == "active"
