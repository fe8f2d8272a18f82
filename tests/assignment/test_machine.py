"""What is asked about users, message by message: who gets a seat and an account, who waits, who is refused."""

from collections import Counter
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from pgfleet.schema.assignment import row_id
from worlds.assignments import DEACTIVATED, ENABLED, World
from worlds.fleet import new_id

ADA, BOB, CLEO = "auth0|ada", "auth0|bob", "auth0|cleo"
OWNER, MEMBER = "auth0|owner", "auth0|member"


# Assign.


def test_a_user_gets_a_seat_and_the_account_that_the_server_tells(world: World) -> None:
    here = world.place()
    world.users(ADA)

    world.tell("assign", ADA)

    row, account = world.row(ADA), here.account(ADA)
    assert world.moves(ADA) == ["pending", "creating_user", "active"]
    assert (row["hopsworks_username"], row["hopsworks_user_id"]) == (account["username"], account["id"])
    assert (str(row["hopsworks_cluster_id"]), row["holds_seat"], row["account_enabled"]) == (here.id, True, True)
    assert (row["assigned_by"], row["id"]) == ("system", row_id(ADA))
    assert (account["subject"], account["status"], account["maxNumProjects"]) == (ADA, ENABLED, 1)
    assert here.seats_taken == 1
    assert world.one("select hopsworks_username from hopsworks.users where id = %s", ADA) == account["username"]
    assert world.letters == []


def test_the_least_loaded_cluster_is_taken(world: World) -> None:
    busy, free = world.place(), world.place()
    world.active(ADA, BOB, cluster_id=busy.id)
    world.active(CLEO, cluster_id=free.id)

    world.active("auth0|dan")

    assert world.place_of("auth0|dan") == free.id


def test_of_clusters_with_equal_loads_each_gets_its_share(world: World) -> None:
    places = [world.place() for _ in range(3)]
    users = [f"auth0|u{number}" for number in range(9)]
    world.users(*users)

    with world.conn.transaction():
        for user in users:
            world.ask("assign", user)
    world.run()

    assert Counter(world.place_of(user) for user in users) == {place.id: 3 for place in places}


def test_the_cluster_that_is_named_is_taken_though_it_has_more_users(world: World) -> None:
    here, _ = world.place(), world.place()
    world.active(ADA, cluster_id=here.id)

    world.active(BOB, cluster_id=here.id)

    assert world.place_of(BOB) == here.id
    assert world.row(BOB)["assigned_by"] == "admin"


def test_a_cluster_that_nobody_knows_is_refused_and_nothing_is_written(world: World) -> None:
    world.place()
    world.users(ADA)
    unknown = new_id()

    world.tell("assign", ADA, cluster_id=unknown)

    assert world.letters == [f"cluster_id: there is no Hopsworks cluster {unknown}; see `pgfleet hopsworks`"]
    assert world.status(ADA) is None


def test_an_inactive_cluster_is_refused_and_nothing_is_written(world: World) -> None:
    here = world.place(status="inactive")
    world.users(ADA)

    world.tell("assign", ADA, cluster_id=here.id)

    assert world.letters == [f"cluster_id: {here.name} is inactive"]
    assert world.status(ADA) is None


def test_who_names_a_cluster_in_maintenance_waits_for_its_end(world: World) -> None:
    here, _ = world.place(status="maintenance"), world.place()
    world.users(ADA)
    world.tell("assign", ADA, cluster_id=here.id)
    world.later(1)
    assert world.row(ADA)["detail"] == f"CLUSTER_MAINTENANCE: {here.name} is in maintenance: it takes no new users"

    here.change(status="active")
    world.run()

    assert (world.status(ADA), world.place_of(ADA)) == ("active", here.id)


def test_a_named_cluster_may_be_written_in_capitals(world: World) -> None:
    here = world.place()

    world.active(ADA, cluster_id=here.id.upper())
    world.tell("assign", ADA, cluster_id=here.id.upper())

    assert world.letters == []


def test_without_any_cluster_a_user_waits_and_is_told_so(world: World) -> None:
    world.users(ADA)

    world.tell("assign", ADA)
    world.later(1)

    assert world.row(ADA)["detail"] == "NO_CLUSTER: no Hopsworks cluster is active"


def test_a_user_that_nobody_knows_is_waited_for_and_then_refused(world: World) -> None:
    world.place()
    world.tell("assign", ADA)
    assert world.letters == []

    world.later(31)

    assert world.letters == [f"there is no user {ADA} in hopsworks.users"]
    assert world.status(ADA) is None


