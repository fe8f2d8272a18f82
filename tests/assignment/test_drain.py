"""Draining a cluster: its users and their teams move while there is room elsewhere, and nobody loses a seat."""

from collections import Counter

import pytest

from worlds.assignments import DEACTIVATED, ENABLED, QUEUE, Place, World
from worlds.fleet import send

ADA, BOB, CLEO = "auth0|ada", "auth0|bob", "auth0|cleo"
OWNER, MEMBER = "auth0|owner", "auth0|member"


def drain(world: World, place: Place) -> None:
    """As an operator does it."""
    place.change(status="maintenance")
    world.post({"action": "drain", "cluster_id": place.id})


def rounds(world: World, number: int = 3) -> None:
    """Those who wait look again."""
    for _ in range(number):
        world.later(61)


def enabled(place: Place) -> int:
    return sum(account["status"] == ENABLED for account in place.accounts.values())


def test_a_user_moves_with_a_new_account_and_the_old_one_is_deactivated(world: World) -> None:
    old = world.place()
    world.active(ADA)
    username = world.row(ADA)["hopsworks_username"]
    new = world.place()

    drain(world, old)

    assert world.moves(ADA)[-4:] == ["released", "pending", "creating_user", "active"]
    assert (world.place_of(ADA), old.seats_taken, new.seats_taken) == (new.id, 0, 1)
    assert (old.account(ADA)["status"], new.account(ADA)["status"]) == (DEACTIVATED, ENABLED)
    reasons = world.conn.execute("select reason from public.status_history where to_status = 'released'").fetchall()
    assert reasons == [(f"released from {old.name} ({username}): its cluster is drained",)]


def test_an_owner_and_the_team_end_on_one_cluster_together(world: World) -> None:
    old = world.place()
    world.active(OWNER)
    team = [f"auth0|m{number}" for number in range(5)]
    world.users(*team, owner=OWNER)
    world.active(*team)
    places = [world.place() for _ in range(3)]

    drain(world, old)
    rounds(world, 4)

    assert {world.status(user) for user in (OWNER, *team)} == {"active"}
    assert len({world.place_of(user) for user in (OWNER, *team)}) == 1
    assert sorted(place.seats_taken for place in places) == [0, 0, 6]
    assert (old.seats_taken, enabled(old)) == (0, 0)


def test_who_assigned_a_user_stays_on_record(world: World) -> None:
    old = world.place()
    world.active(ADA, assigned_by="admin")
    world.place()

    drain(world, old)

    assert world.row(ADA)["assigned_by"] == "admin"


def test_nobody_leaves_while_no_seat_is_free_elsewhere(world: World) -> None:
    old = world.place()
    world.active(ADA)
    before = world.moves(ADA)
    full = world.place(1)
    world.active(BOB, cluster_id=full.id)

    drain(world, old)
    rounds(world)
    held = world.row(ADA)
    full.change(max_users=2)
    rounds(world, 1)

    assert held["detail"] == (
        f"Stays on {old.name} until there is a seat elsewhere: CLUSTER_FULL: no free seat on any of 1 clusters"
    )
    assert (held["status"], held["ticket"]) == ("active", 3)
    assert len(before) == 3
    assert (world.status(ADA), world.place_of(ADA)) == ("active", full.id)


def test_no_more_leave_than_there_are_seats_elsewhere(world: World) -> None:
    """All look at the same three seats at one moment."""
    old, users = world.place(), [f"auth0|u{number}" for number in range(12)]
    world.active(*users)
    new = world.place(3)

    drain(world, old)

    assert {world.status(user) for user in users} == {"active"}
    assert Counter(world.place_of(user) for user in users) == {old.id: 9, new.id: 3}
    assert (enabled(old), enabled(new)) == (9, 3)


def test_a_drain_ends_when_the_cluster_is_opened_again(world: World) -> None:
    old = world.place()
    world.active(ADA, BOB)
    full = world.place(0)
    drain(world, old)

    old.change(status="active")
    full.change(max_users=10)
    rounds(world)

    assert {world.place_of(ADA), world.place_of(BOB)} == {old.id}
    assert (world.queued("move_user"), enabled(old), full.seats_taken) == (0, 2, 0)


