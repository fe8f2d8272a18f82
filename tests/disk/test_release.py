"""The end of an attachment: what a volume held is in a completed snapshot before anything of it goes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pgfleet.console.sandbox.aws.handle import BUCKET
from pgfleet.schema.environment.fleet import pod_name
from pgfleet.workers.disk import machine as disk_worker
from pgfleet.workers.disk import snapshot as disk_snapshot
from pgfleet.workers.runtime.outcomes import Outcome
from worlds.disks import QUEUE, TYPE, World, done, history, objects, refused
from worlds.fleet import Worker, lose_row, move_clock, new_id, send

DAY_S = 24 * 3600
NAMESPACE = "gpu-dev"


def free(world: World) -> dict[str, Any]:
    """The disk when it is free again."""
    world.until(lambda: world.disk()["status"] == "available", what="the release of the disk")
    return world.disk()


def nothing_is_left(world: World) -> None:
    assert world.volumes == {}
    state = world.box.state()
    assert (state["objects"]["pods"], state["volumes"], state["claims"]) == (0, {}, {})
    assert world.one("select count(*) from public.reservations where reservation_ended is null")["count"] == 0


def kept(world: World, kind: str) -> None:
    """What the one reservation has left is in one snapshot, and nowhere else."""
    (snapshot,) = world.snapshots()
    assert (snapshot["status"], snapshot["kind"]) == ("completed", kind)
    assert world.ebs_snapshots[snapshot["ebs_snapshot_id"]]["volume"] == snapshot["ebs_volume_id"]
    nothing_is_left(world)


# Every way to end.


def test_a_reservation_that_is_cancelled_while_it_waits_never_touches_the_disk(world: World) -> None:
    world.create()
    in_the_way = world.held()
    row_id = world.reserve()
    world.until(lambda: world.status(row_id) == "queued")

    world.cancel(row_id)
    world.over(row_id)

    assert (world.disk()["reservation_id"], len(world.volumes)) == (in_the_way, 1)
    assert world.aws.requests("CreateSnapshot") == 0


def test_a_reservation_that_is_cancelled_as_it_comes_leaves_its_new_disk(world: World) -> None:
    row_id = world.reserve("data", disk_size_gb=30)
    world.until(lambda: world.status(row_id))

    world.cancel(row_id)
    world.over(row_id)

    assert (free(world)["size_gb"], world.volumes) == (30, {})


POINTS: dict[str, Callable[[World, str], Any]] = {
    "admitted": lambda world, row_id: world.status(row_id) == "preparing",
    "zone told": lambda world, _: world.disk()["ebs_availability_zone"],
    "volume asked for": lambda world, _: world.volume_of(),
    "home made": lambda world, _: world.box.state()["claims"],
    "pod made": lambda world, _: world.box.state()["objects"]["pods"],
}


@pytest.mark.parametrize("point", POINTS)
def test_a_reservation_that_is_cancelled_while_it_is_prepared_leaves_nothing(world: World, point: str) -> None:
    world.create()
    row_id = world.reserve()
    if point == "volume asked for":
        world.aws.hold_volumes()
    world.until(lambda: POINTS[point](world, row_id), what=point)

    world.cancel(row_id)
    world.reservations.run_once()
    world.aws.complete_volumes()
    world.over(row_id)
    free(world)

    nothing_is_left(world)
    assert len(world.ebs_snapshots) <= 1
    assert world.letters == []


def test_an_active_reservation_that_is_cancelled_is_kept_with_its_listing(world: World) -> None:
    world.create()
    row_id = world.active()
    world.box.contents(NAMESPACE, pod_name(row_id), "3.4G\t/home/dev\n/home/dev\n`-- thesis.tex\n")
    world.cancel(row_id)
    world.over(row_id)
    disk = free(world)
    world.run()

    (snapshot,) = world.snapshots()
    key = f"{BUCKET}/disks/{disk['disk_id']}/{snapshot['snapshot_id']}.txt"
    kept(world, "cancellation")
    assert objects(world) == [key]
    assert "thesis.tex" in str(world.aws.state()["objects"][key])
    assert snapshot["content_s3"] == world.disk()["latest_snapshot_content_s3"] == f"s3://{key}"
    assert (disk["disk_size"], snapshot["contents"]) == ("3.4G", None)


def test_a_reservation_that_expires_is_kept(world: World) -> None:
    world.create()
    row_id = world.active(duration_hours=0.5)

    world.later(30 * 60 + 121)
    row = world.over(row_id)

    assert row["status"] == "expired"
    free(world)
    kept(world, "shutdown")


def test_a_reservation_whose_pod_is_lost_is_kept(world: World) -> None:
    world.create()
    row_id = world.active()
    world.box.behave(NAMESPACE, pod_name(row_id), "vanish")

    world.later(700)
    world.later(61)
    world.later(61)
    row = world.over(row_id)

    assert row["status"] == "expired"
    assert row["status_reason"].startswith("POD_LOST: ")
    free(world)
    kept(world, "shutdown")


def test_a_reservation_whose_image_cant_be_pulled_is_kept_all_the_same(world: World) -> None:
    """A pod may have had the volume."""
    world.create()
    row_id = world.reserve(dockerimage="example/missing:1")
    world.until(lambda: "ImagePullBackOff" in (world.reservation(row_id)["current_detailed_status"] or ""))

    world.later(301)
    row = world.over(row_id)

    assert (row["status"], "ImagePullBackOff" in row["failure_reason"]) == ("failed", True)
    free(world)
    kept(world, "shutdown")


def test_a_reservation_that_is_stuck_is_kept_all_the_same(world: World) -> None:
    world.create()
    row_id = world.reserve()
    world.aws.hold_volumes()
    world.until(world.volume_of)

    move_clock(world.conn, 3601)
    world.until(lambda: world.status(row_id) == "failed")
    world.aws.complete_volumes()
    row = world.over(row_id)

    assert row["failure_reason"] == "not ready within 60 minutes; last: Making the volume of disk data"
    free(world)
    nothing_is_left(world)


def test_volumes_that_aws_drops_again_and_again_are_told(world: World) -> None:
    """As where the key that encrypts them is switched off: each is asked for well, and gone a moment later."""
    world.create()
    world.aws.hold_volumes()
    row_id, shown, statuses = world.reserve(), set(), set()
    for _ in range(150):
        world.run()
        for volume_id in list(world.volumes):
            world.aws.forget(volume_id)
        world.pass_time(37)
        shown.add(world.reservation(row_id)["current_detailed_status"])
        statuses.add(world.status(row_id))
    world.aws.hold_volumes(held=False)
    world.until(lambda: world.status(row_id) == "active")

    assert "Making the volume of disk data: AWS could not make 3 volumes, and is asked again" in shown
    assert statuses == {"preparing", "queued"}, "it fails for nothing, and holds no GPUs for ever"


def test_a_reservation_that_fails_with_its_dead_letter_gives_its_disk_back(world: World) -> None:
    world.create()
    row_id = world.reserve(github_user="ada")
    world.box.fault("ssh-keys", times=1, status=404)

    row = world.over(row_id)

    assert (row["status"], len(world.letters)) == ("failed", 1)
    free(world)
    nothing_is_left(world)


def test_a_reservation_that_waited_for_its_disk_for_48_hours_is_cancelled(world: World) -> None:
    world.create()
    holder = world.held()
    row_id = world.reserve()
    world.until(lambda: world.status(row_id) == "queued")

    world.later(48 * 3600 + 61)
    world.later(61)
    row = world.over(row_id)

    assert row["status"] == "cancelled"
    assert world.disk()["reservation_id"] == holder


def test_a_reservation_that_is_cancelled_on_its_way_back_to_the_line_ends_with_its_disk(world: World) -> None:
    """It has given its disk back, but the snapshot takes its time."""
    world.box.add_nodes("cpu-arm", 1, 0, cpu=1, memory_gb=1)
    world.create()
    row_id = world.reserve(gpu_type="cpu-arm")
    world.until(
        lambda: (
            "No node yet" in str(world.reservation(row_id)["current_detailed_status"]) if world.status(row_id) else 0
        )
    )
    world.aws.hold_snapshots()
    move_clock(world.conn, 95)
    world.until(lambda: world.status(row_id) == "queued")

    world.cancel(row_id)
    world.until(lambda: world.status(row_id) == "cancelled")
    early = world.reservation(row_id)["reservation_ended"]
    world.until(lambda: world.snapshots()[0]["status"] == "creating")
    world.aws.complete_snapshots()
    world.over(row_id)

    assert early is None, "it is not over before its disk is released"
    free(world)
    kept(world, "migration")


# The listing.


def test_a_listing_that_fails_holds_nothing_up(world: World) -> None:
    world.create()
    row_id = world.active()
    world.box.contents(NAMESPACE, pod_name(row_id), "", failure="no such container")

    world.cancel(row_id)
    world.until(lambda: world.status(row_id) == "cancelled")
    move_clock(world.conn, 61)
    world.over(row_id)

    free(world)
    kept(world, "cancellation")
    assert objects(world) == []
    assert world.letters == []


def test_a_listing_that_hangs_holds_the_release_up_for_a_minute_at_most(world: World) -> None:
    world.create()
    row_id = world.active()
    world.box.contents(NAMESPACE, pod_name(row_id), "x" * 100, delay_s=20)
    bench = world.reservations.running
    impatient = replace(bench.tools.homes, contents_timeout_s=0.3)
    hurried = replace(world, reservations=Worker(replace(bench, tools=replace(bench.tools, homes=impatient))))

    world.cancel(row_id)
    hurried.until(lambda: world.status(row_id) == "cancelled")
    move_clock(world.conn, 61)
    hurried.over(row_id)

    hurried.until(lambda: world.disk()["status"] == "available")
    kept(world, "cancellation")


def test_s3_that_does_not_answer_holds_up_the_listing_only(world: World) -> None:
    world.create()
    world.aws.fault(f"PUT /{BUCKET}/.*", times=3, status=500)
    row_id = world.active()

    world.cancel(row_id)
    world.over(row_id)
    free(world)
    world.until(lambda: objects(world), what="the listing in S3")

    kept(world, "cancellation")
    assert world.letters == []


def test_a_bucket_that_is_not_there_costs_a_listing_and_no_more_than_one_dead_letter(world: World) -> None:
    world.create()
    world.aws.fault(f"PUT /{BUCKET}/.*", times=50, status=404, code="NoSuchBucket")
    row_id = world.active()
    world.cancel(row_id)
    world.over(row_id)
    free(world)

    for _ in range(4):
        world.later(61)
        world.sweep()

    kept(world, "cancellation")
    assert len(world.letters) <= 1


# The snapshot, and the volume.


def test_a_volume_that_is_still_attached_is_waited_for_and_nothing_is_deleted(world: World) -> None:
    """Failure 10."""
    world.create()
    row_id = world.held()
    volume_id = world.volume_of()
    world.aws.attach(volume_id, "i-0aa")
    world.given_back(row_id)
    for _ in range(3):
        world.later(61)
    during = world.disk(), world.aws.requests("CreateSnapshot"), world.aws.requests("DeleteVolume")

    world.aws.detach(volume_id)
    world.later(61)
    free(world)

    assert (during[0]["status"], during[0]["in_use"], during[1:]) == ("attached", True, (0, 0))
    assert during[0]["ebs_volume_id"] == volume_id
    kept(world, "cancellation")


def test_a_volume_that_is_attached_after_its_snapshot_is_not_deleted(world: World) -> None:
    world.create()
    row_id = world.held()
    volume_id = world.volume_of()
    world.aws.hold_snapshots()
    world.given_back(row_id)
    world.until(lambda: world.ebs_snapshots)
    world.aws.attach(volume_id, "i-0aa")

    world.aws.complete_snapshots()
    world.until(lambda: "still attached to i-0aa" in str(world.disk()["detail"]))

    assert list(world.volumes) == [volume_id]
    assert world.aws.requests("DeleteVolume") == 0
    world.aws.detach(volume_id)
    free(world)


def test_a_snapshot_that_fails_is_taken_again_and_the_volume_stays(world: World) -> None:
    world.create()
    row_id = world.held()
    volume_id = world.volume_of()
    world.aws.hold_snapshots()
    world.given_back(row_id)
    for number in range(1, 4):
        fails(world, f"error {number}")
        assert list(world.volumes) == [volume_id]
        world.later(601)

    world.aws.hold_snapshots(None)
    world.aws.complete_snapshots()
    free(world)

    assert [snapshot["status"] for snapshot in world.snapshots()] == ["failed"] * 3 + ["completed"]
    assert [snapshot["failure_reason"] for snapshot in world.snapshots()] == ["error 1", "error 2", "error 3", None]
    nothing_is_left(world)


def fails(world: World, message: str) -> None:
    """The snapshot that is under way ends as an error."""
    world.until(lambda: "pending" in {snapshot["state"] for snapshot in world.ebs_snapshots.values()})
    world.aws.fail_snapshots(message=message)
    world.until(lambda: message in str(world.disk()["detail"]))


@pytest.mark.parametrize("code", ["PendingSnapshotLimitExceeded", "SnapshotCreationPerVolumeRateExceeded"])
def test_a_limit_of_snapshots_is_waited_for(world: World, code: str) -> None:
    world.create()
    world.aws.fault("CreateSnapshot", times=3, status=400, code=code)
    world.given_back(world.held())

    for _ in range(4):
        world.later(61)
    free(world)

    kept(world, "cancellation")
    assert world.aws.requests("CreateSnapshot") == 4
    assert world.letters == []


def test_a_limit_that_is_met_twice_costs_seconds(world: World) -> None:
    world.create()
    world.aws.fault("CreateSnapshot", times=2, status=400, code="PendingSnapshotLimitExceeded")
    world.given_back(world.held())
    world.until(lambda: world.aws.requests("CreateSnapshot") == 1)

    world.later(7)
    world.later(13)

    assert world.aws.requests("CreateSnapshot") == 3
    assert world.snapshots()[0]["status"] in ("creating", "completed")


def test_a_snapshot_may_take_three_hours_and_gpus_are_free_at_once(world: World) -> None:
    world.create()
    world.aws.hold_snapshots(1)
    row_id = world.active(gpu_type="h100", gpu_count=2)

    world.cancel(row_id)
    world.until(lambda: world.disk()["release_snapshot_id"])
    at_once = world.reservation(row_id)
    for _ in range(6):
        world.later(1800)
        world.sweep()
    later = world.reservation(row_id), world.disk()["status"], len(world.volumes)
    world.aws.complete_snapshots()
    row = world.over(row_id)

    assert (at_once["gpus_held"], at_once["reservation_ended"]) == (0, None)
    assert world.one("select held_gpus from public.gpu_types where gpu_type = 'h100'")["held_gpus"] == 0
    assert (later[0]["reservation_ended"], later[1:]) == (None, ("attached", 1))
    assert (row["reservation_ended"] - row["cancelled_at"]).total_seconds() > 3 * 3600
    assert world.aws.requests("CreateSnapshot") == 1
    kept(world, "cancellation")


def test_an_answer_that_got_lost_makes_no_second_snapshot(world: World) -> None:
    world.create()
    world.aws.fault("CreateSnapshot", times=1, after=True, drop=True)

    world.filled()

    assert len(world.ebs_snapshots) == 1


# A volume that AWS does not have.


def gone(world: World, times: int = 1) -> None:
    world.aws.fault("DescribeVolumes", times=times, status=400, code="InvalidVolume.NotFound")


def nudged(world: World) -> None:
    """As a comparison with AWS does that has not found it."""
    send(world.conn, QUEUE, {"action": "advance_disk", "disk_id": str(world.disk()["disk_id"]), "ticket": -1})
    world.run()


def test_while_aws_is_away_it_says_of_no_volume_that_it_is_gone(world: World) -> None:
    world.create()
    row_id = world.held()
    world.aws.forget(world.volume_of())
    world.given_back(row_id)
    world.until(lambda: world.disk()["volume_missing_since"])
    world.conn.execute(
        "insert into public.outages (dependency, calls, queue, code, reason, retry_at, ended_at)"
        " values ('aws.ec2', 'read', 'disk_operations', 'AWS_UNREACHABLE', 'away', public.fleet_now(),"
        " public.fleet_now() + interval '3000 seconds')"
    )
    world.later(3601)
    during = world.disk()

    world.later(3001)

    assert (during["status"], during["volume_lost_at"]) == ("attached", None)
    assert str(free(world)["status_reason"]).startswith("VOLUME_LOST: ")


def test_a_volume_that_is_gone_is_lost_only_after_an_hour(world: World) -> None:
    world.create()
    row_id = world.held()
    world.aws.forget(world.volume_of())
    world.given_back(row_id)
    world.until(lambda: world.disk()["volume_missing_since"])
    world.later(3500)
    early = world.disk()["status"]

    world.later(101)
    disk = free(world)
    world.run()

    assert early == "attached"
    assert str(disk["status_reason"]).startswith("VOLUME_LOST: ")
    nothing_is_left(world)


def test_an_error_says_nothing_about_a_volume(world: World) -> None:
    world.create()
    row_id = world.held()
    for status, code in ((500, "InternalError"), (403, "UnauthorizedOperation"), (400, "InvalidParameterValue")):
        world.aws.fault("DescribeVolumes", times=3, status=status, code=code)
    world.given_back(row_id)
    for _ in range(12):
        world.later(301)
        world.sweep()

    free(world)

    assert numbered(world)[-1] == "completed"
    nothing_is_left(world)


def test_a_volume_that_seemed_gone_is_not_lost_at_the_next_single_look(world: World) -> None:
    """Missing, seen, and minutes later missing once more: two looks, but not of one absence."""
    world.create()
    row_id = world.held()
    volume_id = world.volume_of()
    gone(world, 2)
    world.given_back(row_id)
    world.until(lambda: world.disk()["volume_missing_since"])
    world.aws.hold_snapshots()
    world.later(61)
    world.until(lambda: "pending" in {snapshot["state"] for snapshot in world.ebs_snapshots.values()})
    world.later(600)

    world.aws.fail_snapshots()
    world.until(lambda: [snapshot["status"] for snapshot in world.snapshots()] == ["failed"] * 2)
    gone(world)
    world.until(lambda: world.aws.state()["faults_left"] == 0)
    world.run()

    assert (world.disk()["status"], world.disk()["ebs_volume_id"]) == ("attached", volume_id)
    assert world.disk()["volume_lost_at"] is None


def test_a_volume_that_was_used_and_comes_back_from_the_lost_is_not_deleted(world: World) -> None:
    """A wrong region for ten minutes must not cost what was written."""
    world.create()
    row_id = world.held()
    volume_id = world.volume_of()
    for _ in range(2):
        gone(world)
        nudged(world)
        move_clock(world.conn, 3601)
    assert world.disk()["volume_lost_at"] is not None
    gone(world)
    world.given_back(row_id)
    free(world)

    for _ in range(2):
        world.later(601)
        world.sweep("reconcile")

    assert list(world.volumes) == [volume_id]
    assert [row["resource_id"] for row in world.all("select * from public.disk_quarantine")] == [volume_id]


# Rows that are missing.


def test_without_the_reservations_row_nothing_is_deleted(world: World) -> None:
    """Failure 9."""
    world.create()
    row_id = world.held()
    volume_id = world.volume_of()
    lose_row(world.conn, row_id)

    send(world.conn, "gpu_reservations", {"action": "advance", "reservation_id": row_id, "ticket": -1})
    for _ in range(3):
        world.later(601)
        world.sweep()
        world.sweep("reconcile")

    assert list(world.volumes) == [volume_id]
    assert (world.disk()["status"], world.disk()["ebs_volume_id"]) == ("attached", volume_id)
    assert world.aws.requests("DeleteVolume") == 0


def test_without_the_disks_row_nothing_is_deleted(world: World) -> None:
    """Failure 9."""
    world.create()
    world.filled()
    row_id = world.held()
    disk_id, snapshot = world.disk()["disk_id"], world.snapshots()[0]
    volume_id, deleted = world.volume_of(), world.aws.requests("DeleteVolume")
    with world.conn.transaction():
        world.conn.execute("set local session_replication_role = replica")
        for table in ("disk_operations", "disk_snapshots", "disks"):
            world.conn.execute(f"delete from public.{table}".encode())
    world.conn.execute("update public.reservations set status = 'cancelled' where reservation_id = %s", (row_id,))

    send(world.conn, "gpu_reservations", {"action": "advance", "reservation_id": row_id, "ticket": -1})
    send(world.conn, QUEUE, {"action": "advance_disk", "disk_id": str(disk_id), "ticket": -1})
    send(world.conn, QUEUE, {"action": "advance_snapshot", "snapshot_id": str(snapshot["snapshot_id"]), "ticket": -1})
    world.run()
    for _ in range(2):
        world.later(601)
        world.sweep("reconcile")

    assert list(world.volumes) == [volume_id]
    assert list(world.ebs_snapshots) == [snapshot["ebs_snapshot_id"]]
    assert world.aws.requests("DeleteVolume") == deleted
    assert world.aws.requests("DeleteSnapshot") == 0
    world.conn.execute("delete from public.status_history")


@pytest.mark.parametrize("status", ["available", "attached"])
def test_a_hand_that_forgets_a_volume_is_refused(world: World, status: str) -> None:
    world.create()
    world.held()
    forget = "update public.disks set ebs_volume_id = null, reservation_id = null, status = %s"

    with pytest.raises(psycopg.Error) as refusal:
        world.conn.execute(forget.encode(), (status,))

    assert refusal.value.sqlstate == "PF006"
    assert "no completed snapshot of it is on record" in str(refusal.value)


def test_a_hand_that_passes_a_disk_on_is_refused(world: World) -> None:
    world.create()
    world.held()
    other = world.reserve(None)
    world.until(lambda: world.status(other))

    with pytest.raises(psycopg.Error) as refusal:
        world.conn.execute("update public.disks set reservation_id = %s", (other,))

    assert refusal.value.sqlstate == "PF005"


# Retention: failure 8.


def prune(world: World) -> None:
    world.sweep("prune")
    world.until(lambda: not world.all("select from public.disk_snapshots where status = 'deleting'"))


def numbered(world: World) -> list[str]:
    """The states of the disk's snapshots, oldest first."""
    return [snapshot["status"] for snapshot in world.snapshots()]


