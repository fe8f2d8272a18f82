"""Names of what a reservation has outside: from its id, different for every id, and kept once they are in its row."""

import re
from typing import Any

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.environment.fleet import pod_name
from worlds.fleet import Connection, Worker, move_clock, new_id, row_of
from worlds.reservations import active, ask, create, ended, reach

# Of version 7: the first 48 bits are the time in milliseconds.
EARLIER, LATER = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-7cc9-8b1b-2b4a5c6d7e8f"


def live_before(conn: Connection, worker: Worker, row_id: str) -> dict[str, Any]:
    """A reservation whose pod has a name of an older version."""
    create(conn, reservation_id=row_id)
    reach(conn, worker, row_id, "preparing")
    conn.execute(
        "update public.reservations set pod_name = 'gpu-dev-' || left(reservation_id, 8) where reservation_id = %s",
        (row_id,),
    )
    return reach(conn, worker, row_id, "active")


def names(worker: Worker) -> list[str]:
    return [pod.name for pod in worker.running.tools.pods.managed()]


def test_a_pod_name_is_ten_characters_of_a_hash_of_the_id() -> None:
    assert pod_name("7c9e6679-7425-40de-944b-e07fc1f90ae7") == "gpu-dev-mmloahe6du"
    assert re.fullmatch("gpu-dev-[a-z2-7]{10}", pod_name(new_id()))
    assert pod_name(EARLIER) != pod_name(LATER)


def test_two_reservations_with_ids_of_one_moment_both_run(conn: Connection, worker: Worker) -> None:
    for row_id in (EARLIER, LATER):
        create(conn, reservation_id=row_id, gpu_count=1)

    for row_id in (EARLIER, LATER):
        reach(conn, worker, row_id, "active")

    assert sorted(names(worker)) == sorted([pod_name(EARLIER), pod_name(LATER)])


def test_a_live_pod_of_an_older_version_keeps_its_name(conn: Connection, worker: Worker) -> None:
    row = live_before(conn, worker, new_id())
    old_name = row["pod_name"]
    assert names(worker) == [old_name]

    move_clock(conn, 700)
    worker.run()

    assert row_of(conn, row["reservation_id"])["pod_missing_since"] is None
    assert row_of(conn, row["reservation_id"])["pod_name"] == old_name


def test_a_pod_of_an_older_version_is_torn_down_by_the_name_in_its_row(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row = live_before(conn, worker, new_id())

    ask(conn, "cancel", row["reservation_id"])
    ended(conn, worker, row["reservation_id"])

    assert names(worker) == []
    assert box.state()["objects"]["services"] == 0


def test_all_that_a_reservation_has_is_named_after_its_pod(conn: Connection, worker: Worker) -> None:
    row = row_of(conn, active(conn, worker))

    (service,) = worker.running.tools.pods.api.list_namespaced_service("gpu-dev").items
    assert service.metadata.name == f"{row['pod_name']}-ssh"
    assert service.metadata.labels["reservation"] == row["pod_name"]
