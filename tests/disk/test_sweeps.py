"""Sweeps of disks: lost turns come back, and rows are compared with AWS; and that no order of events loses anything."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pgfleet.workers.clients.aws import ec2
from pgfleet.workers.runtime.leases import Leases
from pgfleet.workers.runtime.work import work
from worlds.disks import QUEUE, World, assert_sound
from worlds.fleet import Worker, new_id, send
from worlds.fleet import assert_sound as assert_reservations_sound

DAY_S = 24 * 3600


def passing(world: World, seconds: float = 120) -> None:
    """Time goes by in small steps, and all have their turns."""
    for _ in range(int(seconds / 10)):
        world.later(10)


def held(world: World, disk_name: str = "data") -> str:
    row_id = world.held(disk_name)
    assert world.volume_of(disk_name)
    return row_id


def filled(world: World, disk_name: str = "data", times: int = 1) -> None:
    for _ in range(times):
        give_back(world, held(world, disk_name))
        passing(world, 30)
        assert world.disk(disk_name)["status"] == "available"


def give_back(world: World, row_id: str) -> None:
    world.given_back(row_id)


def lose_messages(world: World) -> None:
    world.conn.execute("delete from pgmq.q_disk_operations")


def quarantine(world: World) -> dict[str, str]:
    return {row["resource_id"]: row["reason"] for row in world.all("select * from public.disk_quarantine")}


def reconcile(world: World, after_s: float = 601) -> None:
    world.later(after_s)
    world.sweep("reconcile")


# Lost turns.


def creating(world: World) -> Callable[[], bool]:
    filled(world)
    world.aws.hold_snapshots()
    world.ask("clone_disk", source_disk="data", target_disk="copy")
    world.run()
    assert world.disk("copy")["status"] == "creating"
    return lambda: world.disk("copy")["status"] == "available"


def without_a_volume(world: World) -> Callable[[], bool]:
    world.aws.fault("CreateVolume", times=1, status=400, code="VolumeLimitExceeded")
    row_id = world.reserve()
    world.until(lambda: world.aws.requests("CreateVolume") == 1)
    return lambda: world.status(row_id) == "active"


def with_a_new_volume(world: World) -> Callable[[], bool]:
    world.aws.hold_volumes()
    row_id = world.reserve()
    world.until(world.volume_of)
    return lambda: world.status(row_id) == "active"


def being_released(world: World) -> Callable[[], bool]:
    row_id = held(world)
    world.aws.hold_snapshots()
    give_back(world, row_id)
    return lambda: world.disk()["status"] == "available" and world.volumes == {}


def with_a_pending_snapshot(world: World) -> Callable[[], bool]:
    world.aws.fault("CreateSnapshot", times=1, status=400, code="PendingSnapshotLimitExceeded")
    operation_id, _ = world.ask("snapshot_disk"), held(world)
    world.run()
    return lambda: world.operation(operation_id)["status"] == "completed"


def with_a_snapshot_that_is_made(world: World) -> Callable[[], bool]:
    held(world)
    world.aws.hold_snapshots()
    operation_id = world.tell("snapshot_disk")["operation_id"]
    assert world.snapshots()[0]["status"] == "creating"
    return lambda: world.operation(str(operation_id))["status"] == "completed"


def deleted(world: World) -> Callable[[], bool]:
    filled(world)
    world.tell("delete_disk")
    world.conn.execute("update public.disks set marked_deleted_at = marked_deleted_at - interval '31 days'")
    return lambda: world.one("select status from public.disks")["status"] == "purged"


def being_purged(world: World) -> Callable[[], bool]:
    filled(world)
    world.aws.refuse_deletes(world.snapshots()[0]["ebs_snapshot_id"])
    world.tell("delete_disk")
    world.later(30 * DAY_S + 1)
    assert world.snapshots()[0]["status"] == "deleting"
    world.aws.refuse_deletes(world.snapshots()[0]["ebs_snapshot_id"], refused=False)
    return lambda: world.one("select status from public.disks")["status"] == "purged"


def an_operation(world: World) -> Callable[[], bool]:
    operation_id = world.ask("snapshot_disk")
    world.disks.run_once(1)
    assert world.operation(operation_id)["status"] == "pending"
    return lambda: world.operation(operation_id)["status"] == "failed"


@pytest.mark.parametrize(
    "point",
    [
        creating,
        without_a_volume,
        with_a_new_volume,
        being_released,
        with_a_pending_snapshot,
        with_a_snapshot_that_is_made,
        deleted,
        being_purged,
        an_operation,
    ],
)
def test_what_lost_its_turn_has_it_again_after_a_sweep(
    world: World, point: Callable[[World], Callable[[], bool]]
) -> None:
    world.create()
    is_over = point(world)
    lose_messages(world)
    world.aws.hold_snapshots(None)
    world.aws.complete_snapshots()
    world.aws.complete_volumes()
    world.later(61)
    lost = not is_over()

    world.sweep()
    passing(world)
    world.sweep()
    passing(world)

    assert lost, "nothing else gives it its turn"
    assert is_over()
    assert world.letters == []


def test_a_listing_whose_turn_was_lost_is_written_all_the_same(world: World) -> None:
    world.create()
    filled(world)
    world.conn.execute("update public.disk_snapshots set contents = 'thesis.tex'")

    world.later(61)
    world.sweep()

    assert world.snapshots()[0]["contents"] is None
    assert len(world.aws.state()["objects"]) == 1


def test_a_sweep_sends_nothing_where_all_is_well(world: World) -> None:
    world.create()
    filled(world)
    world.create("other")
    held(world, "other")
    world.create("gone")
    world.tell("delete_disk", "gone")
    world.later(61)
    before = world.all("select msg_id from pgmq.q_disk_operations")

    for _ in range(2):
        world.sweep()

    assert world.all("select msg_id from pgmq.q_disk_operations") == before


# AWS has what no row knows.


@pytest.mark.parametrize("kind", ["vol", "snap"])
@pytest.mark.parametrize("disk_id", ["7d0f1b52-9a3c-4a55-8f0f-3f6f5d8f1c11", "not-an-id", ""])
def test_what_no_row_knows_is_set_aside_and_tagged_and_never_deleted(world: World, kind: str, disk_id: str) -> None:
    tags = {ec2.DISK: disk_id, ec2.SNAPSHOT: disk_id, ec2.ATTACHMENT: "1"}
    made = world.aws.make_volume(tags=tags) if kind == "vol" else world.aws.make_snapshot(tags=tags)

    for _ in range(3):
        reconcile(world)

    (found,) = [*world.volumes.items(), *world.ebs_snapshots.items()]
    assert quarantine(world) == {made: found[1]["tags"][ec2.QUARANTINED]}
    assert found[0] == made
    assert world.letters == []


def test_what_has_not_our_tags_is_none_of_our_business(world: World) -> None:
    world.aws.make_volume(tags={"Name": "a database"})
    world.aws.make_snapshot(tags={"Name": "a database"})

    reconcile(world)

    assert (len(world.volumes), len(world.ebs_snapshots), quarantine(world)) == (1, 1, {})


def test_what_is_young_is_left_alone(world: World) -> None:
    disk = world.create()
    world.aws.make_volume(tags={ec2.DISK: str(disk["disk_id"]), ec2.ATTACHMENT: "1"})
    world.aws.make_snapshot(tags={ec2.DISK: new_id(), ec2.SNAPSHOT: new_id()})

    reconcile(world, 500)

    assert (len(world.volumes), len(world.ebs_snapshots), quarantine(world)) == (1, 1, {})


def test_a_volume_that_never_was_in_a_row_is_deleted(world: World) -> None:
    disk = world.create()
    row_id = held(world)
    mine = world.volume_of()
    world.aws.make_volume(tags={ec2.DISK: str(disk["disk_id"]), ec2.ATTACHMENT: "1"})

    reconcile(world)

    assert list(world.volumes) == [mine]
    assert (quarantine(world), world.disk()["reservation_id"]) == ({}, row_id)


@pytest.mark.parametrize("how", ["attached", "used", "recorded", "later"])
def test_a_volume_that_somebody_may_have_written_to_is_not_deleted(world: World, how: str) -> None:
    disk = world.create()
    tags = {ec2.DISK: str(disk["disk_id"]), ec2.ATTACHMENT: "99" if how == "later" else "0"}
    volume_id = world.aws.make_volume(tags={**tags, **({ec2.USED: "true"} if how == "used" else {})})
    if how == "attached":
        world.aws.attach(volume_id, "i-0bb")
    if how == "recorded":
        world.conn.execute(
            "insert into public.disk_snapshots (disk_id, ebs_volume_id) values (%s, %s)", (disk["disk_id"], volume_id)
        )

    for _ in range(2):
        reconcile(world)

    assert list(world.volumes) == [volume_id]
    assert set(quarantine(world)) == {volume_id}


def test_a_duplicate_of_a_snapshot_is_set_aside_and_the_first_one_counts(world: World) -> None:
    """AWS made one, its answer got lost, and the search for it did not see it yet."""
    world.create()
    row_id = held(world)
    world.aws.blind(seconds=600)
    world.aws.fault("CreateSnapshot", times=1, after=True, drop=True)
    give_back(world, row_id)
    passing(world, 60)
    world.aws.blind()
    made = set(world.ebs_snapshots)

    reconcile(world)

    (snapshot,) = world.snapshots()
    assert len(made) == 2
    assert (snapshot["status"], world.disk()["status"]) == ("completed", "available")
    assert set(quarantine(world)) == made - {snapshot["ebs_snapshot_id"]}
    assert set(world.ebs_snapshots) == made
    assert str(*quarantine(world).values()) == f"a duplicate: {snapshot['ebs_snapshot_id']} is the one that counts"


def test_a_snapshot_that_its_row_says_is_deleted_is_set_aside(world: World) -> None:
    world.create()
    filled(world, times=2)
    first = world.snapshots()[0]
    for status in ("deleting", "deleted"):
        world.conn.execute(
            "update public.disk_snapshots set status = %s where snapshot_id = %s", (status, first["snapshot_id"])
        )

    reconcile(world)

    assert quarantine(world) == {first["ebs_snapshot_id"]: "its row says deleted"}


def test_two_comparisons_at_once_set_a_thing_aside_once(world: World) -> None:
    world.aws.make_volume(tags={ec2.DISK: new_id()})
    world.later(601)
    for _ in range(2):
        send(world.conn, QUEUE, {"action": "reconcile"})
        send(world.conn, QUEUE, {"action": "suspect", "resource_id": next(iter(world.volumes))})

    world.run()

    assert len(quarantine(world)) == 1
    assert world.letters == []


def test_what_went_from_quarantine_is_noted_and_so_is_its_return(world: World) -> None:
    volume_id = world.aws.make_volume(tags={ec2.DISK: new_id()})
    reconcile(world)
    world.aws.forget(volume_id)

    reconcile(world)

    assert world.one("select gone_at is null as there from public.disk_quarantine")["there"] is False


# Rows know what AWS does not have.


def test_a_volume_deleted_by_hand_is_lost_only_after_two_looks_an_hour_apart(world: World) -> None:
    another_disk(world)
    world.create()
    row_id = held(world)
    world.aws.forget(world.volume_of())

    reconcile(world)
    first = world.disk()
    reconcile(world, 3500)
    second = world.disk()
    reconcile(world, 101)

    assert first["volume_missing_since"] is not None
    assert (first["volume_lost_at"], second["volume_lost_at"]) == (None, None)
    assert world.disk()["volume_lost_at"] is not None
    assert "VOLUME_LOST" in world.disk()["detail"]
    give_back(world, row_id)
    passing(world, 60)
    assert world.disk()["status"] == "available"


def test_a_snapshot_deleted_by_hand_is_lost_only_after_two_looks_an_hour_apart(world: World) -> None:
    world.create()
    filled(world, times=2)
    lost = world.snapshots()[0]
    world.aws.forget(lost["ebs_snapshot_id"])

    reconcile(world)
    first = world.snapshots()[0]
    reconcile(world, 3500)
    second = world.snapshots()[0]
    reconcile(world, 101)

    assert first["missing_since"] is not None
    assert (first["status"], second["status"]) == ("completed", "completed")
    last = world.snapshots()[0]
    assert (last["status"], last["lost_at"] is not None, world.disk()["snapshot_count"]) == ("deleted", True, 1)


def another_disk(world: World) -> None:
    """A listing that shows nothing of what is known proves nothing: here it shows this disk's snapshot."""
    world.create("another")
    world.used("another")