def test_a_user_who_comes_after_the_assign_is_assigned(world: World) -> None:
    world.place()
    world.tell("assign", ADA)
    world.users(ADA)

    world.later(31)

    assert world.status(ADA) == "active"
    assert world.letters == []


def test_assign_twice_takes_one_seat(world: World) -> None:
    here = world.place()
    world.active(ADA)
    before = world.row(ADA)

    world.tell("assign", ADA)

    assert world.row(ADA) == before
    assert (here.seats_taken, here.server["posts"]) == (1, 1)
    assert world.letters == []


def test_assign_twice_in_one_claim_takes_one_seat(world: World) -> None:
    here = world.place()
    world.users(ADA)

    world.ask("assign", ADA)
    world.ask("assign", ADA)
    world.run()

    assert world.moves(ADA) == ["pending", "creating_user", "active"]
    assert (here.seats_taken, here.server["posts"]) == (1, 1)


def test_naming_the_cluster_that_one_is_on_is_no_error(world: World) -> None:
    here = world.place()
    world.active(ADA)

    world.tell("assign", ADA, cluster_id=here.id)

    assert world.letters == []


def test_naming_another_cluster_while_active_is_refused_and_the_user_stays(world: World) -> None:
    here = world.place()
    world.active(ADA)
    there, before = world.place(), world.row(ADA)

    world.tell("assign", ADA, cluster_id=there.id)

    assert world.letters == [f"cluster_id: {ADA} is on {here.name} already; release the user first"]
    assert world.row(ADA) == before
    assert (here.seats_taken, there.seats_taken) == (1, 0)


def test_who_waits_may_name_another_cluster(world: World) -> None:
    full, free = world.place(0), world.place()
    world.users(ADA)
    world.tell("assign", ADA, cluster_id=full.id)
    assert world.status(ADA) == "pending"

    world.tell("assign", ADA, cluster_id=free.id)

    assert (world.status(ADA), world.place_of(ADA)) == ("active", free.id)
    assert world.letters == []


def test_a_row_that_a_producer_inserts_with_its_message_is_worked_on(world: World) -> None:
    here = world.place()
    world.users(ADA)
    with world.conn.transaction():
        world.conn.execute(
            "insert into hopsworks.user_hopsworks_assignments (user_id, assigned_by) values (%s, 'admin')", (ADA,)
        )
        world.ask("assign", ADA, assigned_by="admin")
    assert world.row(ADA)["ticket"] == 0

    world.run()

    assert (world.status(ADA), world.row(ADA)["assigned_by"]) == ("active", "admin")
    assert here.seats_taken == 1


def test_a_row_that_a_producer_inserts_without_any_message_is_found_by_the_sweep(world: World) -> None:
    world.place()
    world.users(ADA)
    world.conn.execute("insert into hopsworks.user_hopsworks_assignments (user_id) values (%s)", (ADA,))

    world.later(11)
    world.sweep()

    assert world.status(ADA) == "active"


def adopted(world: World, message: bool) -> Any:  # noqa: FBT001  # with a message or not
    """ADA on a cluster, as a service that works without a queue writes her (document 000)."""
    here, _ = world.place(), world.place()
    world.users(ADA)
    with world.conn.transaction():
        world.conn.execute(
            "insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id, assigned_by)"
            " values (%s, %s, 'system')",
            (ADA, here.id),
        )
        world.conn.execute("select hopsworks.increment_cluster_users(%s)", (here.id,))
        if message:
            world.ask("assign", ADA)
    world.run()
    return here


def test_a_row_with_a_counted_seat_is_adopted_without_a_second_one(world: World) -> None:
    here = adopted(world, message=True)

    assert (world.status(ADA), world.place_of(ADA)) == ("active", here.id)
    assert here.seats_taken == 1


def test_a_row_with_a_counted_seat_and_no_message_is_adopted_by_the_sweep(world: World) -> None:
    here = adopted(world, message=False)

    world.later(11)
    world.sweep()

    assert (world.status(ADA), world.place_of(ADA)) == ("active", here.id)
    assert here.seats_taken == 1


def test_a_row_with_a_counted_seat_that_is_released_at_once_gives_it_back(world: World) -> None:
    here = adopted(world, message=False)

    world.tell("release", ADA)

    assert (world.status(ADA), here.seats_taken) == ("failed", 0)


