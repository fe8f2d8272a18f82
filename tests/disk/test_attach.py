"""A disk in a reservation's life: what its volume is made from and where, and who waits for it with which reason."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

from pgfleet.workers.clients.aws.ec2 import Ec2
from pgfleet.workers.reservation import machine as reservation
from pgfleet.workers.runtime.work import work
from worlds.disks import QUEUE, STEADY, TYPE, World, for_a_test, history, servers, world_on
from worlds.fleet import PATIENCE_S, Worker, move_clock, new_id, send, until, worker_on
from worlds.rows_of_disks import disk as disk_row

OTHER_ZONE = "us-east-2b"
RACES = 100
# In its own words AWS has no place for one more volume.
LIMITS = ["VolumeLimitExceeded", "MaxIOPSLimitExceeded", "ResourceLimitExceeded"]


@pytest.fixture(scope="module")
def module_world(server_dsn: str, template: str) -> Iterator[World]:
    with servers() as (box, _), world_on(server_dsn, template, box, **STEADY) as running:
        box.add_nodes("a100", 1, 8)
        box.add_nodes("a100", 1, 8, zone=OTHER_ZONE)
        box.add_nodes("b200", 1, 8, zone="")
        yield running


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    yield from for_a_test(module_world)


def told(world: World, row_id: str) -> str:
    return str(world.reservation(row_id)["current_detailed_status"])


def failed(world: World, row_id: str) -> str:
    """Why a reservation failed, when all of it is gone."""
    row = world.over(row_id)
    assert row["status"] == "failed"
    return str(row["failure_reason"])


def seen(world: World, row_id: str) -> Any:
    """The reservation's pod, as its worker sees it."""
    return world.reservations.running.tools.pods.find(world.reservation(row_id)["pod_name"])


def pods(world: World) -> int:
    return int(world.box.state()["objects"]["pods"])


@pytest.mark.parametrize("what", ["persistentvolumes", "persistentvolumeclaims"])
@pytest.mark.parametrize("status", [400, 403, 422])
def test_who_lets_no_volume_in_fails_no_reservation(world: World, what: str, status: int) -> None:
    """Each waits, and says who has to do what."""
    said = f'admission webhook "policy.corp" denied the request: no {what} here'
    world.box.fault(f"/{what}$", method="POST", times=100_000, status=status, message=said)
    ids = [world.reserve(f"data-{number}") for number in range(2)]
    world.until(lambda: all(said in told(world, each) for each in ids), what="the words of the webhook")
    waiting = [told(world, each) for each in ids]
    for _ in range(130):
        world.run()
        world.pass_time(30)
    statuses = [world.status(each) for each in ids]

    world.box.clear_faults()
    world.until(lambda: all(world.status(each) == "active" for each in ids), what="both are active")

    assert "failed" not in statuses
    assert all("the operator has to let this worker make what it needs" in each for each in waiting)
    assert world.letters == []


# What the volume is made from.


def test_the_volume_of_a_new_disk_is_empty_and_as_large_as_the_disk(world: World) -> None:
    world.create(size_gb=77)

    row_id = world.active()

    (volume,) = world.volumes.values()
    assert (volume["size_gb"], volume["snapshot"]) == (77, None)
    assert volume["tags"]["pgfleet:disk_id"] == str(world.disk()["disk_id"])
    row = world.reservation(row_id)
    assert (row["ebs_volume_id"], row["ebs_availability_zone"]) == (world.volume_of(), volume["zone"])
    (home,) = [found for found in world.box.state()["volumes"].values() if not found["deleting"]]
    assert home["handle"] == world.volume_of()


def test_the_volume_is_made_from_the_newest_completed_snapshot(world: World) -> None:
    world.create()
    world.filled(times=3)
    world.aws.hold_snapshots()

    world.held()

    newest = world.snapshots()[-1]
    assert [volume["snapshot"] for volume in world.volumes.values()] == [newest["ebs_snapshot_id"]]
    assert world.disk()["source_snapshot_id"] == newest["snapshot_id"]


