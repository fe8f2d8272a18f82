"""A pod whose belongings find no place, or that nobody can reach: its reservation is not charged with it."""

from collections.abc import Iterator
from typing import Any

import pytest

from worlds.fleet import Connection, assert_sound, move_clock
from worlds.pods import NAMESPACE, Outside, outside
from worlds.reservations import letters, reach, status_of

FULL = 'services "x" is forbidden: exceeded quota: ports, requested: services.nodeports=1, used: 1, limited: 1'


@pytest.fixture
def here(dsn: str, conn: Connection) -> Iterator[Outside]:
    with outside(dsn, conn, "h100:2x8") as cluster:
        yield cluster


def test_a_pod_on_a_node_whose_service_finds_no_place_gives_its_gpus_back(here: Outside, conn: Connection) -> None:
    here.box.fault("/services$", method="POST", times=100_000, status=403, message=FULL)
    row_id = here.placed()

    row = reach(conn, here.worker, row_id, "queued")

    assert row["current_detailed_status"].startswith("QUOTA: ")
    assert row["gpus_held"] == 0
    assert row["schedule_failures"] == 1
    assert here.pods(row_id) == []
    assert_sound(conn)


def test_a_ready_pod_whose_service_finds_no_place_gives_its_gpus_back(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.box.fault("/services$", method="POST", times=100_000, status=403, message=FULL)
    here.api.delete_namespaced_service(f"{here.pod(row_id).metadata.name}-ssh", NAMESPACE)
    here.runs(row_id)

    assert reach(conn, here.worker, row_id, "queued")["gpus_held"] == 0


def test_a_ready_pod_whose_node_has_no_address_waits_for_one_and_no_attempt_counts(
    here: Outside, conn: Connection
) -> None:
    row_id = here.placed()
    node: Any = here.api.read_node(here.node_of(row_id))
    addresses = node.status.addresses
    here.api.patch_node_status(here.node_of(row_id), {"status": {"addresses": []}})
    here.runs(row_id)
    here.look(row_id, "NO_ADDRESS: ")
    for _ in range(10):
        move_clock(conn, 61)
        here.worker.run_once()
    during = status_of(conn, row_id)

    here.api.patch_node_status(here.node_of(row_id), {"status": {"addresses": addresses}})
    move_clock(conn, 61)
    row = reach(conn, here.worker, row_id, "active")

    assert during == "preparing"
    assert row["current_detailed_status"] == "Ready"
    assert letters(conn) == []
