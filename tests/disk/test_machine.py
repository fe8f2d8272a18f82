"""What people ask of disks: every operation, and every reason for which one is refused."""

import json
from typing import Any

import pytest

from pgfleet.console.sandbox.aws.handle import BUCKET
from worlds.disks import QUEUE, World, done, history, objects, refused
from worlds.fleet import lose_row, move_clock, new_id, send

DAY_S = 24 * 3600


def test_a_disk_is_made_without_a_volume(world: World) -> None:
    disk = world.create(size_gb=50)

    assert (disk["status"], disk["size_gb"], disk["operation_status"]) == ("available", 50, "completed")
    assert world.volumes == {}


def test_a_disk_follows_its_user_from_reservation_to_reservation(world: World) -> None:
    world.create()

    first = world.active()
    volume_id = world.disk()["ebs_volume_id"]
    world.cancel(first)
    world.over(first)
    second = world.active()

    (snapshot,) = world.snapshots()
    assert snapshot["status"] == "completed"
    assert snapshot["ebs_volume_id"] == volume_id
    (volume,) = world.volumes.values()
    assert volume["snapshot"] == snapshot["ebs_snapshot_id"]
    assert world.disk()["reservation_id"] == second
    assert history(world.conn, "disk", world.disk()["disk_id"]) == [
        "creating",
        "available",
        "attached",
        "available",
        "attached",
    ]


# Create.


def test_the_same_create_twice_makes_one_disk(world: World) -> None:
    operation_id = world.ask("create_disk", size_gb=20)
    world.ask("create_disk", operation_id=operation_id, size_gb=30)
    world.run()
    world.ask("create_disk", operation_id=operation_id, size_gb=40)

    world.run()

    assert world.disk()["size_gb"] == 20
    assert history(world.conn, "disk_operation", operation_id) == ["pending", "in_progress", "completed"]
    assert world.letters == []


def test_a_name_is_one_disk(world: World) -> None:
    first = world.create()

    second = world.tell("create_disk", size_gb=20)

    assert refused(second) == "there is a disk data already"
    assert world.disk()["disk_id"] == first["disk_id"]


def test_two_people_have_each_a_disk_of_one_name(world: World) -> None:
    mine = world.create()

    theirs = world.create(user="bob", size_gb=70)

    assert mine["disk_id"] != theirs["disk_id"]
    assert (world.disk()["size_gb"], world.disk(user="bob")["size_gb"]) == (20, 70)


def test_the_name_of_a_deleted_disk_is_taken_until_it_is_purged(world: World) -> None:
    first = world.create()
    world.tell("delete_disk")
    early = world.tell("create_disk", size_gb=20)

    world.later(30 * DAY_S + 1)
    second = world.create(size_gb=30)

    assert "was deleted and can be brought back until" in refused(early)
    assert "pgfleet disk undelete data" in refused(early)
    assert (second["status"], second["size_gb"]) == ("available", 30)
    assert second["disk_id"] != first["disk_id"]


@pytest.mark.parametrize("size_gb", [10, 10_000])
def test_the_smallest_and_the_largest_disk_are_made(world: World, size_gb: int) -> None:
    assert world.create(size_gb=size_gb)["size_gb"] == size_gb


@pytest.mark.parametrize("name", ["a" * 255, "A-b_9", "-", "0"])
def test_names_as_the_page_has_them_are_taken_and_free_again_after_the_purge(world: World, name: str) -> None:
    world.create(name)
    done(world.tell("delete_disk", name))

    world.later(30 * DAY_S + 1)

    (row,) = world.all("select disk_name, status from public.disks")
    assert row == {"disk_name": f"{name}#{row['disk_name'][-8:]}", "status": "purged"}


NO_IDS: list[Any] = ["", "1", 7, None, {}]
GOOD: dict[str, Any] = {"action": "create_disk", "operation_id": new_id(), "user_id": "ada", "disk_name": "data"}


BAD: list[Any] = [
    None,
    [],
    "create_disk",
    {},
    {"action": None},
    {"action": "format_disk"},
    {"action": "create_disk"},
    *({**GOOD, "size_gb": size} for size in (9, 10_001, -1, 0, 2**63, "20", 20.5, True, None, [20])),
    *({**GOOD, "size_gb": 20, "disk_name": name} for name in ("", "a b", "a#1", "ä", "a/b", "a\n", 7, "a" * 256)),
    *({**GOOD, "size_gb": 20, "user_id": user} for user in ("", 7, None, "a\u0001", "a" * 256)),
    *({**GOOD, "size_gb": 20, "operation_id": given} for given in NO_IDS),
    {**GOOD, "action": "snapshot_disk", "kind": "hourly"},
    {**GOOD, "action": "restore_disk"},
    {**GOOD, "action": "restore_disk", "snapshot_id": "snap-1"},
    {**GOOD, "action": "clone_disk", "source_disk": "data"},
    {**GOOD, "action": "clone_disk", "source_disk": "data", "target_disk": ["x"]},
    {**GOOD, "size_gb": 20, "disk_name": "x" * 1_000_000},
    {"action": "suspect", "resource_id": "i-1"},
    {"action": "suspect", "resource_id": "vol-1' or 1=1"},
    {"action": "advance_disk", "disk_id": "1", "ticket": 1},
]


