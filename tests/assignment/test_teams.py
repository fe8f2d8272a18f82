"""A team is on its owner's cluster: whatever has split it, members follow when they can, and until then it is told."""

import pytest

from pgfleet.schema.doctor.findings import LIMITS
from pgfleet.schema.doctor.hopsworks import hopsworks
from worlds.assignments import DEACTIVATED, ENABLED, QUEUE, Place, World
from worlds.fleet import send

OWNER, MEMBER, OTHER = "auth0|owner", "auth0|member", "auth0|other"


def team(world: World, *members: str) -> Place:
    """An owner and members on one cluster."""
    here = world.place()
    world.active(OWNER)
    world.users(*(members or (MEMBER,)), owner=OWNER)
    world.active(*(members or (MEMBER,)))
    return here


def drained(world: World, place: Place) -> None:
    place.change(status="maintenance")
    world.post({"action": "drain", "cluster_id": place.id})


def owner_elsewhere(world: World, there: Place) -> None:
    """Released, and assigned to another cluster."""
    world.tell("release", OWNER)
    world.active(OWNER, cluster_id=there.id)


def told(world: World) -> list[str]:
    return [finding.text for finding in hopsworks(world.conn, LIMITS) if "is split" in finding.text]


def test_a_drain_that_is_called_off_when_the_owner_has_left_brings_the_team_after_the_owner(world: World) -> None:
    old = team(world)
    new = world.place()
    old.change(status="maintenance")
    send(world.conn, QUEUE, {"action": "drain", "cluster_id": old.id})
    world.worker.run_until(lambda: world.place_of(OWNER) == new.id)

    old.change(status="active")
    world.run()
    world.sweep()

    assert (world.status(MEMBER), world.place_of(MEMBER)) == ("active", new.id)
    assert (old.account(MEMBER)["status"], new.account(MEMBER)["status"]) == (DEACTIVATED, ENABLED)
    assert told(world) == []


def test_members_follow_an_owner_who_was_assigned_elsewhere(world: World) -> None:
    old = team(world, MEMBER, OTHER)
    new = world.place()
    owner_elsewhere(world, new)

    split = told(world)
    world.sweep()

    team_of = "the team of owner@example.com is split: the owner is on"
    assert split == [f"{team_of} {new.name}, member@example.com on {old.name}, other@example.com on {old.name}"]
    assert {world.place_of(user) for user in (OWNER, MEMBER, OTHER)} == {new.id}
    assert "to be with the owner of the account" in world.one(
        "select string_agg(reason, ' ') from public.status_history where to_status = 'released'"
    )
    assert (old.seats_taken, new.seats_taken, told(world)) == (0, 3, [])


def test_a_member_who_can_not_follow_yet_says_so_and_follows_when_there_is_a_seat(world: World) -> None:
    old = team(world)
    new = world.place(1)
    owner_elsewhere(world, new)

    for _ in range(2):
        world.sweep()
    waits, split = world.row(MEMBER), told(world)
    new.change(max_users=2)
    world.sweep()

    assert (waits["status"], str(waits["hopsworks_cluster_id"])) == ("active", old.id)
    assert waits["detail"] == (
        f"Not with the owner of the account, who is on {new.name}, until there is a seat:"
        f" CLUSTER_FULL: all 1 seats of {new.name} are taken"
    )
    assert len(split) == 1
    assert world.place_of(MEMBER) == new.id


def test_who_joins_a_team_follows_its_owner(world: World) -> None:
    here, there = world.place(), world.place()
    world.active(OWNER, cluster_id=here.id)
    world.active(MEMBER, cluster_id=there.id)
    world.conn.execute("update hopsworks.users set account_owner_id = %s where id = %s", (OWNER, MEMBER))

    world.sweep()

    assert world.place_of(MEMBER) == here.id


def test_a_member_that_is_suspended_follows_when_reactivated(world: World) -> None:
    team(world)
    new = world.place()
    world.tell("suspend", MEMBER)
    owner_elsewhere(world, new)

    world.sweep()
    suspended = world.row(MEMBER)["detail"]
    world.tell("reactivate", MEMBER)
    world.sweep()

    assert "SUSPENDED" in suspended
    assert world.place_of(MEMBER) == new.id


@pytest.mark.parametrize("status", ["inactive", "maintenance"])
def test_nobody_follows_onto_a_cluster_that_takes_nobody(world: World, status: str) -> None:
    old = team(world)
    new = world.place()
    owner_elsewhere(world, new)
    new.change(status=status)

    world.sweep()

    assert world.place_of(MEMBER) == old.id
    assert f"CLUSTER_MAINTENANCE: {new.name} is in {status}" in world.row(MEMBER)["detail"]
    assert len(told(world)) == 1


def test_a_team_whose_owner_has_left_for_good_is_not_split(world: World) -> None:
    old = team(world)
    world.place()
    world.tell("release", OWNER)

    world.sweep()

    assert (world.place_of(MEMBER), told(world)) == (old.id, [])


def test_nobody_follows_an_owner_whose_account_is_not_made_yet(world: World) -> None:
    old = team(world)
    new = world.place()
    world.tell("release", OWNER)
    new.fault(method="POST", status=500, times=1000)
    world.tell("assign", OWNER, cluster_id=new.id)

    world.sweep()

    assert (world.status(OWNER), world.place_of(MEMBER)) == ("creating_user", old.id)
    assert len(told(world)) == 1


def test_members_that_a_setting_lets_go_elsewhere_are_no_split_and_stay(world: World) -> None:
    overflowing = world.with_settings(members_overflow=True)
    here = world.place(1)
    world.active(OWNER)
    there = world.place()
    world.users(MEMBER, owner=OWNER)
    overflowing.active(MEMBER)
    here.change(max_users=10)

    world.sweep()

    assert (world.place_of(MEMBER), told(world)) == (there.id, [])


def test_with_the_setting_who_finds_no_seat_beside_the_owner_stays_for_good(world: World) -> None:
    overflowing = world.with_settings(members_overflow=True)
    old = team(world)
    new = world.place(1)
    owner_elsewhere(world, new)

    overflowing.sweep()

    assert (world.place_of(MEMBER), told(world)) == (old.id, [])


def test_who_was_to_leave_a_cluster_that_is_open_again_says_nothing_of_it_any_more(world: World) -> None:
    old = team(world)
    drained(world, old)
    before = [world.row(user)["detail"] for user in (OWNER, MEMBER)]

    old.change(status="active")
    world.run()

    assert all(detail.startswith(f"Stays on {old.name} until") for detail in before)
    assert [world.row(user)["detail"] for user in (OWNER, MEMBER)] == [f"owner on {old.name}", f"member on {old.name}"]