def test_the_count_of_a_seat_without_a_message_is_no_mismatch(world: World) -> None:
    here = adopted(world, message=False)

    world.sweep("sweep_seats")

    assert (here.seats_taken, here.failures) == (1, [])
    world.later(11)
    world.sweep()


def test_an_adopted_row_gives_its_seat_back_when_it_is_released(world: World) -> None:
    here = adopted(world, message=True)
    world.later(11)
    world.sweep()

    world.tell("release", ADA)

    assert (world.status(ADA), here.seats_taken) == ("released", 0)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("assigned_by", ["system", "admin", "team_member_auto"])
def test_who_assigns_is_written_as_the_message_says(world: World, assigned_by: str, named: bool) -> None:  # noqa: FBT001
    here = world.place()

    world.active(ADA, assigned_by=assigned_by, **({"cluster_id": here.id} if named else {}))

    assert world.row(ADA)["assigned_by"] == assigned_by


# Owners and their team.


def test_a_member_goes_to_the_owners_cluster_though_another_is_emptier(world: World) -> None:
    here = world.place()
    world.active(OWNER)
    world.place()
    world.users(MEMBER, owner=OWNER)

    world.active(MEMBER)

    assert world.place_of(MEMBER) == here.id
    assert world.row(MEMBER)["assigned_by"] == "team_member_auto"
    assert here.account(MEMBER)["maxNumProjects"] == 0


def test_a_member_waits_for_its_owner_and_follows_at_once(world: World) -> None:
    here = world.place()
    world.users(OWNER)
    world.users(MEMBER, owner=OWNER)
    world.tell("assign", MEMBER)
    world.later(1)
    waiting = world.row(MEMBER)

    world.tell("assign", OWNER)

    assert waiting["detail"] == "OWNER_NOT_ASSIGNED: the owner of the account has no cluster yet"
    assert (world.status(OWNER), world.status(MEMBER)) == ("active", "active")
    assert world.place_of(MEMBER) == here.id


def test_an_owner_and_a_team_in_one_claim_all_get_there(world: World) -> None:
    places = [world.place() for _ in range(3)]
    team = [f"auth0|m{number}" for number in range(5)]
    world.users(OWNER)
    world.users(*team, owner=OWNER)

    for user in (*team, OWNER):
        world.ask("assign", user)
    world.run()
    world.later(61)

    assert {world.status(user) for user in (OWNER, *team)} == {"active"}
    assert len({world.place_of(user) for user in (OWNER, *team)}) == 1
    assert sorted(place.seats_taken for place in places) == [0, 0, 6]


def test_a_member_whose_owner_never_comes_fails_and_may_be_assigned_again(world: World) -> None:
    world.place()
    world.users(OWNER)
    world.users(MEMBER, owner=OWNER)
    world.tell("assign", MEMBER)
    world.later(23 * 3600)
    assert world.status(MEMBER) == "pending"

    world.later(3700)
    failed = world.row(MEMBER)
    world.active(OWNER)
    world.tell("assign", MEMBER)

    reason = "OWNER_NOT_ASSIGNED: the owner of the account has no cluster yet; waited 24 hours for it"
    assert (failed["status"], failed["status_reason"]) == ("failed", reason)
    assert failed["failed_at"] is not None
    assert world.status(MEMBER) == "active"
    assert world.row(MEMBER)["failed_at"] is None
    assert world.place_of(MEMBER) == world.place_of(OWNER)


def test_a_member_waits_for_a_seat_on_the_owners_full_cluster(world: World) -> None:
    here = world.place(1)
    world.active(OWNER)
    elsewhere = world.place()
    world.users(MEMBER, owner=OWNER)

    world.tell("assign", MEMBER)
    world.later(1)

    assert world.row(MEMBER)["detail"] == f"CLUSTER_FULL: all 1 seats of {here.name} are taken"
    assert (world.status(MEMBER), elsewhere.seats_taken) == ("pending", 0)


def test_with_members_overflow_a_member_goes_elsewhere_only_if_the_owners_cluster_is_full(world: World) -> None:
    world = world.with_settings(members_overflow=True)
    here = world.place(2)
    world.active(OWNER)
    elsewhere = world.place()
    world.users(MEMBER, BOB, owner=OWNER)

    world.active(MEMBER)
    world.active(BOB)

    assert (world.place_of(MEMBER), world.place_of(BOB)) == (here.id, elsewhere.id)