def as_json(body: Any) -> str:
    return json.dumps(body, sort_keys=True)


def test_what_cant_be_understood_is_a_dead_letter_at_once_and_no_operation(world: World) -> None:
    for body in BAD:
        send(world.conn, QUEUE, body)

    world.run()

    letters = world.all("select message, reason from public.dead_letters")
    assert sorted(as_json(letter["message"]) for letter in letters) == sorted(map(as_json, BAD))
    assert max(len(letter["reason"]) for letter in letters) <= 1000
    assert world.all("select from public.disk_operations") == world.all("select from public.disks") == []


def test_fields_that_nobody_knows_are_refused_by_name_and_make_no_disk(world: World) -> None:
    world.tell("create_disk", size_gb=20, colour="blue", huge="x" * 100_000)

    (letter,) = world.all("select reason, verdict from public.dead_letters")
    assert letter["verdict"] == "rejection"
    assert "colour: is not known" in letter["reason"]
    assert "huge: is not known" in letter["reason"]
    assert world.all("select from public.disks") == []


# Snapshot.


def test_a_snapshot_of_a_disk_in_use_is_taken_of_its_volume_now(world: World) -> None:
    world.create()
    world.held()

    operation = world.ended("snapshot_disk")

    (snapshot,) = world.snapshots()
    assert done(operation) is None
    assert (snapshot["status"], snapshot["kind"], snapshot["progress_percent"]) == ("completed", "manual", 100)
    assert (snapshot["ebs_volume_id"], operation["snapshot_id"]) == (world.volume_of(), snapshot["snapshot_id"])
    assert (world.disk()["status"], world.disk()["snapshot_count"]) == ("attached", 1)


def test_the_kind_of_a_snapshot_is_as_it_was_asked_for(world: World) -> None:
    world.create()
    world.held()

    world.ended("snapshot_disk", kind="migration")

    assert [snapshot["kind"] for snapshot in world.snapshots()] == ["migration"]


def test_a_snapshot_of_an_idle_disk_is_its_newest_one(world: World) -> None:
    world.create()
    world.filled(times=2)

    operation = world.tell("snapshot_disk")

    assert done(operation) == "nobody uses the disk: its newest snapshot holds all"
    assert operation["snapshot_id"] == world.snapshots()[-1]["snapshot_id"]
    assert world.aws.requests("CreateSnapshot") == 2


def test_a_snapshot_of_an_empty_disk_is_refused(world: World) -> None:
    world.create()

    assert refused(world.tell("snapshot_disk")) == "disk data is empty: no reservation has used it yet"


def test_a_snapshot_of_a_deleted_disk_is_refused(world: World) -> None:
    world.create()
    world.tell("delete_disk")

    assert refused(world.tell("snapshot_disk")) == "disk data is deleted"


def test_a_snapshot_of_a_disk_that_is_being_released_is_the_one_of_its_release(world: World) -> None:
    world.create()
    row_id = world.held()
    world.aws.hold_snapshots()
    world.given_back(row_id)

    operation_id = world.ask("snapshot_disk")
    world.until(lambda: world.operation(operation_id).get("status") == "in_progress")
    world.until(lambda: world.snapshots()[0]["status"] == "creating")
    world.aws.complete_snapshots()
    world.until(lambda: world.operation(operation_id)["finished_at"])

    (snapshot,) = world.snapshots()
    assert done(world.operation(operation_id)) is None
    assert (world.operation(operation_id)["snapshot_id"], snapshot["kind"]) == (snapshot["snapshot_id"], "cancellation")


def test_a_snapshot_of_a_release_that_fails_at_first_is_the_one_that_succeeds(world: World) -> None:
    world.create()
    row_id = world.held()
    world.aws.hold_snapshots()
    world.given_back(row_id)
    operation_id = world.ask("snapshot_disk")
    world.until(lambda: world.operation(operation_id).get("status") == "in_progress")
    world.until(lambda: world.snapshots()[0]["status"] == "creating")
    world.aws.hold_snapshots(None)

    world.aws.fail_snapshots()
    world.until(lambda: world.snapshots()[0]["status"] == "failed")
    move_clock(world.conn, 61)
    world.until(lambda: world.disk()["status"] == "available")
    world.until(lambda: world.operation(operation_id)["finished_at"])

    assert done(world.operation(operation_id)) is None


