"""The pods of a gang: where they go, how they find each other, what they share, and that all of it goes."""

from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from kubernetes import client

from worlds.fleet import Connection, assert_sound, move_clock, until
from worlds.pods import NAMESPACE, Outside, outside
from worlds.reservations import all_are, all_ended, ask, gang, letters, moments, rows_of, statuses

GANG = "/etc/pgfleet/gang"


@pytest.fixture
def here(dsn: str, conn: Connection) -> Iterator[Outside]:
    with outside(dsn, conn, "h100:2x8") as cluster:
        yield cluster


def placed(here: Outside, nodes: int = 2, **fields: Any) -> list[str]:
    """A gang whose pods are all on nodes, and don't start by themselves."""
    ids = gang(here.conn, nodes, **fields)
    here.worker.run_until(lambda: all(here.pods(each) and here.node_of(each) != "None" for each in ids))
    here.worker.run_until(lambda: all(here.pod(each).status.container_statuses for each in ids))
    return ids


def running(here: Outside, ids: Sequence[str]) -> None:
    for each in ids:
        here.runs(each)
    all_are(here.conn, here.worker, ids, "active")


def variables(pod: Any) -> dict[str, str]:
    return {each.name: each.value for each in pod.spec.containers[0].env}


def secret(here: Outside, ids: Sequence[str]) -> dict[str, str]:
    (found,) = here.api.list_namespaced_secret(NAMESPACE, label_selector=f"reservation={first_pod(here, ids)}").items
    return {name: b64decode(value).decode() for name, value in (found.data or {}).items()}


def first_pod(here: Outside, ids: Sequence[str]) -> str:
    return str(here.pod(ids[0]).metadata.name)


def policies(here: Outside) -> list[Any]:
    found: list[Any] = client.NetworkingV1Api(here.api.api_client).list_namespaced_network_policy(NAMESPACE).items
    return found


def cordon(here: Outside, node: str, *, on: bool) -> None:
    here.api.patch_node(node, {"spec": {"unschedulable": on}})


def test_each_node_is_told_which_it_is_and_where_the_first_one_is(here: Outside) -> None:
    ids = placed(here, gpu_count=4)

    told = [variables(here.pod(each)) for each in ids]

    first: Any = here.pod(ids[0])
    assert [each["NODE_RANK"] for each in told] == ["0", "1"]
    assert {each["MASTER_ADDR"] for each in told} == {f"{first.metadata.name}-headless"}
    assert {(each["MASTER_PORT"], each["NNODES"], each["WORLD_SIZE"]) for each in told} == {("29500", "2", "8")}


def test_a_name_without_an_address_leads_to_each_pod_before_it_is_ready(here: Outside) -> None:
    ids = placed(here)

    for each in ids:
        name = here.pod(each).metadata.name
        here.worker.run_until(lambda name=name: f"{name}-headless" in services(here))  # type: ignore[misc]
        service: Any = here.api.read_namespaced_service(f"{name}-headless", NAMESPACE)
        assert service.spec.cluster_ip == "None"
        assert service.spec.publish_not_ready_addresses
        assert [port.port for port in service.spec.ports] == [29500]
        assert service.spec.selector == {"reservation": name}
        assert service.metadata.owner_references[0].uid == here.pod(each).metadata.uid


def services(here: Outside) -> list[str]:
    listed: list[Any] = here.api.list_namespaced_service(NAMESPACE).items
    return [each.metadata.name for each in listed]


def test_a_name_that_somebody_deletes_is_made_again_and_told(here: Outside) -> None:
    ids = placed(here)
    running(here, ids)
    name = f"{here.pod(ids[1]).metadata.name}-headless"
    here.api.delete_namespaced_service(name, NAMESPACE)

    row = here.watched(ids[1])

    assert name in services(here)
    assert (row["status"], row["warning"]) == (
        "active",
        "The name that its gang finds it by was gone, and was made again",
    )
    assert here.row(ids[0])["warning"] is None