def test_the_volume_is_where_there_is_room_and_the_disk_follows_from_zone_to_zone(world: World) -> None:
    first = world.active("data", gpu_type="a100", gpu_count=8)
    zone = world.disk()["ebs_availability_zone"]
    world.cancel(first)
    world.over(first)
    world.until(lambda: world.disk()["status"] == "available")
    in_the_way = world.reserve(None, gpu_type="a100", gpu_count=8, user="bob")
    world.until(lambda: world.status(in_the_way) == "active")

    second = world.active("data", gpu_type="a100", gpu_count=8)

    (volume,) = world.volumes.values()
    nodes = {row["node_ip"] for row in map(world.reservation, (in_the_way, second))}
    assert len(nodes) == 2
    assert {zone, volume["zone"]} <= {"us-east-2a", OTHER_ZONE}
    assert volume["snapshot"] == world.snapshots()[0]["ebs_snapshot_id"]


def test_each_of_two_disks_is_in_the_zone_of_its_own_node(world: World) -> None:
    rows = [world.active(name, gpu_type="a100", gpu_count=8) for name in ("one", "two")]

    assert {volume["zone"] for volume in world.volumes.values()} == {"us-east-2a", OTHER_ZONE}
    assert {world.status(row_id) for row_id in rows} == {"active"}


# The first reservation that asks for a disk.


def test_the_first_reservation_that_asks_for_a_disk_makes_it(world: World) -> None:
    row_id = world.active("fresh", disk_size_gb=55)

    disk = world.disk("fresh")
    assert (disk["size_gb"], disk["status"], disk["reservation_id"]) == (55, "attached", row_id)
    assert history(world.conn, "disk", disk["disk_id"]) == ["creating", "available", "attached"]


def test_without_a_size_it_is_made_in_the_usual_one(world: World) -> None:
    row_id = world.reserve("fresh")
    world.until(lambda: world.status(row_id))

    assert world.disk("fresh")["size_gb"] == 100


def test_two_reservations_at_once_that_both_ask_for_a_new_disk_make_one(world: World) -> None:
    one, two = world.reserve("fresh"), world.reserve("fresh")

    with capture_logs() as logs:
        world.until(lambda: {world.status(one), world.status(two)} == {"active", "queued"})

    assert len(world.all("select from public.disks")) == 1
    assert [log for log in logs if log["event"] == "message.retry"] == []
    assert world.letters == []


def test_another_size_than_the_disk_has_is_refused(world: World) -> None:
    world.create(size_gb=20)

    wrong, right = world.reserve(disk_size_gb=30), world.reserve(disk_size_gb=20)
    world.until(lambda: world.status(right) == "active")

    assert world.letters == ["disk_size_gb: disk data has 20 GB"]
    assert world.status(wrong) is None


def test_a_size_without_a_disk_is_refused(world: World) -> None:
    world.reserve(None, disk_size_gb=30)

    world.run()

    assert world.letters == ["disk_size_gb: only with disk_name"]


def test_a_deleted_disk_is_refused_and_its_user_told_how_to_have_it_back(world: World) -> None:
    world.create()
    world.tell("delete_disk")

    world.reserve()
    world.run()

    (letter,) = world.letters
    assert letter.startswith("disk_name: disk data was deleted; until ")
    assert letter.endswith("pgfleet disk undelete data")


def test_a_row_that_a_producer_inserted_with_a_deleted_disk_fails_with_the_reason(world: World) -> None:
    world.create()
    world.tell("delete_disk")
    row_id = inserted(world)

    send(world.conn, "gpu_reservations", {"action": "admit", "gpu_type": TYPE})
    world.run()

    assert "disk data was deleted" in failed(world, row_id)


def test_a_row_that_a_producer_inserted_with_a_disk_that_nobody_knows_fails_with_the_reason(world: World) -> None:
    row_id = inserted(world, disk_name="nowhere")

    send(world.conn, "gpu_reservations", {"action": "admit", "gpu_type": TYPE})
    world.run()

    assert failed(world, row_id) == "disk_name: there is no disk nowhere"


