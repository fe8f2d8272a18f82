"""The SSH keys of a pod's users: a file in the pod, from a config map that goes with it."""

import base64
from typing import Any

import pytest
from kubernetes import client

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.environment.fleet import pod_name
from pgfleet.workers.clients.kubernetes.pods import Pods
from pgfleet.workers.clients.ssh_keys import SshKeys
from pgfleet.workers.runtime.outcomes import TryAgainError
from worlds.fleet import Connection, Worker, move_clock, new_id, row_of, send
from worlds.reservations import QUEUE, active, ask, create, ended, letters, reach

RSA_BYTES = 535  # of a public key of 4096 bits


def rsa(user: str, number: int) -> str:
    blob = f"{user}/{number}/".encode().ljust(RSA_BYTES, b"x")
    return f"ssh-rsa {base64.b64encode(blob).decode()}"


def each_has(monkeypatch: pytest.MonkeyPatch, keys: int) -> None:
    monkeypatch.setattr(SshKeys, "of", lambda _, user: [rsa(user, number) for number in range(keys)])


def core(worker: Worker) -> Any:
    return worker.running.tools.pods.api


def keys_of(worker: Worker, row: dict[str, Any]) -> list[str]:
    found = core(worker).read_namespaced_config_map(f"{row['pod_name']}-keys", "gpu-dev")
    lines: list[str] = found.data["authorized_keys"].splitlines()
    return lines


def things(box: Box) -> dict[str, int]:
    return {kind: box.state()["objects"][kind] for kind in ("pods", "services", "configmaps")}


def test_the_keys_of_all_users_are_in_the_file(conn: Connection, worker: Worker) -> None:
    row = row_of(conn, active(conn, worker, secondary_users=["bob", "ada"]))

    tools = worker.running.tools
    assert keys_of(worker, row) == [*tools.ssh_keys.of("ada"), *tools.ssh_keys.of("bob")]