def test_where_nothing_at_all_is_shown_nothing_is_believed_to_be_lost(world: World) -> None:
    world.create()
    filled(world)
    world.aws.forget(world.snapshots()[0]["ebs_snapshot_id"])

    for _ in range(2):
        reconcile(world, 3601)

    assert [row["status"] for row in world.snapshots()] == ["completed"]


def test_the_last_snapshot_that_is_lost_makes_no_empty_home(world: World) -> None:
    another_disk(world)
    world.create()
    filled(world)
    world.aws.forget(world.snapshots()[0]["ebs_snapshot_id"])
    for _ in range(2):
        reconcile(world, 3601)

    row_id = world.reserve()
    passing(world, 30)

    assert world.disk()["snapshot_count"] == 0
    assert world.status(row_id) == "failed"
    assert world.volumes == {}


@pytest.mark.parametrize("listing", ["DescribeVolumes", "DescribeSnapshots"])
@pytest.mark.parametrize("status", [500, 400])
def test_a_listing_that_fails_in_the_middle_marks_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, listing: str, status: int
) -> None:
    monkeypatch.setattr(ec2, "VOLUME_PAGE", 5)
    monkeypatch.setattr(ec2, "SNAPSHOT_PAGE", 5)
    world.create()
    filled(world)
    held(world)
    world.aws.populate([{"tags": {ec2.DISK: new_id()}}] * 8, [{"tags": {ec2.DISK: new_id()}}] * 8)
    world.later(601)
    world.aws.forget(world.volume_of())
    world.aws.forget(world.snapshots()[0]["ebs_snapshot_id"])
    world.aws.fault(listing, times=1, status=None)
    world.aws.fault(listing, times=5, status=status, code="InternalError")

    send(world.conn, QUEUE, {"action": "reconcile"})
    world.disks.run_once()

    # Where the server itself is in trouble, it was asked about nobody, too: for volumes.
    asked = 2 if (status, listing) == (500, "DescribeVolumes") else 1
    assert world.aws.state()["faults_left"] == 5 - asked
    assert quarantine(world) == {}
    assert (world.disk()["volume_missing_since"], world.snapshots()[0]["missing_since"]) == (None, None)


