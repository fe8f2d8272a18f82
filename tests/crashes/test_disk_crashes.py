"""Disk and reservation workers that are killed: all data is kept, volumes exist once, nothing is left (I11, I12)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from crashes.nursery import Nursery, nursery
from pgfleet.console import sandbox
from pgfleet.console.sandbox import Box
from pgfleet.workers.clients.aws.ec2 import ATTACHMENT, DISK, QUARANTINED, SNAPSHOT
from worlds import disks
from worlds.disks import QUEUE, QUICK, TYPE, World, world_on
from worlds.fleet import Worker, assert_sound, new_id, owner_dsn, send, until, worker_environment

LEASE_S = 5
# A message has the bad luck to be in hand at many deaths, which is no reason to give it up.
SETTINGS: dict[str, Any] = {
    **QUICK,
    "lease_s": LEASE_S,
    "backoff_s": 0.1,
    # One message after the other.
    "effect_threads": 1,
    "attempts": 100,
    "pod_poll_s": 0.05,
    "teardown_poll_s": 0.05,
}
DISK_WORKER, RESERVATION_WORKER = "pgfleet.workers.disk", "pgfleet.workers.reservation"
Point = tuple[str, str]

# At every commit, whoever commits: a reservation that has begun has its disk, and counters are true.
WATCH = """
create table public.violations (what text, of_row text);
create function public.note_violations() returns trigger language plpgsql security definer as $$
begin
  insert into public.violations
  select 'it has no disk', r.reservation_id from public.reservations r
  where r.reservation_id = to_jsonb(new) ->> 'reservation_id' and r.status in ('preparing', 'active')
    and r.disk_name is not null
    and not exists (select from public.disks d where d.reservation_id = r.reservation_id and d.status = 'attached');
  insert into public.violations
  select 'its counters are wrong', d.disk_id::text from public.disks d
  cross join lateral (
    select count(*) filter (where s.status = 'completed') as completed,
      count(*) filter (where s.status in ('pending', 'creating')) as pending
    from public.disk_snapshots s where s.disk_id = d.disk_id) s
  where d.disk_id::text = to_jsonb(new) ->> 'disk_id'
    and (d.snapshot_count, d.pending_snapshot_count) is distinct from (s.completed, s.pending);
  insert into public.violations
  select 'it has a volume, and nobody', d.disk_id::text from public.disks d
  where d.disk_id::text = to_jsonb(new) ->> 'disk_id' and d.status <> 'attached' and d.ebs_volume_id is not null;
  return null;
end
$$;
create constraint trigger note_violations after insert or update on public.disks
  deferrable initially deferred for each row execute function public.note_violations();
create constraint trigger note_violations after insert or update on public.disk_snapshots
  deferrable initially deferred for each row execute function public.note_violations();
create constraint trigger note_violations after insert or update on public.reservations
  deferrable initially deferred for each row execute function public.note_violations();
-- Who takes a disk finds what the one before has left.
create function public.note_older_source() returns trigger language plpgsql security definer as $$
begin
  insert into public.violations
  select 'it starts from an older snapshot', new.disk_id::text
  where new.source_snapshot_id is distinct from (
    select snapshot_id from public.disk_snapshots where disk_id = new.disk_id and status = 'completed'
    order by completed_at desc, snapshot_id desc limit 1);
  return null;
end
$$;
create constraint trigger note_older_source after update on public.disks deferrable initially deferred
  for each row when (old.status = 'available' and new.status = 'attached')
  execute function public.note_older_source();