def test_a_snapshot_of_a_volume_that_is_still_being_made_waits_for_it(world: World) -> None:
    world.create()
    row_id = world.reserve()
    world.aws.hold_volumes()
    world.until(world.volume_of)

    operation_id = world.ask("snapshot_disk")
    world.until(lambda: world.operation(operation_id).get("detail"))
    waiting = world.operation(operation_id)
    world.aws.complete_volumes()
    world.until(lambda: world.operation(operation_id)["finished_at"])

    assert (waiting["status"], waiting["detail"]) == ("pending", "waits for the disk's volume")
    assert done(world.operation(operation_id)) is None
    assert world.snapshots()[0]["ebs_volume_id"] == world.volume_of()
    assert world.disk()["reservation_id"] == row_id


def test_a_snapshot_that_aws_fails_is_a_failed_operation_with_awss_words(world: World) -> None:
    world.create()
    world.held()
    world.aws.hold_snapshots()
    operation_id = world.ask("snapshot_disk")
    world.until(lambda: world.snapshots() and world.snapshots()[0]["status"] == "creating")

    world.aws.fail_snapshots(message="client error: KMS key is disabled")
    world.until(lambda: world.operation(operation_id)["finished_at"])

    assert refused(world.operation(operation_id)) == "client error: KMS key is disabled"
    assert (world.snapshots()[0]["status"], world.disk()["pending_snapshot_count"]) == ("failed", 0)


def test_an_operation_tells_of_itself_in_the_columns_of_its_disk(world: World) -> None:
    """Seed 003's: operation_id, operation_status, operation_error."""
    created = world.create()
    failed = world.tell("snapshot_disk")
    after_failure = world.disk()
    world.held()
    world.aws.hold_snapshots()
    running = world.ask("snapshot_disk")
    world.until(lambda: world.snapshots() and world.snapshots()[0]["status"] == "creating")
    during = world.disk()
    world.aws.complete_snapshots()
    world.until(lambda: world.operation(running)["finished_at"])

    columns = ("operation_id", "operation_status", "operation_error")
    assert created["operation_status"] == "completed"
    assert tuple(after_failure[name] for name in columns) == (failed["operation_id"], "failed", failed["error"])
    assert (str(during["operation_id"]), during["operation_status"], during["operation_error"]) == (
        running,
        "in_progress",
        None,
    )
    assert during["is_backing_up"]
    assert (world.disk()["operation_status"], world.disk()["is_backing_up"]) == ("completed", False)


# Delete, undelete, purge.


def test_a_disk_in_use_is_not_deleted_and_the_answer_names_its_reservation(world: World) -> None:
    world.create()
    row_id = world.held()

    operation = world.tell("delete_disk")

    assert refused(operation) == f"disk data is attached to reservation {row_id}: cancel it first"
    assert world.disk()["status"] == "attached"


def test_a_disk_that_is_being_released_is_not_deleted(world: World) -> None:
    world.create()
    row_id = world.held()
    world.aws.hold_snapshots(70)
    world.given_back(row_id)
    world.until(lambda: world.disk()["detail"] == "Its snapshot is 70 % done")

    assert refused(world.tell("delete_disk")) == "disk data is being released: Its snapshot is 70 % done"


def test_a_deleted_disk_comes_back_on_day_29_with_all_that_it_held(world: World) -> None:
    world.create()
    world.filled()
    newest = world.snapshots()[-1]["ebs_snapshot_id"]
    deleted = world.tell("delete_disk")
    row = world.disk()
    world.later(29 * DAY_S)

    undeleted = world.tell("undelete_disk")

    assert str(done(deleted)).startswith("it can be brought back until ")
    assert str(row["delete_date"]) in str(deleted["detail"])
    assert (row["status"], row["is_deleted"]) == ("deleted", True)
    assert done(undeleted) is None
    back = world.disk()
    assert (back["status"], back["is_deleted"], back["delete_date"], back["marked_deleted_at"]) == (
        "available",
        False,
        None,
        None,
    )
    world.later(5 * DAY_S)
    world.held()
    assert [volume["snapshot"] for volume in world.volumes.values()] == [newest]