def test_a_disk_that_is_deleted_while_a_reservation_waits_for_gpus_fails_it_with_the_reason(world: World) -> None:
    world.create()
    in_the_way = world.reserve(None, gpu_type="t4-small", gpu_count=1, user="bob")
    world.until(lambda: world.status(in_the_way) == "preparing")
    row_id = world.reserve(gpu_type="t4-small", gpu_count=1)
    world.until(lambda: world.status(row_id) == "queued")

    world.tell("delete_disk")
    world.later(61)

    assert "disk data was deleted" in failed(world, row_id)


def inserted(world: World, disk_name: str = "data", gpu_type: str = TYPE) -> str:
    """A reservation that waits, as a producer has inserted it."""
    row_id = new_id()
    world.conn.execute(
        "insert into public.reservations"
        " (reservation_id, user_id, status, duration_hours, gpu_type, gpu_count, disk_name, ticket, created_at)"
        " values (%s, 'ada', 'pending', 4, %s, 0, %s, 1, now())",
        (row_id, gpu_type, disk_name),
    )
    return row_id


# Waiting for a disk.


def test_a_second_reservation_waits_for_the_disk_and_others_pass_it(world: World) -> None:
    world.create()
    first = world.held()
    second = world.reserve()
    world.until(lambda: world.status(second) == "queued")

    third = world.reserve(None)
    world.until(lambda: world.status(third) == "preparing")

    assert told(world, second) == f"DISK_IN_USE: disk data is attached to reservation {first}"
    world.given_back(first)
    world.until(lambda: world.status(second) == "active")
    assert world.disk()["reservation_id"] == second


def test_who_waits_is_told_how_far_the_snapshot_is_and_starts_when_it_is_completed(world: World) -> None:
    world.create()
    first, second = world.held(), world.reserve()
    world.aws.hold_snapshots(10)
    world.given_back(first)
    world.until(lambda: "10 %" in told(world, second))
    at_first = told(world, second)
    (snapshot_id,) = world.ebs_snapshots

    world.aws.set_progress(snapshot_id, 85)
    world.until(lambda: "85 %" in told(world, second))
    later = told(world, second), world.status(second), len(world.volumes)
    world.aws.complete_snapshots()
    world.until(lambda: world.status(second) == "active")

    assert at_first == "SNAPSHOT_PENDING: disk data: its snapshot is 10 % done"
    assert later == ("SNAPSHOT_PENDING: disk data: its snapshot is 85 % done", "queued", 1)
    (volume,) = world.volumes.values()
    assert volume["snapshot"] == snapshot_id


def test_a_snapshot_of_a_disk_in_use_is_not_why_somebody_waits(world: World) -> None:
    """When it is completed the disk is no nearer: its reservation has it."""
    world.create()
    first, second = world.held(), world.reserve()
    world.aws.hold_snapshots(10)

    world.ask("snapshot_disk")
    world.until(lambda: world.snapshots() and world.snapshots()[0]["progress_percent"] == 10)
    world.run()

    assert told(world, second) == f"DISK_IN_USE: disk data is attached to reservation {first}"


def test_a_reservation_with_a_clone_that_is_being_made_waits_for_it(world: World) -> None:
    world.create()
    world.filled()
    world.aws.hold_snapshots(30)
    world.ask("clone_disk", source_disk="data", target_disk="copy")
    world.until(lambda: world.all("select from public.disk_snapshots where progress_percent = 30"))

    row_id = world.reserve("copy")
    world.until(lambda: "30 %" in told(world, row_id) if world.status(row_id) else None)
    waiting = world.status(row_id)
    world.aws.complete_snapshots()
    world.until(lambda: world.status(row_id) == "active")

    assert waiting == "queued"
    (volume,) = world.volumes.values()
    assert volume["snapshot"] == world.snapshots("copy")[0]["ebs_snapshot_id"]


def test_of_two_reservations_that_race_for_a_disk_exactly_one_has_it(world: World) -> None:
    """Of two lines, by two workers, which decide at the same time."""
    with worker_on(reservation.KIND, world.reservations.running.settings) as other:
        winners = [race(world, [world.reservations, other], f"d{number}") for number in range(RACES)]

    assert len(winners) == RACES
    assert world.letters == []


