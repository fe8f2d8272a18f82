"""Operations on disks that are placed with their message: there at once, checked by the worker as any other."""

from collections.abc import Iterator

import pytest

from pgfleet.producers.placing.disk import place_disk_operation
from pgfleet.producers.placing.refusing import IdUsedError, NotTheirsError
from pgfleet.schema.disk import CloneDisk, CreateDisk, DeleteDisk, Operation
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.identity.speaking import speaking_for
from worlds.api.login import ADA, BOB, serving_on
from worlds.database import Connection
from worlds.disks import World, for_a_test, servers, world_on
from worlds.fleet import new_id, owner_dsn


@pytest.fixture(scope="module")
def module_world(server_dsn: str, template: str) -> Iterator[World]:
    with servers() as (box, _), world_on(server_dsn, template, box) as running:
        yield running


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    yield from for_a_test(module_world)


@pytest.fixture
def api(world: World) -> Iterator[Connection]:
    with serving_on(owner_dsn(world.disks)) as conn:
        yield conn


def new_disk(operation_id: str | None = None, disk_name: str = "data", size_gb: int = 20) -> CreateDisk:
    return CreateDisk(operation_id=operation_id or new_id(), user_id="ada", disk_name=disk_name, size_gb=size_gb)


def placed(api: Connection, message: Operation, who: Principal = ADA) -> str:
    with speaking_for(api, who):
        return place_disk_operation(api, message)


def test_a_placed_operation_is_there_at_once_and_is_done(world: World, api: Connection) -> None:
    operation_id = placed(api, new_disk())
    assert world.operation(operation_id)["status"] == "pending"

    world.until(lambda: world.operation(operation_id)["finished_at"])

    operation = world.operation(operation_id)
    assert (operation["status"], operation["unchecked_since"]) == ("completed", None)
    assert (world.disk()["size_gb"], world.letters) == (20, [])


def test_it_is_the_row_that_its_message_alone_would_make(world: World, api: Connection) -> None:
    message = CloneDisk(operation_id=new_id(), user_id="ada", source_disk="data", target_disk="copy")
    ids = [placed(api, message), world.ask("clone_disk", source_disk="data", target_disk="copy")]
    world.disks.run_once()

    one, other = (world.operation(operation_id) for operation_id in ids)

    assert {name: one[name] for name in ("action", "user_id", "disk_name")} == {
        name: other[name] for name in ("action", "user_id", "disk_name")
    }
    assert {**one["body"], "operation_id": ""} == {**other["body"], "operation_id": ""}


def test_more_than_may_wait_have_failed_with_the_reason_in_that_commit(world: World, api: Connection) -> None:
    world.conn.execute(
        "insert into public.policies (applies_to, subject, limit_name, most)"
        " values ('user', 'ada', 'disk_operations', 0)"
    )
    operation_id = placed(api, new_disk())

    world.disks.run_once()

    operation = world.operation(operation_id)
    assert (operation["status"], world.letters) == ("failed", [operation["error"]])
    assert "may have 0" in operation["error"]
    world.conn.execute("delete from public.policies where subject = 'ada'")


def test_one_that_is_not_as_its_message_asks_fails(world: World, api: Connection) -> None:
    operation_id = placed(api, new_disk())
    world.conn.execute("update public.disk_operations set disk_name = 'other'")

    world.disks.run_once()

    assert world.operation(operation_id)["error"] == "disk_name: not as the row has it that was placed with the message"


def test_one_whose_message_is_gone_fails_by_the_sweep(world: World, api: Connection) -> None:
    operation_id = placed(api, new_disk())
    world.conn.execute("delete from pgmq.q_disk_operations")
    world.pass_time(61)

    world.sweep()
    world.until(lambda: world.operation(operation_id)["finished_at"])

    assert "its message was lost" in world.operation(operation_id)["error"]


def test_the_same_again_is_one_operation_and_something_else_is_refused(world: World, api: Connection) -> None:
    operation_id = placed(api, new_disk())

    assert placed(api, new_disk(operation_id)) == operation_id
    for message in (
        new_disk(operation_id, size_gb=30),
        DeleteDisk(operation_id=operation_id, user_id="ada", disk_name="data"),
    ):
        with pytest.raises(IdUsedError):
            placed(api, message)

    assert world.one("select count(*) from pgmq.q_disk_operations") == {"count": 1}


def test_nobody_places_for_another(world: World, api: Connection) -> None:
    with pytest.raises(NotTheirsError):
        placed(api, new_disk(), BOB)

    assert world.all("select * from public.disk_operations") == []
