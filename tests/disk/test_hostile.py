"""What a sender claims of disks is believed of its own only, each value has a bound, and so has what one user has."""

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from pgfleet.schema.disk import ACTIONS, QUEUE, read
from pgfleet.schema.messages import BadMessage
from pgfleet.workers.clients.aws.ec2 import Ec2
from worlds.disks import World
from worlds.fleet import new_id, send
from worlds.outside.hostile import good_bodies, hostile_bodies

GOOD: dict[str, Any] = {
    **{name: new_id() for name in ("operation_id", "disk_id", "snapshot_id")},
    "user_id": "ada",
    **dict.fromkeys(("disk_name", "source_disk", "target_disk"), "data"),
    "size_gb": 20,
    "ticket": 1,
    "resource_id": "vol-1",
}
INSERT = """
insert into public.disk_operations (operation_id, action, user_id, disk_name, body, status)
values (%s, %s, 'ada', %s, %s, 'pending')
"""


def limit(world: World, **most: int) -> None:
    for name, number in most.items():
        world.conn.execute("update public.policies set most = %s where limit_name = %s", (number, name))


def error_of(operation: dict[str, Any]) -> str:
    assert operation["status"] == "failed"
    return str(operation["error"])


def test_messages_in_which_nothing_is_hostile_are_read() -> None:
    for body in good_bodies(ACTIONS, GOOD):
        assert read(body).model_dump(exclude_unset=True) == body


@pytest.mark.parametrize("action", ACTIONS)
def test_no_field_takes_a_hostile_value(action: str) -> None:
    for _, field, body in hostile_bodies({action: ACTIONS[action]}, GOOD):
        with pytest.raises(BadMessage, match=field) as refused:
            read(body)
        assert len(str(refused.value)) <= 600


def test_an_id_of_anothers_operation_is_refused(world: World) -> None:
    theirs = world.ask("create_disk", user="bob", size_gb=20)
    world.run()

    world.ask("create_disk", operation_id=theirs, size_gb=20)
    world.run()

    assert world.letters == [f"operation {theirs} does not belong to ada"]
    assert world.operation(theirs)["user_id"] == "bob"


def test_a_snapshot_of_anothers_disk_is_restored_by_nobody_else(world: World) -> None:
    world.used("data", user="bob")
    (snapshot,) = world.snapshots("data", user="bob")
    world.create("mine")

    told = error_of(world.ended("restore_disk", "mine", snapshot_id=str(snapshot["snapshot_id"])))

    assert told == f"disk mine has no completed snapshot {snapshot['snapshot_id']}"


@pytest.mark.parametrize(
    ("action", "body", "told"),
    [
        ("create_disk", {"size_gb": 10**9}, "size_gb: must be at most 10000, not 1000000000"),
        ("create_disk", {}, "size_gb: is missing"),
        ("create_disk", {"size_gb": 20, "user_id": "bob", "disk_name": "../x"}, None),
        ("clone_disk", {"source_disk": ["data"]}, "source_disk: must be text"),
        ("restore_disk", {"snapshot_id": "1"}, "snapshot_id: must be a UUID"),
        ("delete_disk", {"more": 1}, "more: is not known"),
    ],
)
def test_an_operation_that_a_service_has_inserted_is_checked_as_a_message(
    world: World, action: str, body: dict[str, Any], told: str | None
) -> None:
    operation_id = new_id()
    world.conn.execute(INSERT, (operation_id, action, "new", Jsonb(body)))

    send(world.conn, QUEUE, {"action": "proceed", "operation_id": operation_id})
    world.run()

    found = world.operation(operation_id)
    assert (found["error"] or "").startswith(told or "")
    assert found["status"] == ("completed" if told is None else "failed")
    assert [disk["user_id"] for disk in world.all("select user_id from public.disks")] == ["ada"] * (told is None)


def test_more_disks_than_a_user_may_have_are_refused_with_what_is_used(world: World) -> None:
    limit(world, disks=2, disk_gb=60)
    world.create("first", 20)

    told = [
        error_of(world.ended("create_disk", "large", size_gb=41)),
        *(world.ended("create_disk", "second", size_gb=20)["status"],),
        error_of(world.ended("create_disk", "third", size_gb=10)),
        error_of(world.ended("clone_disk", source_disk="first", target_disk="fourth")),
    ]

    assert told == [
        "ada has 20 GB of disks, and may have 60; 41 more would be too many",
        "completed",
        "ada has 2 disks, and may have 2",
        "ada has 2 disks, and may have 2",
    ]


def test_a_disk_that_was_deleted_still_counts(world: World) -> None:
    """It can be brought back, and AWS still has it."""
    limit(world, disks=1)
    world.create("first", 20)
    world.ended("delete_disk", "first")

    assert error_of(world.ended("create_disk", "second", size_gb=20)) == "ada has 1 disks, and may have 1"


def test_more_snapshots_than_a_user_may_have_are_refused_and_the_one_of_a_release_never_is(world: World) -> None:
    limit(world, disk_snapshots=2)
    world.create()
    row_id = world.held()

    told = [world.ended("snapshot_disk")["error"] for _ in range(3)]
    world.cancel(row_id)
    world.over(row_id)

    assert told == [None, None, "ada has 2 snapshots that were asked for, and may have 2"]
    assert [snapshot["status"] for snapshot in world.snapshots()] == ["completed"] * 3


def test_more_operations_than_may_wait_are_rejected(world: World) -> None:
    limit(world, disk_operations=2)

    for number in range(4):
        world.ask("delete_disk", f"nobody-has-{number}")
    world.ask("create_disk", "theirs", user="bob", size_gb=20)
    world.run()

    assert world.letters == ["ada has 2 operations on disks that are not over, and may have 2"] * 2
    assert world.disk("theirs", "bob")["status"] == "available"


def test_a_comparison_that_is_asked_for_a_hundred_times_lists_aws_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    world.conn.execute("update public.periodic set done_at = null")
    listed: list[Ec2] = []
    volumes = Ec2.volumes

    def counted(self: Ec2) -> Any:
        listed.append(self)
        return volumes(self)

    monkeypatch.setattr(Ec2, "volumes", counted)
    for _ in range(100):
        send(world.conn, QUEUE, {"action": "reconcile"})
        send(world.conn, QUEUE, {"action": "proceed", "operation_id": new_id()})
    world.run()

    assert len(listed) == 1


def test_a_volume_is_of_the_disk_that_its_tags_name_and_not_of_that_which_a_message_names(world: World) -> None:
    world.create()
    world.held()
    volume_id = world.volume_of()
    world.create("other")
    other = str(world.disk("other")["disk_id"])

    for named in ({}, {"disk_id": other}, {"snapshot_id": new_id()}):
        send(world.conn, QUEUE, {"action": "suspect", "resource_id": volume_id, **named})
    world.run()

    assert world.all("select from public.disk_quarantine") == []
    assert volume_id in world.volumes