def test_with_members_overflow_members_who_have_to_wait_are_in_nobodys_way(world: World) -> None:
    """The line's page is not filled with those who don't get a seat, however many."""
    world = world.with_settings(members_overflow=True)
    here = world.place()
    world.active(OWNER)
    elsewhere = world.place()
    here.change(status="maintenance")
    members = [f"auth0|m{number}" for number in range(101)]
    world.users(*members, owner=OWNER)
    for member in members:
        world.ask("assign", member)
    world.run()

    world.users(ADA)
    world.tell("assign", ADA)

    assert (world.status(ADA), world.place_of(ADA)) == ("active", elsewhere.id)


@pytest.mark.parametrize("owner_is_assigned", [True, False])
def test_a_member_may_name_no_cluster_but_the_owners(world: World, owner_is_assigned: bool) -> None:  # noqa: FBT001
    here = world.place()
    world.users(OWNER)
    if owner_is_assigned:
        world.active(OWNER)
    other = world.place()
    world.users(MEMBER, owner=OWNER)

    world.tell("assign", MEMBER, cluster_id=other.id)

    assert world.letters == ["cluster_id: a team member goes to the owner's cluster; leave it out"]
    assert world.status(MEMBER) is None
    if owner_is_assigned:
        world.tell("assign", MEMBER, cluster_id=here.id)
        assert (world.status(MEMBER), world.place_of(MEMBER)) == ("active", here.id)


# Release.


def test_a_release_gives_the_seat_back_and_deactivates_the_account(world: World) -> None:
    here = world.place()
    world.active(ADA)
    username = world.row(ADA)["hopsworks_username"]

    world.tell("release", ADA, reason="left the company")

    row = world.row(ADA)
    assert world.moves(ADA)[-1] == "released"
    assert row["status_reason"] == f"released from {here.name} ({username}): left the company"
    assert (row["hopsworks_cluster_id"], row["holds_seat"], row["released_at"] is None) == (None, False, False)
    assert str(row["left_cluster_id"]) == here.id
    assert here.seats_taken == 0
    assert here.account(ADA)["status"] == DEACTIVATED


def test_a_release_twice_gives_one_seat_back(world: World) -> None:
    here = world.place()
    world.active(ADA, BOB)

    world.ask("release", ADA)
    world.ask("release", ADA)
    world.run()

    assert here.seats_taken == 1
    assert world.moves(ADA).count("released") == 1
    assert world.letters == []


def test_a_release_of_one_who_waits_ends_the_wait(world: World) -> None:
    world.place(0)
    world.users(ADA)
    world.tell("assign", ADA)

    world.tell("release", ADA)

    assert world.moves(ADA) == ["pending", "failed"]
    assert world.row(ADA)["status_reason"] == "released before it was active: gone"
    world.place()
    world.run()
    assert world.status(ADA) == "failed"


def test_a_release_while_the_account_is_made_gives_the_seat_back(world: World) -> None:
    here = world.place()
    here.fault(status=503, times=1)
    world.users(ADA)
    world.ask("assign", ADA)
    world.worker.run_until(lambda: world.status(ADA) == "creating_user")

    world.tell("release", ADA)

    assert world.moves(ADA) == ["pending", "creating_user", "failed"]
    assert here.seats_taken == 0
    assert [account for account in here.accounts.values() if account["status"] == ENABLED] == []


def test_a_release_of_a_user_without_an_assignment_waits_and_is_refused(world: World) -> None:
    world.users(ADA)
    world.tell("release", ADA)
    assert world.letters == []

    world.later(31)

    assert world.letters == [f"user {ADA} has no assignment"]


def test_a_release_that_overtakes_its_assign_wins(world: World) -> None:
    """The assign was sent before, and arrives after."""
    here = world.place()
    world.users(ADA)
    world.tell("release", ADA)

    world.post_as_of(5, {"action": "assign", "user_id": ADA})
    world.later(31)

    assert world.status(ADA) in ("released", "failed")
    assert here.seats_taken == 0
    assert [account for account in here.accounts.values() if account["status"] == ENABLED] == []


def test_an_assign_after_a_release_that_still_waits_wins(world: World) -> None:
    world.place()
    world.users(ADA)
    world.tell("release", ADA)

    world.tell("assign", ADA)
    world.later(31)

    assert world.status(ADA) == "active"
    assert world.letters == []