def test_what_turns_up_again_is_not_missing_any_more(world: World) -> None:
    world.create()
    filled(world)
    held(world)
    world.conn.execute("update public.disks set volume_missing_since = now()")
    world.conn.execute("update public.disk_snapshots set missing_since = now()")

    for kind, row_id in (("disk", world.disk()["disk_id"]), ("snapshot", world.snapshots()[0]["snapshot_id"])):
        send(world.conn, QUEUE, {"action": f"advance_{kind}", f"{kind}_id": str(row_id), "ticket": -1})
    world.run()

    assert (world.disk()["volume_missing_since"], world.snapshots()[0]["missing_since"]) == (None, None)


# Any order of events.

PEOPLE = ("ada", "bob")
NAMES = ("data", "work")
FAULTS: tuple[dict[str, Any], ...] = (
    {"action": "CreateVolume", "status": 400, "code": "VolumeLimitExceeded"},
    {"action": "CreateVolume", "after": True, "drop": True},
    {"action": "CreateVolume", "status": 500},
    {"action": "CreateSnapshot", "after": True, "drop": True},
    {"action": "CreateSnapshot", "status": 400, "code": "PendingSnapshotLimitExceeded"},
    {"action": "CreateSnapshot", "status": 400, "code": "InvalidParameterValue"},
    {"action": "CopySnapshot", "status": 500},
    {"action": "DeleteVolume", "after": True, "drop": True},
    {"action": "DeleteVolume", "status": 400, "code": "VolumeInUse"},
    {"action": "DescribeVolumes", "status": 400, "code": "InvalidVolume.NotFound"},
    {"action": "DescribeSnapshots", "status": 400, "code": "InvalidSnapshot.NotFound"},
    {"action": "Describe.*", "status": 503},
    {"action": "DeleteSnapshot", "status": 400, "code": "InvalidSnapshot.InUse"},
    {"action": "(PUT|DELETE) .*", "status": 500},
    {"action": "CreateTags", "status": 503},
)
NOBODY_LOOKS_AFTER = """
select 'operation', operation_id::text, status from public.disk_operations
where status in ('pending', 'in_progress')
union all
select 'snapshot', snapshot_id::text, status from public.disk_snapshots
where status in ('pending', 'creating', 'deleting')
union all
select 'disk', disk_id::text, status from public.disks
where status = 'creating' or status = 'attached' and release_asked_at is not null
union all
select 'reservation', reservation_id, status from public.reservations
where reservation_ended is null and status in ('cancelled', 'failed', 'expired', 'preparing')
"""