def test_three_snapshots_are_kept_and_older_ones_go_after_seven_days(world: World) -> None:
    world.create()
    world.filled(times=5)
    world.later(6 * DAY_S)
    prune(world)
    young = numbered(world)

    world.later(DAY_S + 61)
    prune(world)
    prune(world)

    assert young == ["completed"] * 5
    assert numbered(world) == ["deleted"] * 2 + ["completed"] * 3
    assert len(world.ebs_snapshots) == world.disk()["snapshot_count"] == 3


def test_the_only_snapshot_of_a_disk_is_never_taken_however_old(world: World) -> None:
    world.create()
    world.filled()

    world.later(400 * DAY_S)
    prune(world)
    (snapshot,) = world.snapshots()
    send(world.conn, QUEUE, {"action": "prune_snapshot", "snapshot_id": str(snapshot["snapshot_id"])})
    world.run()

    assert numbered(world) == ["completed"]
    with pytest.raises(psycopg.Error) as refusal:
        world.conn.execute("update public.disk_snapshots set status = 'deleting'")
    assert refusal.value.sqlstate == "PF006"


def test_what_a_volume_is_made_from_and_what_is_restored_next_is_kept(world: World) -> None:
    world.create()
    world.filled(times=5)
    oldest, second, *_ = world.snapshots()
    world.tell("restore_disk", snapshot_id=str(oldest["snapshot_id"]))
    world.later(8 * DAY_S)
    prune(world)
    restored_next = numbered(world)

    row_id = world.held()
    prune(world)
    in_use = numbered(world)
    world.given_back(row_id)
    free(world)
    prune(world)

    assert restored_next == ["completed", "deleted", "completed", "completed", "completed"]
    assert in_use[0] == "completed"
    assert numbered(world)[0] == "deleted"
    assert second["snapshot_id"] != oldest["snapshot_id"]