def test_a_server_that_is_slow_for_many_users_holds_no_step_for_long(
    conn: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def of(_: SshKeys, user: str) -> list[str]:
        asked.append(user)
        return [rsa(user, 1)]

    monkeypatch.setattr(SshKeys, "of", of)
    monkeypatch.setattr("pgfleet.workers.reservation.keys.FETCHED_WITHIN_S", -1.0)
    row_id = create(conn, secondary_users=["bob", "eve"])

    worker.run_until(lambda: row_of(conn, row_id)["status"] == "failed")

    assert set(asked) == {"ada"}
    assert row_of(conn, row_id)["failure_reason"] == (
        "the server of SSH keys is too slow for 3 users: name fewer users"
    )


def test_whom_no_key_lets_in_is_told_even_if_the_maker_of_the_pod_was_too_late_to(
    conn: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgfleet.workers.reservation.making.warning_of", lambda *_: {})

    row = row_of(conn, active(conn, worker, secondary_users=["bob", "nokeys-eve"]))

    assert row["warning"] == "no SSH key of nokeys-eve is on GitHub: they can't log in"


def test_another_user_whose_keys_are_not_shown_keeps_nobody_out(
    conn: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(_: SshKeys, user: str) -> list[str]:
        if user == "eve":
            raise TryAgainError("SSH keys of eve: answered 451")
        return [rsa(user, 1)]

    monkeypatch.setattr(SshKeys, "of", of)

    row = row_of(conn, active(conn, worker, secondary_users=["eve"]))

    assert row["warning"] == "no SSH key of eve is on GitHub: they can't log in"


def test_three_hundred_rsa_keys_are_no_trouble(
    conn: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_has(monkeypatch, 100)

    row = row_of(conn, active(conn, worker, secondary_users=["bob", "eve"]))

    (pod,) = core(worker).list_namespaced_pod("gpu-dev").items
    assert len(keys_of(worker, row)) == 300
    assert sum(len(each.value or "") for each in pod.spec.containers[0].env) < 1000


def test_more_keys_than_a_file_can_hold_are_refused_in_words(
    conn: Connection, worker: Worker, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_has(monkeypatch, 100)

    row = ended(conn, worker, create(conn, secondary_users=[f"user-{number}" for number in range(20)]))

    assert row["status"] == "failed"
    assert row["failure_reason"].startswith("the 2100 SSH keys of ada, user-0, user-1")
    assert "a pod can be given 1,000,000: name fewer users" in row["failure_reason"]
    assert box.state()["created_pods"] == 0
    assert letters(conn) == []


@pytest.mark.parametrize("gone", ["keys", "service", "both"])
def test_a_pod_that_is_found_alone_gets_what_goes_with_it(
    conn: Connection, worker: Worker, box: Box, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """As after a worker that died when it had made the pod, or the pod and its keys."""
    if gone != "service":
        monkeypatch.setattr(Pods, "create_keys", died)
    monkeypatch.setattr(Pods, "create_service", died)
    row_id = create(conn)
    worker.run_until(lambda: box.state()["objects"]["pods"] == 1)
    monkeypatch.undo()
    assert row_of(conn, row_id)["node_port"] is None

    conn.execute("update pgmq.q_gpu_reservations set vt = now()")
    row = reach(conn, worker, row_id, "active")

    (service,) = core(worker).list_namespaced_service("gpu-dev").items
    assert row["node_port"] == service.spec.ports[0].node_port
    assert keys_of(worker, row)
    assert things(box) == {"pods": 1, "services": 1, "configmaps": 1}
    assert box.state()["created_pods"] == 1


def test_a_second_pod_that_is_found_alone_gets_its_keys_too(
    conn: Connection, worker: Worker, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row has the port of the first."""
    monkeypatch.setattr(Pods, "create_keys", died)
    row_id = create(conn)
    worker.run_until(lambda: box.state()["objects"]["pods"] == 1)
    monkeypatch.undo()
    conn.execute("update public.reservations set node_port = 31000 where reservation_id = %s", (row_id,))

    conn.execute("update pgmq.q_gpu_reservations set vt = now()")
    row = reach(conn, worker, row_id, "active")

    assert keys_of(worker, row)
    assert row["node_port"] == 31000, "the port that people know"


def died(*_: Any) -> None:
    raise ConnectionAbortedError("the worker died here")


def test_keys_go_with_their_pod(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    assert things(box) == {"pods": 1, "services": 1, "configmaps": 1}

    ask(conn, "cancel", row_id)
    ended(conn, worker, row_id)

    assert things(box) == {"pods": 0, "services": 0, "configmaps": 0}


def test_keys_that_nobody_owns_are_torn_down_too(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    name = row_of(conn, row_id)["pod_name"]
    left = client.V1ConfigMap.model_validate(
        {
            "metadata": {
                "name": f"{name}-left",
                "labels": {"reservation": name},
                "annotations": {"pgfleet/reservation-id": row_id},
            }
        }
    )
    core(worker).create_namespaced_config_map("gpu-dev", left)

    ask(conn, "cancel", row_id)
    ended(conn, worker, row_id)

    assert things(box) == {"pods": 0, "services": 0, "configmaps": 0}


def test_keys_of_another_pod_are_not_taken_for_its_own(conn: Connection, worker: Worker) -> None:
    active(conn, worker)
    (other,) = worker.running.tools.pods.managed()
    row_id = new_id()
    owner = {"apiVersion": "v1", "kind": "Pod", "name": other.name, "uid": other.uid}
    metadata = {"name": f"{pod_name(row_id)}-keys", "ownerReferences": [owner]}
    left = client.V1ConfigMap.model_validate({"metadata": metadata, "data": {"authorized_keys": "ssh-rsa OLD\n"}})
    core(worker).create_namespaced_config_map("gpu-dev", left)

    create(conn, reservation_id=row_id)
    worker.run()
    move_clock(conn, 6)
    row = reach(conn, worker, row_id, "active")

    assert "ssh-rsa OLD" not in keys_of(worker, row)
    assert letters(conn) == []


def test_a_step_that_comes_too_late_finds_nothing_to_tear_down(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)
    ended(conn, worker, row_id)

    send(conn, QUEUE, {"action": "advance", "reservation_id": row_id, "ticket": 1})
    worker.run()

    assert things(box) == {"pods": 0, "services": 0, "configmaps": 0}