STILL_WANTED = """
select reservation_id, user_id from public.reservations
where reservation_ended is null and status in ('pending', 'queued', 'preparing', 'active')
"""


class Life:
    """What people ask for, faults, lost messages and time in any order; two workers of each kind, one of them slow."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.dice = world, random.Random(seed)
        self.used: set[str] = set()
        self.hands: list[tuple[Worker, Any]] = []
        self.slow = [self.another(world.disks), self.another(world.reservations)]

    def another(self, worker: Worker) -> Worker:
        return Worker(replace(worker.running, leases=Leases(worker.running.settings.lease_s)))

    def live(self, steps: int) -> None:
        often = [self.reserve, self.cancel, self.turn, self.turn, self.work_on_all, self.work_on_all, self.wait]
        rules = [*often, *often, self.create, self.snapshot, self.delete, self.undelete, self.clone, self.restore]
        rules += [self.clear_lock, self.break_down, self.break_down, self.hold, self.let_go, self.fail, self.sweep]
        rules += [self.lose_a_message, self.take_in_hand, self.answer_what_is_in_hand]
        for _ in range(steps):
            self.dice.choice(rules)()
            self.holds()

    def person(self) -> str:
        return self.dice.choice(PEOPLE)

    def name(self) -> str:
        return self.dice.choice(NAMES)

    # What may happen.

    def create(self) -> None:
        self.world.ask("create_disk", self.name(), self.person(), size_gb=self.dice.randint(10, 40))

    def reserve(self) -> None:
        gpus = self.dice.choice([{}, {}, {"gpu_type": "h100", "gpu_count": 8}])
        self.world.reserve(self.name(), self.person(), **gpus)

    def cancel(self) -> None:
        rows = self.world.all("select reservation_id, user_id from public.reservations where reservation_ended is null")
        if rows:
            row = self.dice.choice(rows)
            self.world.cancel(row["reservation_id"], row["user_id"])

    def snapshot(self) -> None:
        self.world.ask("snapshot_disk", self.name(), self.person())

    def delete(self) -> None:
        self.world.ask("delete_disk", self.name(), self.person())

    def undelete(self) -> None:
        self.world.ask("undelete_disk", self.name(), self.person())

    def clear_lock(self) -> None:
        self.world.ask("clear_disk_lock", self.name(), self.person())

    def clone(self) -> None:
        target = self.dice.choice([*NAMES, "copy"])
        self.world.ask("clone_disk", user=self.person(), source_disk=self.name(), target_disk=target)

    def restore(self) -> None:
        rows = self.world.all("select snapshot_id from public.disk_snapshots")
        if rows:
            wanted = str(self.dice.choice(rows)["snapshot_id"])
            self.world.ask("restore_disk", self.name(), self.person(), snapshot_id=wanted)

    def break_down(self) -> None:
        if self.dice.random() < 0.2:
            self.world.box.fault("/api/v1/", times=self.dice.randint(1, 2), status=503)
        else:
            self.world.aws.fault(**{**self.dice.choice(FAULTS), "times": self.dice.randint(1, 3)})

    def hold(self) -> None:
        if self.dice.random() < 0.7:
            self.world.aws.hold_snapshots(self.dice.randint(0, 99))
        else:
            self.world.aws.hold_volumes()

    def let_go(self) -> None:
        self.world.aws.hold_snapshots(None)
        self.world.aws.complete_snapshots()
        self.world.aws.hold_volumes(held=False)
        self.world.aws.complete_volumes()

    def fail(self) -> None:
        self.world.aws.fail_snapshots()

    def sweep(self) -> None:
        send(self.world.conn, QUEUE, {"action": self.dice.choice(["sweep", "reconcile", "prune"])})

    def wait(self) -> None:
        self.world.pass_time(self.dice.choice([1, 6, 11, 31, 61, 61, 301, 601, 3601, 5 * 3600, 8 * DAY_S]))

    def lose_a_message(self) -> None:
        queue = self.dice.choice(["q_disk_operations", "q_gpu_reservations"])
        self.world.conn.execute(
            f"delete from pgmq.{queue} where msg_id in (select msg_id from pgmq.{queue}"
            " where message->>'action' like 'advance%%' or message->>'action' in ('proceed', 'admit')"
            " order by msg_id offset %s limit 1)".encode(),
            (self.dice.randint(0, 3),),
        )

    def take_in_hand(self) -> None:
        worker = self.dice.choice(self.slow)
        if hand := worker.claim(self.dice.randint(1, 3)):
            self.hands.append((worker, hand))

    def answer_what_is_in_hand(self) -> None:
        """Much may have changed since; the lease may be over."""
        hands, self.hands = self.hands, []
        for worker, hand in hands:
            work(worker.running, hand)

    def turn(self) -> None:
        self.dice.choice([self.world.disks, self.world.reservations]).run_once(self.dice.choice([1, 3, 50]))

    def work_on_all(self) -> None:
        self.world.run()

    # What has to hold.

    def holds(self) -> None:
        world = self.world
        assert_sound(world.conn)
        assert_reservations_sound(world.conn)
        volumes = world.volumes
        self.used |= {volume_id for volume_id, volume in volumes.items() if ec2.USED in volume["tags"]}
        # One that nobody has had may be left of an attachment that was given up; it goes.
        disks = [volume["tags"][ec2.DISK] for volume in volumes.values() if ec2.USED in volume["tags"]]
        assert len(disks) == len(set(disks)), "a disk with two volumes"
        kept = world.all("select ebs_volume_id from public.disk_snapshots where completed_at is not null")
        assert self.used <= {row["ebs_volume_id"] for row in kept} | set(volumes), "what was written is lost"
        completed = world.all("select ebs_snapshot_id from public.disk_snapshots where status = 'completed'")
        assert {row["ebs_snapshot_id"] for row in completed} <= set(world.ebs_snapshots)
        assert world.all("select disk_name from public.disks where volume_lost_at is not null") == []

    def end(self) -> None:
        """The faults are mended, and all that waits has its turns."""
        self.world.aws.clear_faults()
        self.world.box.clear_faults()
        self.let_go()
        self.answer_what_is_in_hand()
        for turn in range(16):
            # Who was still in the queue comes now.
            for row in self.world.all(STILL_WANTED):
                self.world.cancel(row["reservation_id"], row["user_id"])
            self.world.pass_time(95 if turn < 8 else 1801)
            for action in ("sweep", "reconcile"):
                send(self.world.conn, QUEUE, {"action": action})
            send(self.world.conn, "gpu_reservations", {"action": "sweep"})
            self.world.run()
            self.holds()
            if not self.world.all(NOBODY_LOOKS_AFTER) and not self.world.volumes:
                break
        assert self.world.all(NOBODY_LOOKS_AFTER) == []
        assert self.world.volumes == {}


@pytest.mark.parametrize("seed", range(int(os.environ.get("LIFE_SEEDS", "8"))))
def test_no_order_of_events_loses_what_was_written(world: World, seed: int) -> None:
    life = Life(world, seed)

    life.live(50)

    life.end()


def test_a_sweep_that_is_put_off_for_ever_can_still_be_asked_for(world: World) -> None:
    """No driver reads infinity, which is how an operator switches off what comes by itself."""
    world.conn.execute("update public.periodic set next_at = 'infinity'")

    reconcile(world)

    assert world.letters == []
    assert world.all("select 1 from public.periodic where name = 'disk.reconcile' and done_at is not null") == [
        {"?column?": 1}
    ]