"""


@dataclass(frozen=True)
class Scene:
    """The world of a test where workers of one kind are killed; those of the other kind work in its own thread."""

    world: World
    box: Box
    nursery: Nursery
    folder: Path

    def kill(self, module: str, *points: Point) -> None:
        """Let a worker run into each of the points, one after the other."""
        for place, when in points:
            self._kill(module, place, when)
            self.assert_one_volume_each()
            # What the dead had in hand is free again.
            self.world.pass_time(LEASE_S + 1)

    def _kill(self, module: str, place: str, when: str) -> None:
        world, marker = self.world, self.folder / new_id()
        others: Worker = world.reservations if module == DISK_WORKER else world.disks
        dsn = owner_dsn(world.disks)
        environment = worker_environment(dsn, self.box, **SETTINGS) | self.box.aws_environment

        def is_dead() -> bool:
            others.run_once()
            return marker.exists()

        with self.nursery.worker(module, environment, marker, place, when, 1):
            try:
                until(is_dead, within_s=20, what=f"death {when} {place}")
            except AssertionError as late:
                raise AssertionError(f"{late}:\n{self.report()}") from None

    def assert_one_volume_each(self) -> None:
        tags = Counter((v["tags"][DISK], v["tags"][ATTACHMENT]) for v in self.world.volumes.values())
        assert all(number == 1 for number in tags.values()), tags

    def report(self) -> str:
        queries = (
            "select 'disks', status, ticket, ebs_volume_id, detail from public.disks",
            "select 'snapshots', status, ticket, ebs_snapshot_id, failure_reason from public.disk_snapshots",
            "select 'reservations', status, ticket, current_detailed_status, failure_reason from public.reservations",
            "select 'queue', message, vt - public.fleet_now(), read_ct from pgmq.q_disk_operations",
            "select 'queue', message, vt - public.fleet_now(), read_ct from pgmq.q_gpu_reservations",
            "select 'letters', reason from public.dead_letters",
        )
        rows = [row for query in queries for row in self.world.conn.execute(query.encode())]
        return "\n".join(" | ".join(map(str, row)) for row in [*rows, *self.world.aws.state()["log"][-10:]])


@pytest.fixture(scope="module")
def module_box() -> Iterator[Box]:
    quick: dict[str, Any] = {"ready_delay_s": 0.02, "termination_delay_s": 0.02, "scheduling_retry_s": 0.05}
    with (
        sandbox.spawned([f"{TYPE}:1x0", "h100:1x8"], aws=True, **quick) as box,
        mock.patch.dict("os.environ", box.aws_environment),
    ):
        yield box


@pytest.fixture(scope="module")
def module_nursery() -> Iterator[Nursery]:
    with nursery() as running:
        yield running


@pytest.fixture
def scene(module_box: Box, module_nursery: Nursery, server_dsn: str, template: str, tmp_path: Path) -> Iterator[Scene]:
    with world_on(server_dsn, template, module_box, **SETTINGS) as world:
        # No sweep repairs what a death has broken.
        world.conn.execute("update public.periodic set next_at = 'infinity'")
        world.conn.execute(WATCH)
        yield Scene(world, module_box, module_nursery, tmp_path)


CLAIM = ("pgfleet.schema.queue.claims:claim", "after")
WORK = ("pgfleet.workers.runtime.serve:work", "before")
EC2 = "pgfleet.workers.clients.aws.ec2:Ec2"
HOMES = "pgfleet.workers.clients.kubernetes.home:Homes"
PODS = "pgfleet.workers.clients.kubernetes.pods:Pods"
CONTENTS = "pgfleet.workers.clients.aws.contents:Contents"


def around(place: str) -> tuple[Point, Point]:
    return (place, "before"), (place, "after")


def writing(label: str) -> tuple[Point, Point]:
    """Before a transaction's commit and after it."""
    return (f"settle {label}", "before"), (f"settle {label}", "after")


def amid(label: str) -> tuple[Point, Point, Point]:
    """And when its rows have been changed."""
    return (f"settle {label}", "during"), *writing(label)


def test_a_disk_worker_killed_anywhere_makes_one_volume_and_keeps_all_that_was_written(scene: Scene) -> None:
    world = scene.world
    operation_id = world.ask("create_disk", size_gb=20)
    scene.kill(
        DISK_WORKER,
        CLAIM,
        WORK,
        *writing("disk_operations=pending"),
        *writing("disks=creating"),
        *writing("disks=available"),
        *writing("disk_operations=completed"),
    )
    assert world.operation(operation_id)["status"] == "completed"

    first = world.reserve()
    scene.kill(
        DISK_WORKER,
        *around(f"{EC2}.create_volume"),
        *amid("disks.ebs_volume_id"),
        *around(f"{EC2}.volume"),
        *writing("disks.volume_missing_since"),
    )
    world.until(lambda: world.status(first) == "active", what="an active reservation")
    volume = world.disk()["ebs_volume_id"]
    world.aws.attach(volume)
    world.aws.hold_snapshots(40)
    world.cancel(first)
    scene.kill(DISK_WORKER, *around(f"{EC2}.snapshots_tagged"), *around(f"{EC2}.volume"))
    assert world.ebs_snapshots == {}
    world.aws.detach(volume)
    scene.kill(
        DISK_WORKER,
        *around(f"{EC2}.create_snapshot"),
        *writing("disk_snapshots=creating"),
        *around(f"{EC2}.snapshot"),
    )
    assert list(world.volumes) == [volume]
    world.aws.hold_snapshots(None)
    world.aws.complete_snapshots()
    # So that the volume waits for its listing.
    world.aws.attach(volume)
    scene.kill(
        DISK_WORKER,
        *amid("disk_snapshots=completed"),
        *around(f"{CONTENTS}.put"),
        *writing("disk_snapshots.content_s3"),
    )
    assert list(world.volumes) == [volume]
    world.aws.detach(volume)
    scene.kill(DISK_WORKER, *around(f"{EC2}.delete_volume"), *writing("disks=available"))
    world.over(first)
    assert world.volumes == {}

    assert_found_again(scene, volume)
    assert_nothing_left(world, scene.box)