def test_a_cluster_that_takes_new_users_is_not_drained(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.place()

    world.post({"action": "drain", "cluster_id": here.id})

    assert world.place_of(ADA) == here.id
    assert world.queued("move_user") == 0


def test_a_drain_twice_moves_everybody_once(world: World) -> None:
    old = world.place()
    world.active(ADA, BOB)
    new = world.place()
    old.change(status="maintenance")

    for _ in range(2):
        world.conn.execute(
            "select pgmq.send('cluster_assignments', jsonb_build_object('action', 'drain', 'cluster_id', %s::text))",
            (old.id,),
        )
    world.run()
    rounds(world, 1)

    assert {world.place_of(ADA), world.place_of(BOB)} == {new.id}
    assert world.moves(ADA).count("released") == 1
    assert (new.seats_taken, new.server["posts"], world.letters) == (2, 2, [])


def test_an_account_that_is_still_being_made_is_made_elsewhere(world: World) -> None:
    old = world.place()
    world.users(ADA)
    world.ask("assign", ADA)
    world.worker.run_until(lambda: world.status(ADA) == "creating_user")
    new = world.place()

    drain(world, old)

    assert world.moves(ADA) == ["pending", "creating_user", "active"]
    assert (world.place_of(ADA), old.seats_taken, new.seats_taken) == (new.id, 0, 1)
    assert (enabled(old), enabled(new)) == (0, 1)


def test_a_suspended_user_of_a_drained_cluster_never_loses_the_seat(world: World) -> None:
    """Suspended people keep their seat (018): on the old cluster or on the new one."""
    old = world.place()
    world.active(ADA)
    world.tell("suspend", ADA)
    new = world.place(1)
    drain(world, old)
    rounds(world)
    seats = old.seats_taken + new.seats_taken
    world.users(BOB)
    world.tell("assign", BOB)

    world.tell("reactivate", ADA)
    rounds(world)

    assert seats == 1
    assert world.status(ADA) == "active"


def test_a_suspended_user_moves_with_the_drain_at_the_latest_when_reactivated(world: World) -> None:
    old = world.place()
    world.active(ADA)
    world.tell("suspend", ADA)
    new = world.place()
    drain(world, old)
    rounds(world)
    during = enabled(old), enabled(new)

    world.tell("reactivate", ADA)
    rounds(world)

    assert during == (0, 0)
    assert (world.status(ADA), world.place_of(ADA), old.seats_taken) == ("active", new.id, 0)
    assert (old.account(ADA)["status"], new.account(ADA)["status"]) == (DEACTIVATED, ENABLED)


def test_a_member_that_is_suspended_with_its_owner_is_left_out_of_nothing(world: World) -> None:
    old = world.place()
    world.active(OWNER)
    world.users(MEMBER, owner=OWNER)
    world.active(MEMBER)
    world.tell("suspend", OWNER)
    new = world.place()
    drain(world, old)

    world.tell("reactivate", OWNER)
    rounds(world, 4)

    assert {world.place_of(OWNER), world.place_of(MEMBER)} == {new.id}
    assert (old.seats_taken, enabled(old), enabled(new)) == (0, 0, 2)


def test_who_is_released_during_a_drain_moves_nowhere(world: World) -> None:
    old = world.place()
    world.active(ADA)
    full = world.place(0)
    drain(world, old)

    world.tell("release", ADA)
    full.change(max_users=5)
    rounds(world)

    assert (world.status(ADA), full.seats_taken, world.queued("move_user")) == ("released", 0, 0)


def moving(world: World, seats: int = 100) -> tuple[Place, Place]:
    """ADA has left a drained cluster, has a seat on another, and no account there yet."""
    old = world.place()
    world.active(ADA)
    new = world.place(seats)
    old.change(status="maintenance")
    send(world.conn, QUEUE, {"action": "drain", "cluster_id": old.id})
    world.worker.run_until(lambda: world.status(ADA) != "active")
    return old, new


def test_who_is_released_in_the_middle_of_a_move_has_no_seat_anywhere(world: World) -> None:
    old, new = moving(world)

    world.tell("release", ADA)
    rounds(world)

    assert world.status(ADA) in ("released", "failed")
    assert (old.seats_taken, new.seats_taken, enabled(old), enabled(new)) == (0, 0, 0, 0)


def test_who_moves_to_a_cluster_that_is_switched_off_meanwhile_moves_on(world: World) -> None:
    _, new = moving(world)
    third = world.place()

    new.change(status="inactive")
    world.run()
    rounds(world)

    assert (world.status(ADA), world.place_of(ADA), new.seats_taken) == ("active", third.id, 0)


def test_nobody_takes_the_seat_of_who_is_on_the_way(world: World) -> None:
    _, new = moving(world, 1)
    world.users(BOB)

    world.tell("assign", BOB)
    rounds(world)

    assert (world.status(ADA), world.place_of(ADA), world.status(BOB)) == ("active", new.id, "pending")


def test_who_is_suspended_in_the_middle_of_a_move_arrives_suspended(world: World) -> None:
    old, new = moving(world)

    world.tell("suspend", ADA)
    rounds(world)
    during = enabled(old), enabled(new), old.seats_taken + new.seats_taken
    world.tell("reactivate", ADA)
    rounds(world)

    assert during == (0, 0, 1)
    assert (world.status(ADA), enabled(old), enabled(new)) == ("active", 0, 1)


def settled(world: World, place: Place, number: int) -> list[str]:
    """Users who were on a cluster before this program was."""
    users = [f"auth0|u{one:04}" for one in range(number)]
    world.users(*users)
    table = "hopsworks.user_hopsworks_assignments"
    world.conn.execute(
        f"insert into {table} (user_id, hopsworks_cluster_id, holds_seat) select id, %s, true from hopsworks.users",
        (place.id,),
    )
    world.conn.execute(f"update {table} set status = 'creating_user'")
    world.conn.execute(
        f"update {table} set status = 'active', hopsworks_username = user_id, account_enabled = true, max_projects = 1,"
        " checked_at = now(), hopsworks_user_id = substr(user_id, 8)::int"
    )
    return users


def test_an_inactive_cluster_is_drained_without_a_call_to_it(world: World) -> None:
    old, new = world.place(), world.place()
    users = settled(world, old, 20)
    old.change(status="inactive")

    world.post({"action": "drain", "cluster_id": old.id})

    assert Counter(world.place_of(user) for user in users) == {new.id: 20}
    assert (old.seats_taken, new.server["created"], old.server["requests"]) == (0, 20, 0)


def test_a_big_cluster_is_emptied_as_seats_come_free_elsewhere(world: World) -> None:
    old, new = world.place(1000), world.place(0)
    settled(world, old, 510)
    drain(world, old)
    held = old.seats_taken, world.one("select count(*) from pgmq.q_cluster_assignments") < 10

    new.change(max_users=10)
    rounds(world, 1)

    assert held == (510, True)
    assert (old.seats_taken, new.seats_taken) == (500, 10)


@pytest.mark.parametrize("seats", [3, 7])
def test_page_by_page_no_more_leave_than_there_are_seats_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch, seats: int
) -> None:
    monkeypatch.setattr("pgfleet.workers.assignment.view.PAGE", 5)
    monkeypatch.setattr("pgfleet.workers.assignment.requests.PAGE", 5)
    old, new = world.place(), world.place(seats)
    users = settled(world, old, 18)

    drain(world, old)
    rounds(world)

    assert Counter(world.place_of(user) for user in users) == {old.id: 18 - seats, new.id: seats}


def test_two_clusters_that_are_drained_at_once_send_no_more_than_there_are_seats(world: World) -> None:
    one, two = world.place(), world.place()
    world.active(*[f"auth0|a{number}" for number in range(6)], cluster_id=one.id)
    world.active(*[f"auth0|b{number}" for number in range(6)], cluster_id=two.id)
    new = world.place(4)
    one.change(status="maintenance")
    two.change(status="maintenance")
    for place in (one, two):
        send(world.conn, QUEUE, {"action": "drain", "cluster_id": place.id})

    world.run()
    rounds(world)

    assert new.seats_taken == 4
    assert one.seats_taken + two.seats_taken == 8


def test_a_page_that_is_just_full_is_no_endless_drain(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgfleet.workers.assignment.view.PAGE", 5)
    monkeypatch.setattr("pgfleet.workers.assignment.requests.PAGE", 5)
    old, new = world.place(), world.place()
    users = settled(world, old, 15)

    drain(world, old)

    assert Counter(world.place_of(user) for user in users) == {new.id: 15}
    assert (world.queued("drain"), world.letters) == (0, [])