def test_they_share_a_key_pair_of_their_own_and_each_lets_it_in(here: Outside) -> None:
    ids = placed(here)
    other = secret(here, ids)

    assert other["id_ed25519"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    for each in ids:
        pod = here.pod(each)
        keys: Any = here.api.read_namespaced_config_map(f"{pod.metadata.name}-keys", NAMESPACE)
        assert other["id_ed25519.pub"].strip() in keys.data["authorized_keys"].splitlines()
        (volume,) = [each.secret for each in pod.spec.volumes if each.secret]
        assert volume.secret_name.startswith(f"{first_pod(here, ids)}-gang-")
        assert {(item.path, item.mode) for item in volume.items} >= {("root/id_ed25519", 0o400), ("id_ed25519", 0o444)}
        assert GANG in [mount.mount_path for mount in pod.spec.containers[0].volume_mounts if mount.read_only]


def test_their_ssh_config_names_every_rank(here: Outside) -> None:
    ids = placed(here)

    config = secret(here, ids)["ssh_config"]

    for rank, each in enumerate(ids):
        assert f"Host rank-{rank}\n  HostName {here.pod(each).metadata.name}-headless\n" in config
    assert f"IdentityFile {GANG}/id_ed25519" in config


def test_the_private_key_is_in_no_row_no_message_and_no_log(
    here: Outside, conn: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = placed(here)
    running(here, ids)
    middle = secret(here, ids)["id_ed25519"].splitlines()[2]

    ask(conn, "cancel", ids[0])
    all_ended(conn, here.worker, ids)

    for table in ("public.reservations", "public.status_history", "pgmq.a_gpu_reservations", "public.gpu_pods"):
        found = conn.execute(f"select t::text from {table} t".encode()).fetchall()
        assert not any(middle in row[0] for row in found)
    assert middle not in "".join(capsys.readouterr())


def test_only_pods_of_one_gang_are_let_in_to_each_other(here: Outside) -> None:
    ids = placed(here)

    (policy,) = policies(here)

    chosen = {"pgfleet/gang": here.pod(ids[0]).metadata.name}
    members = {"podSelector": {"matchLabels": chosen}}
    spec = here.api.api_client.sanitize_for_serialization(policy.spec)
    assert spec["podSelector"] == members["podSelector"]
    assert (spec["ingress"], spec["egress"]) == ([{"from": [members]}], [{"to": [members]}])
    assert all(here.pod(each).metadata.labels.items() >= chosen.items() for each in ids)


def test_each_pod_has_a_node_of_its_own_although_one_would_hold_all(here: Outside) -> None:
    ids = placed(here, gpu_count=1)

    assert len({here.node_of(each) for each in ids}) == 2


def test_all_go_to_the_one_zone_that_has_room_for_all(here: Outside, conn: Connection) -> None:
    here.box.add_nodes("h100", 1, 8, zone="us-east-2b")
    cordon(here, "h100-1", on=True)
    here.box.add_nodes("h100", 1, 8, zone="us-east-2b")

    ids = placed(here)

    assert {here.node_of(each) for each in ids} == {"h100-3", "h100-4"}
    zone = {"topology.kubernetes.io/zone": "us-east-2b"}
    assert [row["placement"] for row in rows_of(conn, ids)] == [zone, zone]


def test_within_a_zone_they_go_to_one_value_of_the_label_that_is_set(dsn: str, conn: Connection) -> None:
    with outside(dsn, conn, "h100:4x8", gang_topology_key="example.org/rack") as here:
        for number, rack in enumerate(("left", "right", "right", "middle"), start=1):
            here.api.patch_node(f"h100-{number}", {"metadata": {"labels": {"example.org/rack": rack}}})

        ids = placed(here)

        assert {here.node_of(each) for each in ids} == {"h100-2", "h100-3"}
        terms = here.pod(ids[0]).spec.affinity.pod_affinity.required_during_scheduling_ignored_during_execution
        assert "example.org/rack" in [term.topology_key for term in terms]


def test_where_no_place_has_room_for_all_it_goes_back_to_the_line_as_a_whole(here: Outside, conn: Connection) -> None:
    cordon(here, "h100-1", on=True)
    here.box.add_nodes("h100", 1, 8, zone="us-east-2b")
    ids = gang(conn)

    rows = all_are(conn, here.worker, ids, "queued")

    assert {row["gpus_held"] for row in rows} == {0}
    assert rows[0]["retry_at"] == rows[1]["retry_at"]
    assert "no place has 2 nodes with 4 GPUs free" in rows[0]["current_detailed_status"]
    assert here.box.state()["created_pods"] == 0
    assert_sound(conn)


def test_a_pod_that_finds_no_node_takes_all_back_to_the_line_in_one_commit(here: Outside, conn: Connection) -> None:
    here.box.scheduler(down=True)
    ids = gang(conn, gpu_count=8)
    here.worker.run_until(lambda: all(row["placement"] for row in rows_of(conn, ids)))
    cordon(here, "h100-1", on=True)
    here.box.scheduler(down=False)
    here.worker.run_until(lambda: any("No node yet" in row["current_detailed_status"] for row in rows_of(conn, ids)))

    move_clock(conn, 40)
    rows = all_are(conn, here.worker, ids, "queued")

    assert moments(conn, ids)["queued"] == 1
    assert {(row["gpus_held"], row["pod_name"], row["placement"]) for row in rows} == {(0, None, None)}
    assert here.box.state()["objects"]["pods"] == 0
    assert {row["retry_at"] for row in rows} == {rows[0]["retry_at"]}
    cordon(here, "h100-1", on=False)
    move_clock(conn, 60)
    here.worker.run_until(lambda: all(here.pods(each) for each in ids))
    assert_sound(conn)


def test_it_is_active_when_the_last_pod_is_ready_and_its_time_is_the_same(here: Outside, conn: Connection) -> None:
    ids = placed(here)
    here.runs(ids[1])
    here.look(ids[1], "Ready: waits for its gang, of which 1 of 2 are ready")
    assert statuses(conn, ids) == ["preparing", "preparing"]

    here.runs(ids[0])
    rows = all_are(conn, here.worker, ids, "active")

    assert moments(conn, ids)["active"] == 1
    assert len({(row["launched_at"], row["expires_at"]) for row in rows}) == 1
    assert all(row["ssh_command"] for row in rows)
    assert {row["current_detailed_status"] for row in rows} == {"Ready"}


def test_a_pod_that_can_not_start_fails_all(here: Outside, conn: Connection) -> None:
    ids = placed(here)
    here.waits(ids[1], "InvalidImageName")

    rows = all_ended(conn, here.worker, ids)

    assert {row["status"] for row in rows} == {"failed"}
    assert rows[0]["failure_reason"].startswith("node 2/2: the pod can't start")
    assert rows[1]["failure_reason"].startswith("the pod can't start")
    assert moments(conn, ids)["failed"] == 1


def test_a_lost_pod_of_one_ends_all(here: Outside, conn: Connection) -> None:
    ids = placed(here)
    running(here, ids)
    move_clock(conn, 601)

    here.api.delete_namespaced_pod(here.pod(ids[1]).metadata.name, NAMESPACE)
    for _ in range(3):
        here.watched(ids[1])
    rows = all_ended(conn, here.worker, ids)

    assert {row["status"] for row in rows} == {"expired"}
    assert rows[1]["status_reason"].startswith("POD_LOST: DELETED")
    assert rows[0]["status_reason"].startswith("POD_LOST: node 2/2: DELETED")
    assert moments(conn, ids)["expired"] == 1


def test_nothing_of_it_is_left_when_it_has_ended(here: Outside, conn: Connection) -> None:
    ids = placed(here)
    running(here, ids)

    ask(conn, "cancel", ids[1])
    rows = all_ended(conn, here.worker, ids)

    assert {row["gpus_held"] for row in rows} == {0}
    until(lambda: left(here) == {"nodes"}, what="the end of all that its pods owned")
    assert letters(conn) == []
    assert_sound(conn)


def left(here: Outside) -> set[str]:
    objects = here.box.state()["objects"]
    return {kind for kind, number in objects.items() if number and kind != "events"}


def test_keys_that_come_after_its_end_are_swept(here: Outside, conn: Connection) -> None:
    ids = placed(here)
    running(here, ids)
    body: Any = here.api.read_namespaced_config_map(f"{first_pod(here, ids)}-gang", NAMESPACE)
    ask(conn, "cancel", ids[0])
    all_ended(conn, here.worker, ids)
    body.metadata.resource_version = body.metadata.uid = None
    here.api.create_namespaced_config_map(NAMESPACE, body)

    move_clock(conn, 120)
    conn.execute("select pgmq.send('gpu_reservations', '{\"action\": \"sweep_pods\"}')")

    here.worker.run_until(lambda: here.box.state()["objects"]["configmaps"] == 0)


def test_keys_that_were_made_by_half_are_made_anew(here: Outside, conn: Connection) -> None:
    here.box.fault("/secrets$", method="POST", times=1, status=500)
    ids = gang(conn)
    here.worker.run_until(lambda: here.box.state()["objects"]["configmaps"] == 1)
    before = here.api.list_namespaced_config_map(NAMESPACE).items[0].data
    here.box.clear_faults()

    here.worker.run_until(lambda: all(here.pods(each) for each in ids))

    after: Any = here.api.read_namespaced_config_map(f"{first_pod(here, ids)}-gang", NAMESPACE)
    assert after.data != before
    assert secret(here, ids)["id_ed25519.pub"] == after.data["authorized_keys"]
    assert len(policies(here)) == 1


def test_a_first_pod_that_is_made_anew_has_the_same_keys(here: Outside) -> None:
    ids = placed(here)
    before, uid = secret(here, ids), here.pod(ids[0]).metadata.uid

    here.api.delete_namespaced_pod(first_pod(here, ids), NAMESPACE)
    here.worker.run_until(lambda: [pod.metadata.uid for pod in here.pods(ids[0])] not in ([], [uid]))

    assert secret(here, ids) == before