def test_a_release_older_than_the_present_assignment_is_late(world: World) -> None:
    world.place()
    world.active(ADA)
    before = world.row(ADA)

    world.post_as_of(5, {"action": "release", "user_id": ADA, "reason": "late"})

    assert world.row(ADA) == before
    assert world.letters == []


def test_an_assign_older_than_the_release_is_late(world: World) -> None:
    world.place()
    world.active(ADA)
    world.tell("release", ADA)

    world.post_as_of(5, {"action": "assign", "user_id": ADA})

    assert world.status(ADA) == "released"


def test_an_assign_between_two_releases_is_late_as_well(world: World) -> None:
    world.place()
    world.active(ADA)
    world.post_as_of(-20, {"action": "release", "user_id": ADA, "reason": "one"})
    world.post_as_of(-40, {"action": "release", "user_id": ADA, "reason": "two"})

    world.post_as_of(-30, {"action": "assign", "user_id": ADA})

    assert world.status(ADA) == "released"
    assert world.letters == []


def test_who_was_released_is_assigned_again_to_the_same_account(world: World) -> None:
    here = world.place()
    world.active(ADA)
    first = world.row(ADA)
    world.tell("release", ADA)

    world.tell("assign", ADA)

    row = world.row(ADA)
    assert world.moves(ADA)[-3:] == ["pending", "creating_user", "active"]
    assert (row["released_at"], row["hopsworks_user_id"]) == (None, first["hopsworks_user_id"])
    assert here.account(ADA)["status"] == ENABLED
    assert (here.server["created"], here.seats_taken) == (1, 1)


def test_released_and_assigned_again_in_one_claim_ends_with_an_account_that_works(world: World) -> None:
    here = world.place()
    world.active(ADA)

    world.ask("release", ADA)
    world.ask("assign", ADA)
    world.run()

    assert (world.status(ADA), here.account(ADA)["status"], here.seats_taken) == ("active", ENABLED, 1)


# Suspend and reactivate.


def test_a_suspended_user_keeps_the_seat_and_cant_log_in_until_reactivated(world: World) -> None:
    here = world.place()
    world.active(ADA)

    world.tell("suspend", ADA)
    suspended, account = world.row(ADA), here.account(ADA)
    world.tell("reactivate", ADA)

    assert (suspended["status"], suspended["suspended_at"] is None, suspended["account_enabled"]) == (
        "active",
        False,
        False,
    )
    assert suspended["detail"].endswith(", suspended")
    assert account["status"] == DEACTIVATED
    assert (world.row(ADA)["suspended_at"], here.account(ADA)["status"], here.seats_taken) == (None, ENABLED, 1)
    assert here.failures == []


def team(world: World) -> Any:
    """OWNER with MEMBER and BOB, all active on one cluster."""
    here = world.place()
    world.active(OWNER)
    world.users(MEMBER, BOB, owner=OWNER)
    world.active(MEMBER, BOB)
    return here


def enabled(here: Any, *users: str) -> list[bool]:
    return [here.account(user)["status"] == ENABLED for user in users]


def test_whoever_suspends_an_owner_suspends_the_team(world: World) -> None:
    here = team(world)

    world.tell("suspend", OWNER)
    during = enabled(here, OWNER, MEMBER, BOB)
    world.tell("reactivate", OWNER)

    assert during == [False, False, False]
    assert enabled(here, OWNER, MEMBER, BOB) == [True, True, True]


@pytest.mark.parametrize("first", [OWNER, MEMBER])
def test_a_members_own_suspension_outlives_the_owners(world: World, first: str) -> None:
    here = team(world)
    second = MEMBER if first == OWNER else OWNER
    world.tell("suspend", first)
    world.tell("suspend", second)

    world.tell("reactivate", OWNER)
    after_the_owner = enabled(here, OWNER, MEMBER, BOB)
    world.tell("reactivate", MEMBER)

    assert after_the_owner == [True, False, True]
    assert enabled(here, MEMBER) == [True]


def test_the_owners_suspension_outlives_the_members_own(world: World) -> None:
    """Nobody of a team logs in while its owner is suspended."""
    here = team(world)
    world.tell("suspend", MEMBER)
    world.tell("suspend", OWNER)

    world.tell("reactivate", MEMBER)
    while_the_owner_is = enabled(here, MEMBER)
    world.tell("reactivate", OWNER)

    assert while_the_owner_is == [False]
    assert enabled(here, MEMBER) == [True]


