"""Yesterday's rows and today's pods and disks: what no row knows is set aside and told, and what is gone is handled."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.doctor.examination import examine
from pgfleet.workers.disk import machine as disk
from pgfleet.workers.reservation import machine as reservation
from worlds.database import by_psql, run_program
from worlds.disks import QUICK, STEADY, World, assert_sound, for_a_test, quicken, servers, world_on
from worlds.fleet import owner_dsn, send, settings_for, worker_on
from worlds.outside.kubernetes import NS

SEARCH_PATH = "alter database {} set search_path = public, hopsworks, autoscaler, clusters"
STRAYS = "select pod_name, reservation_id::text from public.pod_quarantine where gone_at is null"
ASIDE = "select resource_id from public.disk_quarantine where gone_at is null"
PAUSED = "select by_whom from public.pauses where what = 'deletes'"


@pytest.fixture(scope="module")
def module_world(server_dsn: str, template: str) -> Iterator[World]:
    with servers() as (box, _), world_on(server_dsn, template, box, **STEADY) as running:
        yield running


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    yield from for_a_test(module_world)


def backup(world: World) -> str:
    """As `pg_dump` has it: rows and messages of one moment."""
    world.conn.execute("select public.note_database()")
    return run_program("pg_dump", owner_dsn(world.disks))


@contextmanager
def restored(world: World, dump: str, dsn: str) -> Iterator[World]:
    """As the page of operators says, on the cluster and the AWS as they are now."""
    by_psql(dsn, dump)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SEARCH_PATH.format(conn.info.dbname).encode())
    migrate(dsn)
    quicken(dsn)
    settings = settings_for(dsn, world.box, **{**QUICK, **STEADY})
    with (
        psycopg.connect(dsn, autocommit=True) as conn,
        worker_on(disk.KIND, settings) as disks,
        worker_on(reservation.KIND, settings) as rows,
    ):
        conn.execute("select public.note_database()")
        yield replace(world, conn=conn, disks=disks, reservations=rows)


def pods(world: World) -> set[str]:
    api: Any = world.reservations.running.tools.pods.api
    return {pod.metadata.name for pod in api.list_namespaced_pod(NS).items}


def pod_of(world: World, row_id: str) -> str:
    return str(world.reservation(row_id)["pod_name"])


def look_everywhere(world: World) -> None:
    """What sweeps find, by looks that are far enough apart."""
    for _ in range(4):
        world.later(3700)
        for queue, action in (
            ("gpu_reservations", "sweep_pods"),
            ("gpu_reservations", "sweep"),
            ("disk_operations", "reconcile"),
            ("disk_operations", "sweep"),
        ):
            world.conn.execute("update public.periodic set done_at = null")
            send(world.conn, queue, {"action": action})
            world.run()


def test_what_was_made_since_the_backup_is_set_aside_and_what_was_taken_away_is_missed(
    world: World, empty_dsn: str
) -> None:
    for name in ("data", "more"):
        world.used(name)
    stays = world.active(None, duration_hours=48)
    went = world.active("data", duration_hours=48)
    waited = world.reserve(None, duration_hours=48)
    dump = backup(world)
    world.until(lambda: world.status(waited) == "active")
    came = world.active("more", duration_hours=48)
    world.cancel(went)
    world.over(went)
    known = {row["ebs_snapshot_id"] for row in world.snapshots("data")}
    there, volumes, snapshots = pods(world), set(world.volumes), set(world.ebs_snapshots)
    came_pod, volume = pod_of(world, came), world.volume_of("more")
    assert there == {pod_of(world, stays), pod_of(world, waited), came_pod}

    with restored(world, dump, empty_dsn) as now:
        newest = known - {row["ebs_snapshot_id"] for row in now.snapshots("data")}
        assert len(newest) == 1
        look_everywhere(now)

        # Set aside, told, and still there.
        assert now.all(STRAYS) == [{"pod_name": came_pod, "reservation_id": came}]
        assert {row["resource_id"] for row in now.all(ASIDE)} == {volume, *newest}
        assert now.all(PAUSED) == [{"by_whom": "pgfleet"}]
        told = " ".join(found.text for found in examine(now.conn))
        assert came_pod in told
        # Of who was in the backup.
        assert (now.status(stays), pod_of(now, stays)) == ("active", pod_of(world, stays))
        assert (now.status(waited), pod_of(now, waited)) == ("active", pod_of(world, waited))
        lost = now.reservation(went)
        assert (lost["status"], str(lost["status_reason"]).partition(":")[0]) == ("expired", "POD_LOST")
        assert (pods(now), set(now.volumes), set(now.ebs_snapshots) & snapshots) == (there, volumes, snapshots)

        now.conn.execute("delete from public.pauses")
        look_everywhere(now)

        assert came_pod in pods(now)
        assert volume in now.volumes
        assert newest <= set(now.ebs_snapshots)
        assert world.box.state()["double_creations"] == 0
        assert_sound(now.conn)