def race(world: World, workers: list[Worker], name: str) -> str:
    """The type of the reservation that has the disk."""
    disk_row(world.conn, name)
    world.conn.execute("delete from pgmq.q_gpu_reservations")
    rows = {gpu_type: inserted(world, name, gpu_type) for gpu_type in (TYPE, "cpu-arm")}
    for gpu_type in rows:
        world.conn.execute(
            "select pgmq.send('gpu_reservations', %s)", (Jsonb({"action": "admit", "gpu_type": gpu_type}),)
        )
    hands = [worker.claim(1) for worker in workers]
    assert [len(hand) for hand in hands] == [1, 1]
    together = threading.Barrier(2)

    def toil(worker: Worker, hand: Any) -> None:
        together.wait(PATIENCE_S)
        work(worker.running, hand)

    threads = [threading.Thread(target=toil, args=pair) for pair in zip(workers, hands, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if "pending" in {world.status(row_id) for row_id in rows.values()}:
        # Who was too late to see it has to look again.
        world.conn.execute("delete from pgmq.q_gpu_reservations where message->>'action' <> 'admit'")
        until(lambda: workers[0].run_once() == 0 and world.queued("admit") == 0, within_s=10)
    (holder,) = [gpu_type for gpu_type, row_id in rows.items() if world.status(row_id) == "preparing"]
    (waits,) = [row_id for gpu_type, row_id in rows.items() if gpu_type != holder]
    assert world.disk(name)["reservation_id"] == rows[holder]
    assert (world.status(waits), told(world, waits)) == (
        "queued",
        f"DISK_IN_USE: disk {name} is attached to reservation {rows[holder]}",
    )
    world.conn.execute("update public.reservations set status = 'cancelled' where reservation_id = %s", (waits,))
    return holder


def test_of_many_who_wait_for_one_disk_each_is_told_so(world: World) -> None:
    """More than one look at a line moves."""
    world.create()
    first = world.held()

    waiting = [inserted(world) for _ in range(40)]
    for row_id in waiting:
        send(world.conn, "gpu_reservations", {"action": "advance", "reservation_id": row_id, "ticket": 1})
    world.run()
    world.later(61)
    world.later(61)

    reasons = {told(world, row_id) for row_id in waiting}
    assert {world.status(row_id) for row_id in waiting} == {"queued"}
    assert reasons == {f"DISK_IN_USE: disk data is attached to reservation {first}"}


# What can go wrong at AWS.


def test_a_volume_that_aws_could_not_make_is_made_once_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.create()
    row_id = world.reserve()
    world.aws.hold_volumes()
    world.until(world.volume_of)
    broken = world.volume_of()
    real = Ec2.volume

    def said(ec2: Ec2, volume_id: str) -> Any:
        found = real(ec2, volume_id)
        return replace(found, state="error") if found and volume_id == broken else found

    monkeypatch.setattr(Ec2, "volume", said)
    world.aws.hold_volumes(held=False)
    world.aws.complete_volumes()
    world.until(lambda: world.status(row_id) == "active")

    assert world.volume_of() != broken
    assert list(world.volumes) == [world.volume_of()]
    assert world.letters == []


def test_a_snapshot_that_vanished_fails_the_reservation_and_never_makes_an_empty_home(world: World) -> None:
    world.create()
    world.filled()
    made = world.aws.requests("CreateVolume")
    world.aws.forget(world.snapshots()[0]["ebs_snapshot_id"])

    row_id = world.reserve()
    world.until(lambda: world.aws.requests("CreateVolume") == made + 1, what="the first refusal")
    world.run()
    move_clock(world.conn, 301)
    reason = failed(world, row_id)
    world.until(lambda: world.disk()["status"] == "available")

    assert reason.startswith("disk data can't be attached: ")
    assert "InvalidSnapshot.NotFound" in reason
    assert (world.volumes, pods(world)) == ({}, 0)
    assert world.aws.requests("CreateVolume") == made + 2
    assert world.disk()["reservation_id"] is None


def test_a_snapshot_that_is_gone_from_the_rows_fails_the_reservation_too(world: World) -> None:
    world.create()
    world.filled(times=2)
    first, _ = world.snapshots()
    world.tell("restore_disk", snapshot_id=str(first["snapshot_id"]))
    world.conn.execute(
        "update public.disk_snapshots set status = 'deleting', lost_at = now() where snapshot_id = %s",
        (first["snapshot_id"],),
    )

    reason = failed(world, world.reserve())

    assert f"its snapshot {first['snapshot_id']} is not at AWS" in reason
    assert (world.volumes, pods(world)) == ({}, 0)


def until_left(world: World, faults: int) -> None:
    world.until(lambda: world.aws.state()["faults_left"] <= faults, what="the next request")


@pytest.mark.parametrize("code", LIMITS)
def test_a_limit_of_aws_gives_the_gpus_back_and_is_no_failed_attempt(world: World, code: str) -> None:
    world.create()
    world.aws.fault("CreateVolume", times=1, status=400, code=code)
    row_id = world.reserve()
    world.until(lambda: world.status(row_id) == "queued")
    between = world.reservation(row_id)
    world.until(lambda: world.disk()["status"] == "available")
    move_clock(world.conn, 61)

    world.until(lambda: world.status(row_id) == "active")

    assert between["gpus_held"] == 0
    assert between["current_detailed_status"].startswith("QUOTA: ")
    assert code in between["current_detailed_status"]
    assert world.letters == []
    assert len(world.volumes) == 1


def test_aws_that_asks_us_to_wait_is_waited_for_and_holds_up_nobody_without_a_disk(world: World) -> None:
    world.create()
    world.aws.fault("CreateVolume", times=1000, status=503, code="RequestLimitExceeded")
    held = world.reserve()
    world.until(lambda: world.disk()["detail"] and world.disk()["detail"].startswith("AWS_UNREACHABLE: "))

    other = world.reserve(disk_name=None)
    world.until(lambda: world.status(other) == "active")
    world.aws.clear_faults()
    world.until(lambda: world.status(held) == "active")

    assert world.letters == []


def test_a_token_that_aws_knows_as_anothers_is_changed(world: World) -> None:
    world.create()
    world.aws.fault("CreateVolume", times=1, status=400, code="IdempotentParameterMismatch")

    world.active()

    assert len(world.volumes) == 1
    assert world.disk()["attachment"] == 2


def test_a_volume_that_the_token_made_is_taken(world: World) -> None:
    world.create()
    world.aws.fault("CreateVolume", times=1, after=True, status=400, code="IdempotentParameterMismatch")

    world.active()

    assert len(world.volumes) == 1
    assert world.disk()["attachment"] == 1


def test_a_tag_that_finds_nothing_yet_is_asked_for_again_within_seconds(world: World) -> None:
    world.create()
    world.aws.fault("CreateTags", times=1, status=400, code="InvalidVolume.NotFound")

    world.active()

    assert len(world.volumes) == 1


def test_a_zone_in_which_aws_has_no_room_sends_the_reservation_back_and_frees_the_disk(world: World) -> None:
    world.create()
    world.aws.fault("CreateVolume", times=1, status=400, code="InsufficientVolumeCapacity")
    row_id = world.reserve()
    world.until(lambda: world.status(row_id) == "queued")
    world.until(lambda: world.disk()["status"] == "available")
    between = world.volumes, world.reservation(row_id)["gpus_held"]

    world.later(61)
    world.until(lambda: world.status(row_id) == "active")

    assert between == ({}, 0)
    assert (len(world.volumes), world.snapshots(), world.letters) == (1, [], [])


def test_an_answer_that_got_lost_makes_no_second_volume(world: World) -> None:
    world.create()
    world.aws.fault("CreateVolume", times=2, after=True, drop=True)

    world.active()

    assert world.aws.state()["faults_left"] == 0
    assert len(world.volumes) == 1


def test_a_refusal_for_good_fails_the_reservation_with_awss_words_and_frees_the_disk(world: World) -> None:
    world.create()
    world.aws.fault("CreateVolume", status=400, code="InvalidParameterValue", message="no gp3 here")

    reason = failed(world, world.reserve())
    world.until(lambda: world.disk()["status"] == "available")
    world.active()

    assert reason == ("disk data can't be attached: AWS answered CreateVolume with InvalidParameterValue: no gp3 here")


# What can go wrong at Kubernetes.


def test_a_pod_that_finds_no_node_gives_its_disk_back_and_both_are_had_again(world: World) -> None:
    world.box.add_nodes("cpu-arm", 1, 0, cpu=1, memory_gb=1)
    world.create()
    row_id = world.reserve(gpu_type="cpu-arm")
    world.until(lambda: "No node yet" in told(world, row_id) if world.status(row_id) else None)
    had = world.volume_of()

    move_clock(world.conn, 95)
    world.until(lambda: world.status(row_id) == "queued")
    world.until(lambda: world.disk()["status"] == "available", what="the release of the disk")
    (snapshot,) = world.snapshots()
    between = world.volumes, world.reservation(row_id)["pod_name"]
    world.box.add_nodes("cpu-arm", 1, 0)
    world.later(901)
    world.until(lambda: pods(world) == 1)
    # Its node's clock is that of the machine: a look before it is ready would find it 900 s old.
    until(lambda: seen(world, row_id).ready, within_s=15)
    world.until(lambda: world.status(row_id) == "active")

    assert between == ({}, None)
    assert (snapshot["kind"], snapshot["ebs_volume_id"], snapshot["status"]) == ("migration", had, "completed")
    assert history(world.conn, "reservation", row_id).count("queued") == 1
    assert world.volumes[world.volume_of()]["snapshot"] == snapshot["ebs_snapshot_id"]
    assert history(world.conn, "disk", world.disk()["disk_id"])[-3:] == ["attached", "available", "attached"]


def test_a_type_without_room_sends_the_reservation_back_and_frees_the_disk_at_once(world: World) -> None:
    world.create()
    row_id = world.reserve(gpu_type="a10g", gpu_count=4)
    world.until(lambda: world.status(row_id) == "queued")
    world.until(lambda: world.disk()["status"] == "available")
    waiting = world.reservation(row_id)
    elsewhere = world.active()

    assert waiting["gpus_held"] == 0
    assert world.disk()["reservation_id"] == elsewhere
    assert world.snapshots() == []
    assert world.reservation(row_id)["schedule_failures"] == 1


def test_nodes_that_say_no_zone_fail_the_reservation_with_the_reason(world: World) -> None:
    world.create()

    row_id = world.reserve(gpu_type="b200", gpu_count=1)

    assert failed(world, row_id) == "no node of b200 has the label topology.kubernetes.io/zone"
    world.until(lambda: world.disk()["status"] == "available")
    assert (world.volumes, pods(world)) == ({}, 0)


def test_a_disk_that_somebody_takes_away_fails_the_reservation(world: World) -> None:
    """Never an empty home: whoever releases the disk by hand ends what would have used it."""
    world.create()
    row_id = world.reserve()
    world.aws.hold_volumes()
    world.until(world.volume_of)

    world.conn.execute("update public.disks set release_asked_at = now()")
    world.aws.complete_volumes()

    assert failed(world, row_id) == "disk data is not attached to it any more"
    assert pods(world) == 0


def test_messages_of_disks_do_not_wait_for_a_line_that_stands_still(world: World) -> None:
    world.create()
    send(world.conn, QUEUE, {"action": "sweep"})
    first = world.held()
    waiting = [world.reserve() for _ in range(5)]
    world.until(lambda: {world.status(row_id) for row_id in waiting} == {"queued"})

    world.given_back(first)
    world.until(lambda: "active" in {world.status(row_id) for row_id in waiting})

    assert sorted(str(world.status(row_id)) for row_id in waiting) == ["active", *["queued"] * 4]
    assert world.status(waiting[0]) == "active"