def test_what_is_being_copied_is_kept(world: World) -> None:
    world.create()
    world.filled(times=4)
    world.tell("restore_disk", snapshot_id=str(world.snapshots()[0]["snapshot_id"]))
    world.aws.hold_snapshots()
    world.ask("clone_disk", source_disk="data", target_disk="copy")
    world.until(lambda: [s["status"] for s in world.snapshots("copy")] == ["creating"])
    world.conn.execute("update public.disks set next_snapshot_id = null")
    world.later(8 * DAY_S)

    prune(world)
    during = numbered(world)
    world.aws.complete_snapshots()
    world.until(lambda: world.disk("copy")["status"] == "available")
    prune(world)

    assert during == ["completed"] * 4
    assert numbered(world) == ["deleted", *["completed"] * 3]


def test_a_snapshot_that_is_restored_while_retention_looks_is_not_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision to prune it was made before, and is committed after."""
    world.create()
    world.filled(times=4)
    oldest = world.snapshots()[0]
    world.later(8 * DAY_S)
    decide = disk_snapshot.prune

    def restored_meanwhile(*given: Any) -> Outcome:
        decision = decide(*given)
        world.conn.execute("update public.disks set next_snapshot_id = %s", (oldest["snapshot_id"],))
        return decision

    monkeypatch.setattr(disk_worker, "prune", restored_meanwhile)
    send(world.conn, QUEUE, {"action": "prune_snapshot", "snapshot_id": str(oldest["snapshot_id"])})
    world.run()

    assert numbered(world)[0] == "completed"


# Purge.


def test_a_purge_that_aws_refuses_is_shown_and_repeated_and_never_said_to_be_done(world: World) -> None:
    world.create()
    world.filled(times=2)
    kept_back = world.snapshots()[0]["ebs_snapshot_id"]
    world.aws.refuse_deletes(kept_back)
    world.tell("delete_disk")
    world.later(30 * DAY_S + 1)
    for _ in range(3):
        world.later(61)
    during = world.disk(), numbered(world)

    world.aws.refuse_deletes(kept_back, refused=False)
    for _ in range(3):
        world.later(61)

    assert during[0]["status"] == "deleted"
    assert "currently in use by ami-0123456789abcdef0" in during[0]["detail"]
    assert during[1] == ["deleting", "deleted"]
    assert world.ebs_snapshots == {}
    assert world.one("select status from public.disks")["status"] == "purged"
    assert world.letters == []


def test_a_purge_that_aws_refuses_for_good_is_shown_and_buries_no_letter_a_minute(world: World) -> None:
    world.create()
    world.filled()
    world.aws.fault("DeleteSnapshot", times=100, status=400, code="SnapshotLocked", message="it is locked")
    world.tell("delete_disk")
    world.later(30 * DAY_S + 1)

    for _ in range(5):
        world.later(61)
        world.sweep()

    assert world.disk()["status"] == "deleted"
    assert "it is locked" in str(world.disk()["detail"])
    assert len(world.letters) <= 1
    world.aws.clear_faults()
    for _ in range(3):
        world.later(601)
    assert world.one("select status from public.disks")["status"] == "purged"


def test_a_snapshot_that_a_hand_deleted_is_no_obstacle_to_the_purge(world: World) -> None:
    world.create()
    world.filled()
    world.tell("delete_disk")
    world.aws.forget(world.snapshots()[0]["ebs_snapshot_id"])

    world.later(30 * DAY_S + 1)
    world.later(61)

    assert world.one("select status from public.disks")["status"] == "purged"


# Restore.


def test_a_restored_snapshot_is_what_the_next_volume_is_made_from_and_only_that_one(world: World) -> None:
    world.create()
    world.filled(times=3)
    oldest = world.snapshots()[0]

    operation = world.tell("restore_disk", snapshot_id=str(oldest["snapshot_id"]))
    row_id = world.held()
    first = [volume["snapshot"] for volume in world.volumes.values()]
    world.given_back(row_id)
    free(world)
    world.held()

    assert str(done(operation)).startswith("the next reservation finds it as of ")
    assert first == [oldest["ebs_snapshot_id"]]
    newest = world.snapshots()[-1]
    assert len(world.snapshots()) == 4
    assert [volume["snapshot"] for volume in world.volumes.values()] == [newest["ebs_snapshot_id"]]


def test_what_was_restored_is_still_to_come_when_no_volume_was_made(world: World) -> None:
    world.create()
    world.filled(times=2)
    oldest = world.snapshots()[0]
    world.tell("restore_disk", snapshot_id=str(oldest["snapshot_id"]))
    row_id = world.reserve()
    world.until(lambda: world.status(row_id) == "preparing")
    world.cancel(row_id)
    world.over(row_id)
    free(world)

    world.held()

    assert [volume["snapshot"] for volume in world.volumes.values()] == [oldest["ebs_snapshot_id"]]


@pytest.mark.parametrize("state", ["attached", "deleted", "unknown", "deleting"])
def test_what_cant_be_restored_is_refused(world: World, state: str) -> None:
    world.create()
    world.filled(times=2)
    wanted = str(world.snapshots()[0]["snapshot_id"])
    match state:
        case "attached":
            row_id = world.held()
            told = f"disk data is attached to reservation {row_id}: cancel it first"
        case "deleted":
            world.tell("delete_disk")
            told = "disk data is deleted"
        case "unknown":
            wanted = new_id()
            told = f"disk data has no completed snapshot {wanted}"
        case _:
            world.conn.execute("update public.disk_snapshots set status = 'deleting' where snapshot_id = %s", (wanted,))
            told = f"disk data has no completed snapshot {wanted}; it is deleting"

    operation = world.tell("restore_disk", snapshot_id=wanted)

    assert refused(operation) == told


# Clone.


def test_a_clone_of_a_disk_in_use_is_of_what_it_holds_now(world: World) -> None:
    world.create(size_gb=40)
    world.filled()
    world.held()

    operation = world.ended("clone_disk", source_disk="data", target_disk="copy")

    assert done(operation) is None
    (snapshot,) = world.snapshots("copy")
    assert (snapshot["ebs_volume_id"], snapshot["copied_from"]) == (world.volume_of(), None)
    assert (world.disk("copy")["status"], world.disk("copy")["size_gb"]) == ("available", 40)
    assert world.disk()["snapshot_count"] == 1


def test_a_clone_of_an_idle_disk_is_a_copy_of_its_newest_snapshot(world: World) -> None:
    world.create()
    world.filled(times=2)
    newest = world.snapshots()[-1]

    done(world.ended("clone_disk", source_disk="data", target_disk="copy"))
    world.held("copy")

    (snapshot,) = world.snapshots("copy")
    assert snapshot["copied_from"] == newest["ebs_snapshot_id"] != snapshot["ebs_snapshot_id"]
    assert [volume["snapshot"] for volume in world.volumes.values()] == [snapshot["ebs_snapshot_id"]]


def test_a_clone_of_a_restored_disk_is_of_what_was_restored(world: World) -> None:
    world.create()
    world.filled(times=2)
    oldest = world.snapshots()[0]
    world.tell("restore_disk", snapshot_id=str(oldest["snapshot_id"]))

    done(world.ended("clone_disk", source_disk="data", target_disk="copy"))

    assert world.snapshots("copy")[0]["copied_from"] == oldest["ebs_snapshot_id"]


def test_a_clone_of_an_empty_disk_is_empty(world: World) -> None:
    world.create(size_gb=33)

    done(world.ended("clone_disk", source_disk="data", target_disk="copy"))

    assert (world.disk("copy")["status"], world.disk("copy")["size_gb"]) == ("available", 33)
    assert world.ebs_snapshots == {}


def test_a_disk_that_is_being_cloned_keeps_its_volume_until_the_clone_is_made(world: World) -> None:
    world.create()
    row_id = world.held()
    volume_id = world.volume_of()
    world.aws.hold_snapshots()
    operation_id = world.ask("clone_disk", source_disk="data", target_disk="copy")
    world.until(lambda: world.ebs_snapshots)
    (of_clone,) = world.ebs_snapshots
    world.given_back(row_id)
    world.until(lambda: len(world.ebs_snapshots) == 2)

    world.aws.complete_snapshots([one for one in world.ebs_snapshots if one != of_clone])
    world.until(lambda: [snapshot["status"] for snapshot in world.snapshots()] == ["completed"])
    during = list(world.volumes)
    world.aws.complete_snapshots()
    free(world)
    world.until(lambda: world.operation(operation_id)["finished_at"])

    assert during == [volume_id]
    assert done(world.operation(operation_id)) is None
    assert world.volumes == {}


def test_a_clone_that_fails_leaves_its_source_and_the_name_of_the_target(world: World) -> None:
    world.create()
    world.filled()
    world.aws.hold_snapshots()
    operation_id = world.ask("clone_disk", source_disk="data", target_disk="copy")
    world.until(lambda: [s["status"] for s in world.snapshots("copy")] == ["creating"])

    world.aws.fail_snapshots([world.snapshots("copy")[0]["ebs_snapshot_id"]], message="no key")
    world.until(lambda: world.operation(operation_id)["finished_at"])
    world.aws.hold_snapshots(None)

    assert refused(world.operation(operation_id)) == "no key"
    assert world.all("select status from public.disks where disk_name like 'copy%%'") == [{"status": "failed"}]
    assert world.disk()["status"] == "available"
    assert done(world.ended("clone_disk", source_disk="data", target_disk="copy")) is None


def test_a_clone_whose_source_vanished_fails_with_the_reason(world: World) -> None:
    world.create()
    world.filled()
    world.aws.forget(world.snapshots()[0]["ebs_snapshot_id"])

    operation = world.ended("clone_disk", source_disk="data", target_disk="copy")

    assert "there is no snapshot snap-" in refused(operation)


@pytest.mark.parametrize("target", ["data", "other"])
def test_a_clone_takes_no_name_that_is_taken(world: World, target: str) -> None:
    world.create()
    world.create("other")

    operation = world.tell("clone_disk", source_disk="data", target_disk=target)

    assert refused(operation) == f"there is a disk {target} already"


def test_a_clone_of_a_deleted_disk_is_refused(world: World) -> None:
    world.create()
    world.tell("delete_disk")

    assert refused(world.tell("clone_disk", source_disk="data", target_disk="copy")) == "disk data is deleted"


def test_history_shows_every_stop_of_a_snapshot(world: World) -> None:
    world.create()
    world.filled()
    (snapshot,) = world.snapshots()

    assert history(world.conn, "disk_snapshot", snapshot["snapshot_id"]) == ["pending", "creating", "completed"]
    assert TYPE == "cpu-x86"


def test_who_may_not_list_volumes_still_looks_after_pods(world: World) -> None:
    world.box.fault("/api/v1/persistentvolumes", status=403, times=5)

    send(world.conn, "gpu_reservations", {"action": "sweep_pods"})
    world.run()

    waiting = "select message from pgmq.q_gpu_reservations where message->>'action' = 'sweep_pods'"
    assert world.all(waiting) == []
    world.box.clear_faults()
