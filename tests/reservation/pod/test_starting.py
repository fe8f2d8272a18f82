"""A pod that does not answer yet: what is told of it, how long it may take, and why it is given up."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from worlds.fleet import Connection, assert_sound, history_of, move_clock
from worlds.pods import NAMESPACE, Outside, condition, outside
from worlds.pods import ended as terminated
from worlds.reservations import ended, letters, reach, status_of

THROTTLED = (
    'Back-off pulling image "acme/train:1": ErrImagePull: failed to pull and unpack image "acme/train:1": '
    "unexpected status from HEAD request to https://registry/v2/acme/train/manifests/1: 429 Too Many Requests"
)
UNKNOWN = (
    'Back-off pulling image "acme/train:1": ErrImagePull: rpc error: code = NotFound desc = failed to pull and '
    'unpack image "acme/train:1": failed to resolve reference "acme/train:1": acme/train:1: not found'
)


@pytest.fixture
def here(dsn: str, conn: Connection) -> Iterator[Outside]:
    with outside(dsn, conn) as cluster:
        yield cluster


def test_a_throttled_registry_is_waited_for_and_told(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.waits(row_id, "ImagePullBackOff", THROTTLED)
    here.look(row_id, "ImagePullBackOff")

    move_clock(conn, 12 * 60 + 5)
    shown = here.look(row_id, "12 min so far")

    assert shown.startswith("Pulling its image: 12 min so far; ImagePullBackOff")
    assert "429 Too Many Requests" in shown
    here.runs(row_id)
    reach(conn, here.worker, row_id, "active")
    assert letters(conn) == []


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", "received unexpected HTTP status: 503 Service Unavailable"),
        ("ErrImagePull", 'failed to do request: Head "https://registry/v2/a": dial tcp: i/o timeout'),
        ("ImagePullBackOff", 'Back-off pulling image "acme/train:1"'),
        ("CreateContainerError", "context deadline exceeded"),
        ("CreateContainerConfigError", 'configmap "x" not found'),
        ("RunContainerError", "device busy"),
        ("SomethingNew", "of a kubelet that we don't know"),
    ],
)
def test_what_may_heal_is_given_time(here: Outside, conn: Connection, reason: str, message: str) -> None:
    row_id = here.placed()
    here.waits(row_id, reason, message)
    here.look(row_id, reason)

    move_clock(conn, 120)
    here.worker.run()
    here.runs(row_id)

    assert reach(conn, here.worker, row_id, "active")["failure_reason"] is None


@pytest.mark.parametrize(
    ("reason", "message", "limit_s"),
    [
        ("ImagePullBackOff", UNKNOWN, 300),
        ("ErrImagePull", "manifest unknown", 300),
        ("ErrImagePull", "unexpected status from HEAD request to https://ghcr.io/v2/acme: 403 Forbidden", 300),
        ("ErrImagePull", "pull access denied, repository does not exist or may require authorization", 300),
        ("ImagePullBackOff", THROTTLED, 1800),
        ("CreateContainerError", "context deadline exceeded", 300),
        ("ContainerCreating", "", 1800),
    ],
)
def test_what_does_not_heal_in_its_time_fails_with_its_words(
    here: Outside, conn: Connection, reason: str, message: str, limit_s: float
) -> None:
    row_id = here.placed()
    here.waits(row_id, reason, message)
    here.worker.run_until(lambda: here.row(row_id)["pod_placed_at"] is not None)
    if message:
        here.look(row_id, reason)

    move_clock(conn, limit_s - 60)
    here.worker.run()
    assert status_of(conn, row_id) == "preparing"
    move_clock(conn, 61)
    row = ended(conn, here.worker, row_id)

    assert row["status"] == "failed"
    assert (message or "its container was not made within 30 minutes") in row["failure_reason"]
    assert_sound(conn)


def test_a_back_off_that_leaves_out_why_is_still_what_it_was(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.waits(row_id, "ErrImagePull", "manifest unknown")
    here.look(row_id, "manifest unknown")
    here.waits(row_id, "ImagePullBackOff", 'Back-off pulling image "acme/train:1"')
    here.look(row_id, "ImagePullBackOff")

    move_clock(conn, 301)

    assert ended(conn, here.worker, row_id)["status"] == "failed"


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_what_never_heals_fails_at_once(here: Outside, conn: Connection, reason: str) -> None:
    row_id = here.placed()
    here.waits(row_id, reason, "couldn't parse image name")

    row = ended(conn, here.worker, row_id)

    assert row["failure_reason"] == f"the pod can't start: {reason}: couldn't parse image name"


def test_pulling_takes_no_time_from_ssh_and_a_kubelets_clock_is_nothing(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.status(row_id, startTime="2020-01-01T00:00:00Z")
    here.pulls(row_id)
    here.look(row_id, "Pulling its image")
    move_clock(conn, 25 * 60)
    here.look(row_id, "Pulling its image: 25 min so far")

    here.runs(row_id, ready=False)
    here.look(row_id, "waiting for SSH")
    move_clock(conn, 9 * 60)
    here.look(row_id, "9 min so far")

    assert status_of(conn, row_id) == "preparing"
    move_clock(conn, 61)
    assert ended(conn, here.worker, row_id)["failure_reason"] == "SSH did not answer within 10 minutes"


MOUNT = 'MountVolume.SetUp failed for volume "ssh-keys" : configmap "x-keys" not found'
ATTACH = 'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node'


@pytest.mark.parametrize(("reason", "message"), [("FailedMount", MOUNT), ("FailedAttachVolume", ATTACH)])
def test_what_can_t_be_mounted_is_told_and_is_no_pull(
    here: Outside, conn: Connection, reason: str, message: str
) -> None:
    row_id = here.placed()
    shown = here.look(row_id, "its container is being made")
    here.says(row_id, reason, message)
    trouble = here.look(row_id, message)
    move_clock(conn, 1500)
    here.worker.run()
    in_time = status_of(conn, row_id)

    move_clock(conn, 301)
    row = ended(conn, here.worker, row_id)

    assert "Pulling" not in shown + trouble
    assert trouble.endswith(f"{reason}: {message}")
    assert in_time == "preparing"
    assert row["failure_reason"] == f"its container was not made within 30 minutes: {reason}: {message}"


def test_an_image_is_said_to_be_pulled_when_what_comes_before_is_there(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.says(row_id, "FailedMount", MOUNT)
    here.look(row_id, "FailedMount")

    here.pulls(row_id)
    shown = here.look(row_id, "Pulling its image")
    move_clock(conn, 1801)

    assert "FailedMount" not in shown
    assert ended(conn, here.worker, row_id)["failure_reason"] == "its image was not pulled within 30 minutes"


def test_keys_and_service_that_somebody_deletes_before_the_container_is_made_are_made_again(
    here: Outside, conn: Connection
) -> None:
    row_id = here.placed()
    here.look(row_id, "its container is being made")
    pod = here.pod(row_id).metadata
    here.api.delete_namespaced_config_map(f"{pod.name}-keys", NAMESPACE)
    here.says(row_id, "FailedMount", MOUNT)

    move_clock(conn, 11)
    here.worker.run_until(lambda: here.worker.running.tools.pods.has_keys(pod.name, pod.uid))

    here.runs(row_id)
    reach(conn, here.worker, row_id, "active")


def test_a_crash_or_two_is_told_and_given_time(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.crashes(row_id, 2)

    shown = here.look(row_id, "CRASHING")

    assert shown == "CRASHING: its container crashed 2 times: exit code 3 (Error); it is started again"
    here.runs(row_id)
    reach(conn, here.worker, row_id, "active")


def test_five_crashes_fail_it_with_exit_code_and_reason(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.crashes(row_id, 5, code=127)

    row = ended(conn, here.worker, row_id)

    assert row["failure_reason"].startswith("its container crashed 5 times: exit code 127 (Error)")


def has_counted(here: Outside, row_id: str, times: int) -> bool:
    counted: int = here.row(row_id)["oom_count"]
    return counted == times


def test_a_container_that_is_killed_for_its_memory_before_it_answers_is_counted_too(
    here: Outside, conn: Connection
) -> None:
    row_id = here.placed()
    kills = [f"2026-01-01T00:0{minute}:00Z" for minute in range(5)]
    for times, at in enumerate(kills, 1):
        last = {"terminated": terminated(137, reason="OOMKilled", finishedAt=at)}
        waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        here.container(row_id, waits, phase="Running", last=last, restarts=times - 1)
        here.worker.run_until(partial(has_counted, here, row_id, times))

    row = reach(conn, here.worker, row_id, "failed")

    assert row["failure_reason"].startswith("its container crashed 5 times: exit code 137 (OOMKilled)")
    assert (row["oom_count"], row["oom_container"]) == (5, "gpu-dev")


def test_crashing_for_five_minutes_fails_it(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.crashes(row_id, 1)
    here.look(row_id, "CRASHING")

    move_clock(conn, 301)

    assert "crashed once: exit code 3" in ended(conn, here.worker, row_id)["failure_reason"]


@pytest.mark.parametrize(("code", "words"), [(0, "exit code 0 (Completed)"), (9, "exit code 9 (Error)")])
def test_a_command_that_is_over_before_ssh_answers_fails_it_at_once(
    here: Outside, conn: Connection, code: int, words: str
) -> None:
    row_id = here.placed()
    here.wrote(row_id, "done\n")
    here.ends(row_id, code)

    row = ended(conn, here.worker, row_id)

    said = f"its command ended with {words} before SSH answered; the last it wrote: done"
    assert row["failure_reason"] == said


def test_a_gated_pod_waits_with_the_names_of_its_gates_and_goes_back_to_the_line(dsn: str, conn: Connection) -> None:
    with outside(dsn, conn, "cpu-x86:1x0") as here:
        row_id = here.preparing()
        gated = {"spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}}
        here.api.patch_namespaced_pod(here.pod(row_id).metadata.name, "gpu-dev", gated)

        shown = here.look(row_id, "SCHEDULING_GATED")
        assert "kueue.x-k8s.io/admission" in shown
        move_clock(conn, 1800)
        here.look(row_id, "30 min so far")
        assert here.row(row_id)["gpus_held"] == 2
        move_clock(conn, 1801)
        reach(conn, here.worker, row_id, "queued")

        assert here.row(row_id)["gpus_held"] == 0


def test_a_pod_that_no_scheduler_looks_at_waits_and_says_so(dsn: str, conn: Connection) -> None:
    with outside(dsn, conn, "cpu-x86:1x0") as here:
        row_id = here.preparing()
        until_told = here.look(row_id, "No node yet")
        assert "available" in until_told
        here.status(row_id, conditions=[])
        here.look(row_id, "waiting for a node")

        move_clock(conn, 11)
        shown = here.look(row_id, "NO_SCHEDULER")
        move_clock(conn, 1800)
        here.worker.run()

        assert shown == "NO_SCHEDULER: no scheduler has looked at it (default-scheduler)"
        assert status_of(conn, row_id) == "preparing"


def test_no_event_is_needed_to_know_that_no_node_fits(dsn: str, conn: Connection) -> None:
    with outside(dsn, conn, "cpu-x86:1x0") as here:
        here.box.fault("/events", status=403, times=1000)
        row_id = here.preparing()
        here.look(row_id, "No node yet")

        move_clock(conn, 31)
        reach(conn, here.worker, row_id, "queued")

        assert ("preparing", "queued") in history_of(conn, row_id)


def test_a_node_that_does_not_answer_is_told_while_its_pod_starts(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.pulls(row_id)
    here.look(row_id, "Pulling its image")
    node, silent = here.pod(row_id).spec.node_name, "Kubelet stopped posting node status."
    here.node_says(node, "Unknown", "NodeStatusUnknown", silent)

    move_clock(conn, 31)

    shown = here.look(row_id, "NODE_SILENT")
    assert (
        shown
        == f"NODE_SILENT: its node {node} does not answer: NodeStatusUnknown: Kubelet stopped posting node status."
    )


def falls_silent(here: Outside, row_id: str) -> None:
    here.node_says(here.node_of(row_id), "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")


def is_not_ready(here: Outside, row_id: str) -> None:
    here.node_says(here.node_of(row_id), "False", "KubeletNotReady", "container runtime is down")


def is_deleted(here: Outside, row_id: str) -> None:
    here.api.delete_node(here.node_of(row_id))


@pytest.mark.parametrize("runs", [False, True], ids=["pulling", "running"])
@pytest.mark.parametrize(
    ("goes", "code"),
    [(falls_silent, "NODE_SILENT"), (is_not_ready, "NODE_NOT_READY"), (is_deleted, "NODE_DELETED")],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_node_that_goes_while_its_pod_starts_sends_it_back_to_the_line(
    here: Outside,
    conn: Connection,
    goes: Callable[[Outside, str], None],
    code: str,
    runs: bool,  # noqa: FBT001
) -> None:
    row_id = here.placed()
    if runs:
        here.runs(row_id, ready=False)
    here.look(row_id, "waiting for SSH" if runs else "On its node")
    goes(here, row_id)
    move_clock(conn, 31)
    here.look(row_id, code)

    move_clock(conn, 301)
    here.worker.run_until(lambda: status_of(conn, row_id) == "queued")

    assert here.shown(row_id).startswith(f"{code}: ")
    assert here.row(row_id)["gpus_held"] == 0
    assert letters(conn) == []
    assert_sound(conn)


def test_a_node_that_is_back_in_time_keeps_the_pod_that_starts_on_it(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    uid = here.pod(row_id).metadata.uid
    here.pulls(row_id)
    here.look(row_id, "Pulling its image")
    falls_silent(here, row_id)
    move_clock(conn, 31)
    here.look(row_id, "NODE_SILENT")

    here.node_says(here.node_of(row_id), "True", "KubeletReady")
    move_clock(conn, 301)
    here.pulls(row_id)
    here.look(row_id, "Pulling its image")

    assert here.pod(row_id).metadata.uid == uid


def test_a_pod_that_never_goes_from_a_silent_node_fails_nobody_and_is_followed_by_another(
    here: Outside, conn: Connection
) -> None:
    row_id = here.placed()
    falls_silent(here, row_id)
    here.taken(row_id, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
    for _ in range(8):
        move_clock(conn, 900)
        here.worker.run_once()
    during = here.row(row_id)

    name = here.pod(row_id).metadata.name
    here.api.patch_namespaced_pod(name, "gpu-dev", {"metadata": {"finalizers": None}})
    reach(conn, here.worker, row_id, "queued")
    move_clock(conn, 901)
    reach(conn, here.worker, row_id, "preparing")

    assert (during["status"], during["gpus_held"]) == ("preparing", 2)
    assert "its pod was taken away" in during["current_detailed_status"]
    assert letters(conn) == []


def test_a_pod_that_is_taken_away_while_it_starts_is_made_anew(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.ends(row_id, 137, reason="Preempted")
    here.status(row_id, conditions=[condition("DisruptionTarget", True, reason="PreemptionByScheduler")])

    here.look(row_id, "refused it")
    here.worker.run_until(lambda: here.pods(row_id) and here.pod(row_id).status.phase == "Pending")

    assert status_of(conn, row_id) == "preparing"