def test_a_reservation_worker_killed_anywhere_attaches_once_and_releases_all(scene: Scene) -> None:
    """Its first reservation makes the disk."""
    world = scene.world
    world.aws.hold_snapshots(40)
    first = world.reserve(gpu_type="h100", gpu_count=4)
    scene.kill(
        RESERVATION_WORKER,
        WORK,
        *writing("disks=creating"),
        *amid("disks=attached"),
        *around(f"{HOMES}.zones"),
        *writing("disks.ebs_availability_zone"),
        *around(f"{HOMES}.make"),
        *around(f"{PODS}.create"),
        *around(f"{PODS}.create_service"),
        *writing("reservations=active"),
    )
    volume = world.disk()["ebs_volume_id"]
    world.cancel(first)
    scene.kill(
        RESERVATION_WORKER,
        *writing("reservations=cancelled"),
        *around(f"{HOMES}.contents"),
        *writing("disks.contents_at"),
        *around(f"{PODS}.delete_service"),
        *around(f"{PODS}.delete"),
        *around(f"{HOMES}._delete"),
        *around(f"{HOMES}.remove"),
        *amid("disks.release_asked_at"),
    )
    world.until(lambda: world.ebs_snapshots, what="a snapshot")
    assert list(world.volumes) == [volume]
    world.aws.hold_snapshots(None)
    world.aws.complete_snapshots()
    scene.kill(RESERVATION_WORKER, *writing("reservations.reservation_ended"))
    world.until(lambda: world.disk()["status"] == "available", what="a free disk")

    assert_found_again(scene, volume)
    assert_nothing_left(world, scene.box)


def test_a_half_made_home_is_made_whole(scene: Scene) -> None:
    world = scene.world
    world.create()
    first = world.reserve()
    scene.kill(
        RESERVATION_WORKER,
        *around(f"{HOMES}._made_volume"),
        *around(f"{HOMES}._made_claim"),
        ("settle reservations.node_port", "before"),
    )
    world.until(lambda: world.status(first) == "active", what="an active reservation")
    volume = world.disk()["ebs_volume_id"]
    world.cancel(first)
    world.over(first)

    assert_found_again(scene, volume)
    assert_nothing_left(world, scene.box)


def test_a_reservation_cancelled_while_its_worker_is_dead_leaves_no_volume(scene: Scene) -> None:
    """One that no row knows is found by reconciling, and was never in a pod."""
    world = scene.world
    world.create()
    first = world.reserve()
    scene.kill(DISK_WORKER, (f"{EC2}.create_volume", "after"))
    (orphan,) = world.volumes
    world.cancel(first)
    world.reservations.run()
    scene.kill(DISK_WORKER, *writing("disks=available"))
    world.over(first)
    assert list(world.volumes) == [orphan]

    world.pass_time(900)
    send(world.conn, QUEUE, {"action": "reconcile"})
    scene.kill(
        DISK_WORKER,
        *around(f"{EC2}.volumes"),
        *around(f"{EC2}.snapshots"),
        *around(f"{EC2}.delete_volume"),
    )
    world.run()

    assert world.snapshots() == []
    assert_nothing_left(world, scene.box)


def test_a_snapshot_on_demand_and_a_clone_are_made_once(scene: Scene) -> None:
    world = scene.world
    world.create()
    first = world.active()
    volume = world.disk()["ebs_volume_id"]
    manual = world.ask("snapshot_disk")
    scene.kill(
        DISK_WORKER,
        *writing("disk_snapshots=pending"),
        *around(f"{EC2}.create_snapshot"),
        *writing("disk_snapshots=creating"),
        *writing("disk_snapshots=completed"),
        *writing("disk_operations=completed"),
    )
    assert world.operation(manual)["status"] == "completed"
    world.cancel(first)
    world.over(first)
    clone = world.ask("clone_disk", source_disk="data", target_disk="copy")
    scene.kill(
        DISK_WORKER,
        *writing("disks=creating"),
        *around(f"{EC2}.copy_snapshot"),
        *writing("disk_snapshots=creating"),
        *writing("disk_snapshots=completed"),
        *writing("disks=available"),
        *writing("disk_operations=completed"),
    )
    assert world.operation(clone)["status"] == "completed"
    assert len(world.ebs_snapshots) == 3

    assert_found_again(scene, volume)
    assert_nothing_left(world, scene.box)


def test_a_disk_that_is_purged_goes_whole(scene: Scene) -> None:
    world = scene.world
    world.create()
    world.used(times=2)
    world.ended("delete_disk")
    world.pass_time(31 * 24 * 3600)
    scene.kill(
        DISK_WORKER,
        *writing("disk_snapshots=deleting"),
        *around(f"{CONTENTS}.delete"),
        *around(f"{EC2}.delete_snapshot"),
        *writing("disk_snapshots=deleted"),
        *writing("disks=purged"),
    )
    world.run()

    assert world.ebs_snapshots == {}
    assert world.aws.state()["objects"] == {}
    assert_nothing_left(world, scene.box)