def test_members_are_suspended_alone_without_owner_or_team(world: World) -> None:
    here = team(world)

    world.tell("suspend", MEMBER)

    assert enabled(here, OWNER, MEMBER, BOB) == [True, False, True]


def test_a_member_who_waits_is_suspended_too_and_goes_on_at_once_when_the_owner_is_back(world: World) -> None:
    here = world.place(1)
    world.active(OWNER)
    world.users(MEMBER, owner=OWNER)
    world.tell("assign", MEMBER)
    world.tell("suspend", OWNER)
    here.change(max_users=2)
    world.run()
    held = world.row(MEMBER)

    world.tell("reactivate", OWNER)

    assert (held["status"], held["detail"].partition(":")[0]) == ("pending", "SUSPENDED")
    assert world.status(MEMBER) == "active"


def test_a_member_who_is_assigned_while_the_owner_is_suspended_goes_on_at_once_after(world: World) -> None:
    world.place()
    world.active(OWNER)
    world.tell("suspend", OWNER)
    world.users(MEMBER, owner=OWNER)
    world.tell("assign", MEMBER)
    world.later(1)
    held = world.row(MEMBER)

    world.tell("reactivate", OWNER)

    assert held["detail"] == "SUSPENDED: the owner of the account is suspended"
    assert world.status(MEMBER) == "active"


def test_a_suspended_user_who_waits_gets_no_seat_until_reactivated(world: World) -> None:
    here = world.place(0)
    world.users(ADA)
    world.tell("assign", ADA)
    world.tell("suspend", ADA)
    here.change(max_users=1)
    world.run()
    held, taken = world.row(ADA), here.seats_taken

    world.tell("reactivate", ADA)

    assert (held["status"], taken) == ("pending", 0)
    assert held["detail"] == "SUSPENDED: no account is made for a suspended user"
    assert world.status(ADA) == "active"