def test_on_day_31_a_deleted_disk_is_gone_with_its_snapshots_and_listings(world: World) -> None:
    world.create()
    world.used(times=1)
    world.filled()
    listed = objects(world)
    disk_id = world.disk()["disk_id"]
    world.tell("delete_disk")
    world.later(31 * DAY_S)
    world.until(lambda: not world.ebs_snapshots)
    world.until(lambda: world.all("select from public.disks where status = 'purged'"))

    operation = world.ask("undelete_disk")
    world.later(31)

    assert listed == [f"{BUCKET}/disks/{disk_id}/{world.one(FIRST_SNAPSHOT)['snapshot_id']}.txt"]
    assert objects(world) == []
    assert refused(world.operation(operation)) == "ada has no disk data; see `pgfleet disk ls`"
    assert {row["status"] for row in world.all("select status from public.disk_snapshots")} == {"deleted"}
    assert history(world.conn, "disk", disk_id)[-2:] == ["deleted", "purged"]
    assert world.create()["status"] == "available"


FIRST_SNAPSHOT = "select snapshot_id from public.disk_snapshots order by created_at limit 1"


def test_after_30_days_it_is_too_late_even_if_aws_still_has_all(world: World) -> None:
    world.create()
    world.filled()
    world.aws.refuse_deletes(world.snapshots()[0]["ebs_snapshot_id"])
    world.tell("delete_disk")
    world.later(31 * DAY_S)

    operation = world.tell("undelete_disk")

    assert refused(operation).startswith("too late: disk data could be brought back until ")
    assert world.disk()["status"] == "deleted"


def test_a_disk_deleted_twice_goes_on_the_day_of_the_first_time(world: World) -> None:
    world.create()
    first = world.tell("delete_disk")
    until = world.disk()["delete_date"]
    world.later(10 * DAY_S)

    second = world.tell("delete_disk")

    assert done(second) == f"it was deleted already, until {until}"
    assert first["operation_id"] != second["operation_id"]
    world.later(20 * DAY_S + 1)
    assert world.one("select status from public.disks")["status"] == "purged"


def test_a_disk_that_lives_is_not_undeleted(world: World) -> None:
    world.create()

    assert refused(world.tell("undelete_disk")) == "disk data is not deleted: it is available"


def test_a_disk_that_was_brought_back_is_not_purged_when_the_first_30_days_are_over(world: World) -> None:
    world.create()
    world.filled()
    world.tell("delete_disk")
    world.later(20 * DAY_S)
    world.tell("undelete_disk")

    world.later(11 * DAY_S)
    world.tell("delete_disk")
    world.later(29 * DAY_S)

    assert world.disk()["status"] == "deleted"
    assert len(world.ebs_snapshots) == 1


# Unknown disks, others' disks, and messages that overtake each other.


@pytest.mark.parametrize("action", ["snapshot_disk", "delete_disk", "undelete_disk", "clear_disk_lock"])
def test_an_unknown_disk_is_waited_for_and_then_refused(world: World, action: str) -> None:
    operation_id = world.ask(action)
    world.run()
    world.later(25)
    waiting = world.operation(operation_id)["status"], world.letters

    world.later(6)

    told = "ada has no disk data; see `pgfleet disk ls`"
    assert waiting == ("pending", [])
    assert refused(world.operation(operation_id)) == told
    # Its sender's to see to: nobody else is called.
    assert world.all("select reason, verdict from public.dead_letters") == [{"reason": told, "verdict": "rejection"}]


@pytest.mark.parametrize("action", ["snapshot_disk", "delete_disk", "undelete_disk", "clear_disk_lock"])
def test_a_disk_of_somebody_else_is_an_unknown_one(world: World, action: str) -> None:
    world.create(user="bob")

    operation_id = world.ask(action, user="ada")
    world.run()
    world.later(31)

    assert "ada has no disk" in refused(world.operation(operation_id))
    assert world.disk(user="bob")["status"] == "available"


def test_others_snapshots_can_neither_be_restored_nor_cloned(world: World) -> None:
    world.create(user="bob")
    world.filled(user="bob")
    world.create()
    (theirs,) = world.snapshots(user="bob")

    restored = world.tell("restore_disk", snapshot_id=str(theirs["snapshot_id"]))
    cloned = world.ask("clone_disk", source_disk="secret", target_disk="copy")
    world.run()
    world.later(31)

    assert refused(restored) == f"disk data has no completed snapshot {theirs['snapshot_id']}"
    assert refused(world.operation(cloned)) == "ada has no disk secret; see `pgfleet disk ls`"


