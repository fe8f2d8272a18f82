"""The way into a pod: the address of its service's own version of IP, and a service that is made again."""

from collections.abc import Iterator

import pytest
from kubernetes import client

from pgfleet.workers.clients.kubernetes.pod import NodeState, node_state, service_state
from worlds.fleet import Connection, move_clock
from worlds.pods import NAMESPACE, Outside, outside
from worlds.reservations import letters, reach

FOUR, SIX = ("InternalIP", "10.0.0.7"), ("InternalIP", "fd00::7")
OUTER = ("ExternalIP", "203.0.113.7")


@pytest.fixture
def here(dsn: str, conn: Connection) -> Iterator[Outside]:
    with outside(dsn, conn, "h100:1x8") as cluster:
        yield cluster


def node(*addresses: tuple[str, str]) -> NodeState:
    given = [client.V1NodeAddress(type=kind, address=address) for kind, address in addresses]
    status = client.V1NodeStatus(addresses=given)
    return node_state(client.V1Node(metadata=client.V1ObjectMeta(name="n"), status=status))


@pytest.mark.parametrize(
    ("addresses", "family", "address"),
    [
        ((FOUR, SIX), 4, "10.0.0.7"),
        ((SIX, FOUR), 4, "10.0.0.7"),
        ((FOUR, SIX), 6, "fd00::7"),
        ((SIX, FOUR), 6, "fd00::7"),
        ((FOUR, SIX, OUTER), 4, "203.0.113.7"),
        ((FOUR, SIX, OUTER), 6, "fd00::7"),
        ((("Hostname", "h"), FOUR), 4, "10.0.0.7"),
        ((SIX, FOUR), None, "fd00::7"),
        ((SIX,), 4, None),
        ((), 4, None),
    ],
)
def test_an_address_is_of_the_services_family_and_an_outer_one_goes_first(
    addresses: tuple[tuple[str, str], ...], family: int | None, address: str | None
) -> None:
    assert node(*addresses).address(("ExternalIP", "InternalIP"), family) == address


@pytest.mark.parametrize(
    ("families", "cluster_ip", "family"),
    [
        (["IPv4"], "10.96.0.7", 4),
        (["IPv6"], "fd00::1", 6),
        (["IPv6", "IPv4"], "fd00::1", 6),
        (["IPv4", "IPv6"], "10.96.0.7", 4),
        (None, "10.96.0.7", 4),
        (None, "fd00::1", 6),
        (None, "None", None),
    ],
)
def test_a_services_family_is_its_first(families: list[str] | None, cluster_ip: str, family: int | None) -> None:
    spec = client.V1ServiceSpec(ip_families=families, cluster_ip=cluster_ip)

    assert service_state(client.V1Service(metadata=client.V1ObjectMeta(name="s"), spec=spec)).family == family


def test_a_node_with_both_addresses_is_reached_by_the_one_that_the_service_has(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    both = [{"type": kind, "address": address} for kind, address in (SIX, FOUR)]
    here.api.patch_node_status(here.node_of(row_id), {"status": {"addresses": both}})
    here.runs(row_id)

    row = reach(conn, here.worker, row_id, "active")

    assert row["ssh_command"] == f"ssh -p {row['node_port']} dev@10.0.0.7"
    assert row["node_private_ip"] == "10.0.0.7"


def test_a_node_that_gets_its_address_late_fails_nobody(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    addresses(here, row_id, [])
    here.runs(row_id)
    here.look(row_id, "NO_ADDRESS: its node h100-1 has no IPv4 address")
    move_clock(conn, 601)

    addresses(here, row_id, [{"type": "InternalIP", "address": "10.0.0.7"}])
    row = reach(conn, here.worker, row_id, "active")

    assert row["ssh_command"] == f"ssh -p {row['node_port']} dev@10.0.0.7"
    assert letters(conn) == []


def addresses(here: Outside, row_id: str, given: list[dict[str, str]]) -> None:
    here.api.patch_node_status(here.node_of(row_id), {"status": {"addresses": given}})


def test_a_service_of_ipv6_is_reached_by_ipv6(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    both = [{"type": kind, "address": address} for kind, address in (FOUR, SIX)]
    here.api.patch_node_status(here.node_of(row_id), {"status": {"addresses": both}})
    here.api.patch_namespaced_service(here.service(row_id), NAMESPACE, {"spec": {"ipFamilies": ["IPv6"]}})
    here.runs(row_id)

    row = reach(conn, here.worker, row_id, "active")

    assert row["ssh_command"] == f"ssh -p {row['node_port']} dev@fd00::7"


def test_a_service_that_somebody_deletes_is_made_again_and_told(here: Outside) -> None:
    row_id = here.active()
    before = here.row(row_id)
    here.api.delete_namespaced_service(here.service(row_id), NAMESPACE)

    row = here.watched(row_id)

    assert here.port(row_id) == row["node_port"]
    assert row["ssh_command"] == f"ssh -p {row['node_port']} dev@{before['node_ip']}"
    assert row["warning"].startswith("Its service for SSH was gone, and was made again")
    assert row["status"] == "active"


def test_a_port_that_is_taken_meanwhile_changes_and_is_told(here: Outside) -> None:
    row_id = here.active()
    before = here.row(row_id)
    here.api.delete_namespaced_service(here.service(row_id), NAMESPACE)
    here.box.fault(r"/services$", method="POST", status=422, times=1)

    row = here.watched(row_id)

    assert row["node_port"] != before["node_port"]
    assert row["warning"].endswith(f"on another port: {row['ssh_command']}")


def test_a_service_that_went_before_the_pod_was_ready_is_made(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.look(row_id, "its container is being made")
    here.api.delete_namespaced_service(here.service(row_id), NAMESPACE)
    here.runs(row_id)

    row = reach(conn, here.worker, row_id, "active")

    assert here.port(row_id) == row["node_port"]