def test_released_while_suspended_and_assigned_again_stays_suspended(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.tell("suspend", ADA)
    world.tell("release", ADA)

    world.tell("assign", ADA)
    held, account = world.row(ADA), here.account(ADA)
    world.tell("reactivate", ADA)

    assert (held["status"], held["suspended_at"] is None) == ("pending", False)
    assert account["status"] == DEACTIVATED
    assert (world.status(ADA), here.account(ADA)["status"]) == ("active", ENABLED)


def test_suspended_while_released_counts_for_the_next_assignment(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.tell("release", ADA)
    world.tell("suspend", ADA)

    world.tell("assign", ADA)

    assert world.status(ADA) == "pending"
    assert here.account(ADA)["status"] == DEACTIVATED


def test_a_suspend_older_than_the_reactivate_is_late(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.tell("suspend", ADA)
    world.tell("reactivate", ADA)

    world.post_as_of(5, {"action": "suspend", "user_id": ADA})

    assert world.row(ADA)["suspended_at"] is None
    assert here.account(ADA)["status"] == ENABLED


def test_a_reactivate_older_than_the_suspend_is_late(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.tell("suspend", ADA)

    world.post_as_of(5, {"action": "reactivate", "user_id": ADA})

    assert here.account(ADA)["status"] == DEACTIVATED


def test_a_late_suspend_of_a_member_is_late_when_it_is_the_owners_too(world: World) -> None:
    """A worker died with the member's part in hand; meanwhile the owner is back, and then it is worked on."""
    here = team(world)
    world.tell("suspend", OWNER)
    world.forget_messages("suspend_member")
    world.tell("reactivate", OWNER)

    world.post_as_of(5, {"action": "suspend_member", "user_id": MEMBER})

    assert enabled(here, OWNER, MEMBER, BOB) == [True, True, True]


def test_a_members_part_of_a_suspension_that_comes_after_its_end_is_late(world: World) -> None:
    """As above, but the member's part of the reactivation found nothing to lift."""
    here = team(world)
    world.post({"action": "reactivate_member", "user_id": MEMBER})

    world.post_as_of(5, {"action": "suspend_member", "user_id": MEMBER})

    assert enabled(here, MEMBER) == [True]


@pytest.mark.parametrize("action", ["suspend", "reactivate"])
def test_who_has_no_assignment_is_waited_for_and_then_refused(world: World, action: str) -> None:
    world.users(ADA)
    world.tell(action, ADA)
    assert world.letters == []

    world.later(31)

    assert world.letters == [f"user {ADA} has no assignment"]


@pytest.mark.parametrize("action", ["suspend", "reactivate"])
def test_twice_is_as_once(world: World, action: str) -> None:
    here = world.place()
    world.active(ADA)
    if action == "reactivate":
        world.tell("suspend", ADA)

    world.tell(action, ADA)
    world.tell(action, ADA)

    assert here.account(ADA)["status"] == (DEACTIVATED if action == "suspend" else ENABLED)
    assert world.letters == []


# How many projects.


@pytest.mark.parametrize(("stripe", "most"), [(None, 1), ("", 1), ("cus_1", 5)])
def test_who_pays_may_have_more_projects(world: World, stripe: str | None, most: int) -> None:
    here = world.place()
    world.users(ADA, stripe_customer_id=stripe)

    world.active(ADA)

    assert (here.account(ADA)["maxNumProjects"], world.row(ADA)["max_projects"]) == (most, most)


def test_who_begins_to_pay_gets_more_projects_and_who_stops_has_fewer(world: World) -> None:
    here = world.place()
    world.active(ADA)

    world.conn.execute("update hopsworks.users set stripe_customer_id = 'cus_1' where id = %s", (ADA,))
    world.sweep()
    paying = here.account(ADA)["maxNumProjects"]
    world.conn.execute("update hopsworks.users set stripe_customer_id = null where id = %s", (ADA,))
    world.sweep()

    assert paying == 5
    assert (here.account(ADA)["maxNumProjects"], world.row(ADA)["max_projects"]) == (1, 1)


# Who users are.


@pytest.mark.parametrize(
    ("name", "given", "surname"),
    [
        (None, "ada", "ada"),
        ("", "ada", "ada"),
        ("  ", "ada", "ada"),
        ("Ada", "Ada", "Ada"),
        ("Ada Lovelace", "Ada", "Lovelace"),
        ("Ada King of Lovelace", "Ada", "King of Lovelace"),
        ("Ädä Łöveláce 李", "Ädä", "Łöveláce 李"),
        ("O'Neil & Söhne=?#+%", "O'Neil", "& Söhne=?#+%"),
        ("x" * 300, "x" * 300, "x" * 300),
    ],
)
def test_any_name_makes_an_account(world: World, name: str | None, given: str, surname: str) -> None:
    here = world.place()
    world.users(ADA, name=name)

    world.active(ADA)

    account = here.account(ADA)
    assert (account["firstname"], account["lastname"]) == (given, surname)


@pytest.mark.parametrize("user_id", ["auth0|64f0", "google-oauth2|1 2%|3", "waad|ünï|'\";--", "x" * 255])
def test_an_auth0_id_arrives_as_it_is(world: World, user_id: str) -> None:
    here = world.place()
    world.users(user_id, email="ada@example.com", name="Ada")

    world.active(user_id)
    world.tell("release", user_id)

    account = here.accounts["ada@example.com"]
    assert (account["subject"], account["status"]) == (user_id, DEACTIVATED)


def test_an_account_in_other_letter_case_is_the_users(world: World) -> None:
    here = world.place()
    planted = world.box.hopsworks_put(
        here.name, "ADA@Example.com", accountType="REMOTE_ACCOUNT_TYPE", subject="x", username="adaaa"
    )

    world.active(ADA)

    assert (world.row(ADA)["hopsworks_user_id"], here.server["posts"]) == (planted["id"], 0)


# What can't be understood.

DEEP: Any = []
for _ in range(2000):
    DEEP = [DEEP]
WRONG: list[tuple[Any, str]] = [
    (None, "the body is NULL, not an object"),
    (7, "the body is a number, not an object"),
    (True, "the body is a boolean, not an object"),
    ("assign", "the body is a string, not an object"),
    ([1], "the body is a list, not an object"),
    ({}, "action: is missing"),
    ({"action": "destroy"}, "action: 'destroy' is not known"),
    ({"action": "Assign", "user_id": ADA}, "action: 'Assign' is not known"),
    ({"action": ["assign"]}, "action: a list is not known"),
    ({"action": "assign"}, "user_id: is missing"),
    ({"action": "assign", "user_id": None}, "user_id: must be text"),
    ({"action": "assign", "user_id": 7}, "user_id: must be text"),
    ({"action": "assign", "user_id": [ADA]}, "user_id: must be text"),
    ({"action": "assign", "user_id": ""}, "user_id: must not be empty"),
    ({"action": "assign", "user_id": "x" * 256}, "user_id: must have at most 255 characters"),
    ({"action": "assign", "user_id": "x" * 2**17}, "user_id: must have at most 255 characters"),
    ({"action": "assign", "user_id": "a\nb"}, "user_id: must not contain control characters"),
    ({"action": "assign", "user_id": "a\u202eb"}, "user_id: must not contain control characters"),
    ({"action": "assign", "user_id": ADA, "cluster_id": "eu-1"}, "cluster_id: must be a UUID"),
    ({"action": "assign", "user_id": ADA, "cluster_id": 7}, "cluster_id: must be text"),
    ({"action": "assign", "user_id": ADA, "cluster_id": ""}, "cluster_id: must be a UUID"),
    ({"action": "assign", "user_id": ADA, "assigned_by": "eve"}, "assigned_by: must be 'system', 'admin'"),
    ({"action": "assign", "user_id": ADA, "assigned_by": {}}, "assigned_by: must be 'system', 'admin'"),
    ({"action": "release", "user_id": ADA}, "reason: is missing"),
    ({"action": "release", "user_id": ADA, "reason": ""}, "reason: must not be empty"),
    ({"action": "release", "user_id": ADA, "reason": "a\tb"}, "reason: must not contain control characters"),
    ({"action": "suspend"}, "user_id: is missing"),
    ({"action": "suspend", "user_id": ADA, "suspended_for": 7}, "suspended_for: is not known"),
    ({"action": "reactivate", "user_id": 1.5}, "user_id: must be text"),
    ({"action": "drain"}, "cluster_id: is missing"),
    ({"action": "drain", "cluster_id": "all"}, "cluster_id: must be a UUID"),
    ({"action": "drain", "cluster_id": "0" * 32}, "cluster_id: there is no Hopsworks cluster"),
    ({"action": "advance", "user_id": ADA, "ticket": "1"}, "ticket: must be a whole number"),
    ({"action": "close_account", "user_id": ADA}, "cluster_id: is missing"),
    # An older version's own: nobody else can open a cluster's breaker any more, or keep it open.
    ({"action": "call_failed", "cluster_id": "0" * 32, "kind": "busy", "reason": "", "after_s": 1e9}, "action: "),
]


@pytest.mark.parametrize(("body", "reason"), WRONG, ids=[f"{n}-{why[:40]}" for n, (_, why) in enumerate(WRONG)])
def test_what_cant_be_understood_is_a_dead_letter_with_the_reason(world: World, body: Any, reason: str) -> None:
    world.place()
    world.active(ADA)
    before = world.row(ADA)

    world.post(body)

    assert len(world.letters) == 1
    assert world.letters[0].startswith(reason)
    assert world.row(ADA) == before


def test_json_too_deep_for_python_is_a_dead_letter_and_those_beside_it_are_worked_on(world: World) -> None:
    world.place()
    world.users(ADA)
    deep = "[" * 5000 + "]" * 5000

    world.conn.execute("select pgmq.send('cluster_assignments', %s::jsonb)", (Jsonb(deep, dumps=str),))
    world.tell("assign", ADA)

    assert world.status(ADA) == "active"
    assert len(world.letters) == 1


def test_fields_that_anybody_may_add_are_let_pass(world: World) -> None:
    world.place()

    world.active(ADA, x_colour="blue", _metadata={"a": [1]})

    assert world.letters == []


@pytest.mark.parametrize("number", [0, 1, 2, 4, 99, -1, 2**31, 2**70])
def test_a_ticket_that_is_not_the_rows_changes_nothing(world: World, number: int) -> None:
    world.place()
    world.active(ADA)
    before = world.row(ADA)
    assert before["ticket"] == 3

    world.post({"action": "advance", "user_id": ADA, "ticket": number})

    assert world.row(ADA) == before


def test_every_user_has_one_ticket_at_a_time(world: World) -> None:
    """What waits, waits with one message; nobody's wait makes others."""
    world.place(0)
    users = [f"auth0|u{number}" for number in range(5)]
    world.users(*users)
    for user in users:
        world.ask("assign", user)
    world.run()

    for _ in range(5):
        world.later(61)

    assert world.queued("advance") == 5
    assert world.one("select count(*) from pgmq.q_cluster_assignments") == 5