def test_what_overtakes_the_create_of_its_disk_waits_for_it(world: World) -> None:
    deleted = world.ask("delete_disk")
    world.run()
    world.later(20)
    world.create()

    world.later(11)

    assert done(world.operation(deleted)) is not None
    assert world.disk()["status"] == "deleted"
    assert world.letters == []


@pytest.mark.parametrize("action", ["snapshot_disk", "delete_disk", "clear_disk_lock"])
def test_the_same_message_twice_is_done_once(world: World, action: str) -> None:
    world.create()
    if action == "snapshot_disk":
        world.held()
    operation_id = world.ask(action)
    world.ask(action, operation_id=operation_id)

    world.until(lambda: world.operation(operation_id).get("finished_at"))
    world.ask(action, operation_id=operation_id)
    world.run()

    assert history(world.conn, "disk_operation", operation_id)[-1] == "completed"
    assert history(world.conn, "disk_operation", operation_id).count("completed") == 1
    assert world.aws.requests("CreateSnapshot") == (action == "snapshot_disk")
    assert world.letters == []


def test_an_operation_whose_row_a_producer_has_inserted_is_carried_out(world: World) -> None:
    operation_id = new_id()
    body = {"action": "create_disk", "operation_id": operation_id, "user_id": "ada", "disk_name": "data", "size_gb": 33}
    with world.conn.transaction():
        world.conn.execute(
            "insert into public.disk_operations (operation_id, action, user_id, disk_name, body)"
            " values (%s, 'create_disk', 'ada', 'data', '{\"size_gb\": 33}')",
            (operation_id,),
        )
        send(world.conn, QUEUE, body)

    world.run()

    assert (world.operation(operation_id)["status"], world.disk()["size_gb"]) == ("completed", 33)


def test_an_operation_that_no_worker_knows_fails_with_the_reason(world: World) -> None:
    operation_id = new_id()
    world.conn.execute(
        "insert into public.disk_operations (operation_id, action, user_id, disk_name)"
        " values (%s, 'shred', 'ada', 'data')",
        (operation_id,),
    )
    send(world.conn, QUEUE, {"action": "proceed", "operation_id": operation_id})

    world.run()

    assert refused(world.operation(operation_id)) == "action: shred is not known"


# The lock.


def test_the_lock_of_a_reservation_that_lives_is_not_cleared(world: World) -> None:
    world.create()
    row_id = world.held()

    operation = world.tell("clear_disk_lock")

    assert refused(operation) == f"reservation {row_id} is active: cancel it"
    assert world.disk()["reservation_id"] == row_id


def test_a_disk_that_nobody_holds_has_no_lock(world: World) -> None:
    world.create()

    assert done(world.tell("clear_disk_lock")) == "nobody holds it: it is available"


def test_the_lock_of_a_reservation_whose_row_is_gone_is_cleared_by_a_snapshot(world: World) -> None:
    world.create()
    row_id = world.held()
    volume_id = world.volume_of()
    lose_row(world.conn, row_id)
    world.aws.hold_snapshots()

    operation_id = world.ask("clear_disk_lock")
    world.until(lambda: world.snapshots() and world.snapshots()[0]["status"] == "creating")
    during = world.operation(operation_id)["status"], list(world.volumes)
    world.aws.complete_snapshots()
    world.until(lambda: world.operation(operation_id)["finished_at"])

    assert during == ("in_progress", [volume_id])
    assert done(world.operation(operation_id)) is None
    assert (world.disk()["status"], world.disk()["snapshot_count"], world.volumes) == ("available", 1, {})


def test_the_lock_of_a_reservation_that_has_ended_is_cleared_by_a_snapshot(world: World) -> None:
    world.create()
    row_id = world.held()
    world.conn.execute("update public.reservations set status = 'expired' where reservation_id = %s", (row_id,))

    operation = world.ended("clear_disk_lock")

    (snapshot,) = world.snapshots()
    assert done(operation) is None
    assert (snapshot["status"], snapshot["kind"], snapshot["reservation_id"]) == ("completed", "shutdown", row_id)
    assert (world.disk()["status"], world.disk()["reservation_id"], world.volumes) == ("available", None, {})


def test_to_clear_a_lock_that_is_being_released_waits_for_the_release(world: World) -> None:
    world.create()
    row_id = world.held()
    world.aws.hold_snapshots()
    world.given_back(row_id)

    operation_id = world.ask("clear_disk_lock")
    world.until(lambda: world.operation(operation_id).get("status") == "in_progress")
    world.until(lambda: world.snapshots()[0]["status"] == "creating")
    world.aws.complete_snapshots()
    world.until(lambda: world.operation(operation_id)["finished_at"])

    assert done(world.operation(operation_id)) is None
    assert len(world.snapshots()) == 1