def test_what_no_row_knows_is_set_aside_once(scene: Scene) -> None:
    world = scene.world
    world.create()
    disk = world.used()
    (mine,) = world.snapshots()
    tags = {DISK: str(disk["disk_id"]), SNAPSHOT: str(mine["snapshot_id"])}
    duplicate = world.aws.make_snapshot(tags)
    world.pass_time(900)
    send(world.conn, QUEUE, {"action": "reconcile"})
    scene.kill(DISK_WORKER, *around(f"{EC2}.tag"), *writing("disk_quarantine.resource_id"))
    world.run()

    assert [row["resource_id"] for row in world.all("select * from public.disk_quarantine")] == [duplicate]
    assert QUARANTINED in world.ebs_snapshots[duplicate]["tags"]
    assert_nothing_left(world, scene.box, duplicate)


def test_a_snapshot_that_aws_does_not_show_in_time_is_set_aside_when_it_does(scene: Scene) -> None:
    world = scene.world
    world.create()
    first = world.active()
    world.cancel(first)
    world.aws.blind(seconds=60)
    scene.kill(DISK_WORKER, (f"{EC2}.create_snapshot", "after"))
    world.over(first)
    world.aws.blind()
    (counts,) = world.snapshots()
    (duplicate,) = set(world.ebs_snapshots) - {counts["ebs_snapshot_id"]}

    world.pass_time(900)
    world.sweep("reconcile")

    assert [row["resource_id"] for row in world.all("select * from public.disk_quarantine")] == [duplicate]
    assert_nothing_left(world, scene.box, duplicate)


def assert_found_again(scene: Scene, volume: str) -> None:
    """The next reservation has what was on the volume: its newest snapshot."""
    world = scene.world
    snapshots = [row for row in world.snapshots() if row["kind"] == "cancellation"]
    assert [(row["ebs_volume_id"], row["status"]) for row in snapshots] == [(volume, "completed")]
    second = world.active()
    ((_, mounted),) = world.volumes.items()
    assert mounted["snapshot"] == snapshots[0]["ebs_snapshot_id"]
    world.cancel(second)
    world.over(second)


def assert_nothing_left(world: World, box: Box, *set_aside: str) -> None:
    """All that there is at AWS is a completed snapshot of a row, and nothing is at Kubernetes; sweeps find nothing."""
    assert_right(world, box, *set_aside)
    log = len(world.aws.state()["log"])
    world.pass_time(3600)
    for action in ("sweep", "reconcile", "prune"):
        world.sweep(action)
    for action in ("sweep", "sweep_pods"):
        send(world.conn, "gpu_reservations", {"action": action})
    world.run()

    assert {name for name, _ in world.aws.state()["log"][log:]} <= {"DescribeVolumes", "DescribeSnapshots"}
    assert_right(world, box, *set_aside)


def assert_right(world: World, box: Box, *set_aside: str) -> None:
    state = box.state()
    assert world.letters == []
    assert_sound(world.conn)
    disks.assert_sound(world.conn)
    assert world.all("select * from public.violations") == []
    assert world.volumes == {}
    kept = world.all("select ebs_snapshot_id from public.disk_snapshots where status = 'completed'")
    assert {row["ebs_snapshot_id"] for row in kept} | set(set_aside) == set(world.ebs_snapshots)
    assert world.all("select 1 from public.disk_snapshots where status not in ('completed', 'deleted')") == []
    assert world.all("select 1 from public.disks where status not in ('available', 'purged')") == []
    assert world.all("select 1 from public.reservations where reservation_ended is null or gpus_held > 0") == []
    quarantine = world.all("select resource_id from public.disk_quarantine")
    assert [row["resource_id"] for row in quarantine] == list(set_aside)
    assert_kept_before_deleted(world, box)
    for kind in ("pods", "services", "persistentvolumes", "persistentvolumeclaims"):
        assert state["objects"].get(kind, 0) == 0
    assert state["double_creations"] == 0


def assert_kept_before_deleted(world: World, box: Box) -> None:
    """Of every volume that a pod had, a snapshot was begun before it was deleted, which is in a row."""
    log = [tuple(line) for line in world.aws.state()["log"]]
    used = {line["volume"] for line in box.state()["attachment_log"]}
    rows = world.all("select ebs_volume_id from public.disk_snapshots where completed_at is not null")
    for at, (action, volume) in enumerate(log):
        if action == "DeleteVolume" and volume in used:
            assert ("CreateSnapshot", volume) in log[:at]
            assert {"ebs_volume_id": volume} in rows
