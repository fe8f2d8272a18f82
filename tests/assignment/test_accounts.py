"""Accounts on the server: one per user, the name that the server gave it, ours only, and no secret told."""

import json
import threading
from typing import Any

import pytest

from pgfleet.schema.replay.letters import replay
from worlds.assignments import DEACTIVATED, ENABLED, KEY, REMOTE, Place, World, email_of
from worlds.fleet import until

ADA, BOB, CLEO = "auth0|ada", "auth0|bob", "auth0|cleo"
LONG, LONGER = "auth0|a.very.long.name", "auth0|a.very.long.name.too"
OTHER_TYPE = "M_ACCOUNT_TYPE"


def planted(place: Place, user_id: str, **fields: Any) -> dict[str, Any]:
    """An account that is there before us."""
    given = {"accountType": REMOTE, "subject": user_id, "username": "planted1", "maxNumProjects": 1, **fields}
    return place.box.hopsworks_put(place.name, given.pop("email", email_of(user_id)), **given)


def row_says(world: World, user_id: str) -> tuple[str, str, int | None]:
    row = world.row(user_id)
    return row["status"], row["hopsworks_username"], row["hopsworks_user_id"]


# The username.


def test_the_username_is_the_servers_however_it_shortens_it(world: World) -> None:
    here = world.place()

    world.active(LONG)

    account = here.account(LONG)
    assert account["username"] == "averylon"
    assert row_says(world, LONG) == ("active", "averylon", account["id"])


def test_users_whose_names_clash_get_different_usernames(world: World) -> None:
    here = world.place()

    world.active(LONG, LONGER)

    names = {here.account(user)["username"] for user in (LONG, LONGER)}
    assert names == {world.row(user)["hopsworks_username"] for user in (LONG, LONGER)}
    assert len(names) == 2


def test_the_username_is_in_users_after_another_assignment_too(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.tell("release", ADA)
    here.change(status="inactive")
    there = world.place()
    planted(there, ADA, username="elsewhere")

    world.tell("assign", ADA)

    assert world.one("select hopsworks_username from hopsworks.users where id = %s", ADA) == "elsewhere"
    assert row_says(world, ADA)[:2] == ("active", "elsewhere")


# Creates that go wrong.


def test_a_create_that_was_done_and_timed_out_makes_one_account(world: World) -> None:
    here = world.place()
    here.fault(method="POST", after=True, delay_s=3600)
    world.users(ADA)

    world.ask("assign", ADA)
    with world.impatient() as impatient:
        impatient.worker.run_until(lambda: here.server["created"] == 1)
    world.box.clear_faults()
    world.later(61)

    assert (len(here.accounts), here.server["created"], here.server["double_creations"]) == (1, 1, 0)
    assert row_says(world, ADA) == ("active", here.account(ADA)["username"], here.account(ADA)["id"])


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 500}, {"status": 201}])
def test_a_create_that_was_done_and_whose_answer_is_lost_makes_one_account(world: World, fault: dict[str, Any]) -> None:
    here = world.place()
    here.fault(method="POST", after=True, **fault)

    world.active(ADA)

    assert (here.server["created"], here.server["double_creations"], here.seats_taken) == (1, 0, 1)
    assert world.row(ADA)["hopsworks_user_id"] == here.account(ADA)["id"]


def test_a_create_that_was_done_and_can_not_be_looked_up_at_first_is_adopted(world: World) -> None:
    here = world.place()
    here.fault(method="POST", after=True, drop=True)
    world.users(ADA)
    world.ask("assign", ADA)
    world.worker.run_until(lambda: world.status(ADA) == "creating_user")
    world.box.fault(f"/hopsworks/{here.name}/.*users$", method="GET", status=503)

    world.worker.run_until(lambda: world.status(ADA) == "active")

    assert (here.server["created"], here.server["double_creations"]) == (1, 0)


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 503}, {"status": 408}])
def test_a_create_that_was_not_done_is_done_again(world: World, fault: dict[str, Any]) -> None:
    here = world.place()
    here.fault(method="POST", **fault)
    world.users(ADA)

    world.ask("assign", ADA)
    world.worker.run_until(lambda: world.status(ADA) == "active")

    assert (here.server["created"], here.seats_taken) == (1, 1)
    assert world.letters == []


def test_a_conflict_with_an_account_of_ours_adopts_it(world: World) -> None:
    """Somebody creates it between the look-up and the create."""
    here = world.place()
    here.look_up_fault(after=True, delay_s=3600)
    world.users(ADA)
    world.ask("assign", ADA)
    world.worker.run_until(lambda: world.status(ADA) == "creating_user")
    before = here.server["requests"]

    working = threading.Thread(target=world.run)
    working.start()
    until(lambda: here.server["requests"] > before)
    account = planted(here, ADA)
    world.box.clear_faults()
    working.join()

    assert row_says(world, ADA) == ("active", "planted1", account["id"])
    assert here.server["double_creations"] == 1


def test_a_conflict_of_the_subject_alone_fails_with_the_reason(world: World) -> None:
    here = world.place()
    planted(here, ADA, email="somebody@else.example")

    world.users(ADA)
    world.tell("assign", ADA)

    assert world.status(ADA) == "failed"
    assert world.row(ADA)["status_reason"] == (
        f"Hopsworks {here.name}: the server says that this user exists, but under another e-mail"
    )
    assert (here.seats_taken, here.accounts["somebody@else.example"]["status"]) == (0, ENABLED)


def test_a_user_that_the_server_refuses_fails_at_once_with_its_words(world: World) -> None:
    here = world.place()
    here.fault(method="POST", status=400)
    world.users(ADA)

    world.tell("assign", ADA)

    row = world.row(ADA)
    said = (
        f"Hopsworks {here.name}: the create was answered 400: 120007, Some parameters were not provided or were not in"
        " the required format., a fault of the sandbox"
    )
    assert (row["status"], row["status_reason"], world.letters) == ("failed", said, [said])
    assert (here.seats_taken, row["holds_seat"], row["hopsworks_cluster_id"]) == (0, False, None)
    assert here.outages == 0


def test_a_user_that_the_server_refuses_fails_at_once_even_after_a_hiccup(world: World) -> None:
    """One call before was not answered: a refusal is an answer, so the cluster works."""
    here = world.place()
    world.users(ADA)
    here.look_up_fault(status=503)
    here.fault(method="POST", status=400, times=50)

    world.ask("assign", ADA)

    world.worker.run_until(lambda: world.status(ADA) == "failed")
    world.run()
    assert (here.seats_taken, here.outages) == (0, 0)
    assert world.box.state()["faults_left"] == 49, "it is refused once"


def test_a_user_that_the_server_can_not_create_fails_after_three_attempts_and_may_be_replayed(world: World) -> None:
    """The look-ups are answered, so it is no outage of the cluster."""
    here = world.place()
    here.fault(method="POST", status=500, times=1000)
    world.users(ADA)
    world.tell("assign", ADA)

    for _ in range(2):
        world.later(61)
    status, seats, outages = world.status(ADA), here.seats_taken, here.outages
    world.box.clear_faults()
    if status == "failed":
        replay(world.conn, world.one("select dead_letter_id from public.dead_letters"), "tests")
    world.run()

    assert (status, seats, outages) == ("failed", 0, 0)
    assert "the create was answered 500" in world.row(ADA)["status_reason"] + world.one(
        "select string_agg(reason, '') from public.status_history"
    )
    assert (world.status(ADA), here.seats_taken, here.server["created"]) == ("active", 1, 1)


def test_a_replay_after_a_refusal_goes_on(world: World) -> None:
    here = world.place()
    here.fault(method="POST", status=400)
    world.users(ADA)
    world.tell("assign", ADA)

    replay(world.conn, world.one("select dead_letter_id from public.dead_letters"), "tests")
    world.run()

    assert world.moves(ADA) == ["pending", "creating_user", "failed", "pending", "creating_user", "active"]
    assert here.seats_taken == 1


# Accounts that were there before.


def test_an_account_of_another_type_is_left_alone_and_the_user_fails(world: World) -> None:
    here = world.place()
    planted(here, ADA, accountType=OTHER_TYPE, maxNumProjects=9, subject="")
    before = here.account(ADA)
    world.users(ADA)

    world.tell("assign", ADA)

    reason = f"Hopsworks {here.name}: an account of another type has this e-mail: it is not ours to take"
    assert (world.status(ADA), world.letters) == ("failed", [reason])
    assert world.moves(ADA) == ["pending", "creating_user", "failed"]
    assert (here.account(ADA), here.seats_taken) == (before, 0)


def test_a_deactivated_account_of_ours_is_adopted_and_activated(world: World) -> None:
    here = world.place()
    account = planted(here, ADA, status=DEACTIVATED, maxNumProjects=0)

    world.active(ADA)

    assert row_says(world, ADA) == ("active", "planted1", account["id"])
    assert (here.account(ADA)["status"], here.account(ADA)["maxNumProjects"]) == (ENABLED, 1)


def test_a_deactivated_account_that_can_not_be_activated_now_is_activated_later(world: World) -> None:
    here = world.place()
    planted(here, ADA, status=DEACTIVATED)
    here.fault(method="PUT", status=503)
    world.users(ADA)

    world.ask("assign", ADA)
    world.worker.run_until(lambda: world.status(ADA) == "active")

    assert here.account(ADA)["status"] == ENABLED


def mailbox_of_two(world: World, **of_bob: Any) -> Place:
    """ADA has the mailbox; BOB has asked for a seat with the same in capitals."""
    here = world.place()
    world.users(ADA, stripe_customer_id="cus_1")
    world.active(ADA)
    world.users(BOB, email=email_of(ADA).upper(), **of_bob)
    world.ask("assign", BOB)
    world.worker.run_until(lambda: world.status(BOB) == "failed")
    world.run()
    return here


def test_of_two_users_with_one_mailbox_the_second_fails_with_the_reason(world: World) -> None:
    here = mailbox_of_two(world)

    assert (world.status(ADA), world.status(BOB)) == ("active", "failed")
    assert (len(here.accounts), here.seats_taken) == (1, 1)
    reason = world.row(BOB)["status_reason"]
    assert world.letters == [reason]
    assert "mailbox" in reason
    assert ADA not in reason, "users see their own rows' reasons"


def test_of_two_users_with_one_mailbox_the_firsts_account_is_not_touched(world: World) -> None:
    here = mailbox_of_two(world)

    assert (here.account(ADA)["status"], here.account(ADA)["maxNumProjects"]) == (ENABLED, 5)


def test_the_second_of_one_mailbox_who_leaves_takes_nothing_from_the_first(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.users(BOB, email=email_of(ADA).upper())
    here.fault(status=503, times=2)
    world.ask("assign", BOB)
    world.worker.run_until(lambda: world.status(BOB) == "creating_user")

    world.tell("release", BOB)

    assert here.account(ADA)["status"] == ENABLED


# Accounts that change behind our back.


def checked(world: World) -> None:
    """An hour later all accounts are looked at."""
    world.later(3601)
    world.sweep("sweep_accounts")


def test_an_account_that_vanished_is_reported_until_it_is_back(world: World) -> None:
    here = world.place()
    world.active(ADA, BOB)
    world.box.hopsworks_forget(here.name, email_of(ADA))

    checked(world)
    gone = world.row(ADA)
    reported = here.failures
    back = planted(here, ADA, username="again", id=gone["hopsworks_user_id"])
    checked(world)

    words = "ACCOUNT_GONE: the server does not know the account any more; release the user, then assign again"
    assert (gone["status"], gone["detail"], gone["holds_seat"]) == ("active", words, True)
    assert reported == [("account", ADA, words, False)]
    assert here.failures == [("account", ADA, words, True)]
    assert row_says(world, ADA) == ("active", "again", back["id"])
    assert here.server["posts"] == 2, "nobody made it anew"


def test_what_is_wrong_still_is_one_failure_with_a_count(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.box.hopsworks_forget(here.name, email_of(ADA))

    checked(world)
    checked(world)

    assert len(here.failures) == 1
    assert world.one("select failures from hopsworks.health_check_failures") == 2


def test_release_and_assign_again_mends_an_account_that_vanished(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.box.hopsworks_forget(here.name, email_of(ADA))
    checked(world)

    world.tell("release", ADA)
    world.active(ADA)
    checked(world)

    assert row_says(world, ADA) == ("active", "ada", here.account(ADA)["id"])
    assert [failure[3] for failure in here.failures] == [True]


def tamper(world: World, place: Place, user_id: str, **fields: Any) -> None:
    account = place.account(user_id)
    world.box.hopsworks_forget(place.name, email_of(user_id))
    kept = ("id", "username", "accountType", "maxNumProjects", "firstname", "lastname")
    known = {name: account[name] for name in kept}
    world.box.hopsworks_put(place.name, email_of(user_id), **{**known, "subject": user_id, **fields})


def test_what_somebody_deactivates_on_the_server_is_reported_and_not_fought(world: World) -> None:
    here = world.place()
    world.active(ADA)
    tamper(world, here, ADA, status=DEACTIVATED)

    checked(world)
    row, reported = world.row(ADA), here.failures
    checked(world)

    words = "ACCOUNT_CHANGED: somebody has deactivated it on the server"
    assert (row["status"], row["detail"]) == ("active", words)
    assert reported == [("account", ADA, words, False)]
    assert here.account(ADA)["status"] == DEACTIVATED


def test_what_was_reported_is_right_again_after_a_reactivate(world: World) -> None:
    here = world.place()
    world.active(ADA)
    tamper(world, here, ADA, status=DEACTIVATED)
    checked(world)

    world.tell("reactivate", ADA)

    assert here.account(ADA)["status"] == ENABLED
    assert [failure[3] for failure in here.failures] == [True]


def test_an_account_that_became_one_of_another_type_is_reported(world: World) -> None:
    here = world.place()
    world.active(ADA)
    tamper(world, here, ADA, accountType=OTHER_TYPE, subject="")

    checked(world)
    world.tell("suspend", ADA)

    assert world.row(ADA)["detail"] == f"ACCOUNT_TAKEN: the account is now of type {OTHER_TYPE}"
    assert here.account(ADA)["status"] == ENABLED


def test_a_user_whose_email_changed_is_suspended_all_the_same(world: World) -> None:
    """The account is known by its id."""
    here = world.place()
    world.active(ADA)
    world.conn.execute("update hopsworks.users set email = 'lovelace@example.com' where id = %s", (ADA,))

    world.tell("suspend", ADA)

    assert here.account(ADA)["status"] == DEACTIVATED


def test_a_suspension_that_finds_no_account_is_reported_and_ends(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.box.hopsworks_forget(here.name, email_of(ADA))

    world.tell("suspend", ADA)
    world.later(61)

    assert world.row(ADA)["detail"].startswith("ACCOUNT_GONE")
    assert [failure[0] for failure in here.failures] == ["account"]
    assert (world.queued("advance"), world.letters) == (0, [])


def test_a_suspension_that_the_server_refuses_is_on_record(world: World) -> None:
    here = world.place()
    world.active(ADA)
    here.fault(method="PUT", status=400)

    world.tell("suspend", ADA)

    told = [failure[2] for failure in here.failures] + world.letters
    assert len(told) == 1
    assert "the change of the status was answered 400" in told[0]
    assert world.status(ADA) == "active"


def test_a_deactivation_that_the_server_refuses_is_a_dead_letter_and_not_one_a_minute(world: World) -> None:
    here = world.place()
    world.active(ADA)
    here.fault(method="PUT", status=400, times=100)

    world.tell("release", ADA)
    for _ in range(5):
        world.later(61)

    assert len(world.letters) in (1, 2)
    assert (world.status(ADA), world.queued("close_account")) == ("released", 0)


def test_a_user_whose_email_changed_is_released_all_the_same(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.conn.execute("update hopsworks.users set email = 'lovelace@example.com' where id = %s", (ADA,))

    world.tell("release", ADA)

    assert here.account(ADA)["status"] == DEACTIVATED


def test_who_joins_a_team_has_the_projects_of_a_member_and_who_leaves_has_their_own(world: World) -> None:
    here = world.place()
    world.active(ADA, BOB)

    world.conn.execute("update hopsworks.users set account_owner_id = %s where id = %s", (ADA, BOB))
    world.sweep()
    member = here.account(BOB)["maxNumProjects"]
    world.conn.execute("update hopsworks.users set account_owner_id = null where id = %s", (BOB,))
    world.sweep()

    assert (member, here.account(BOB)["maxNumProjects"]) == (0, 1)


def test_each_account_is_looked_at_once_an_hour(world: World) -> None:
    here = world.place()
    world.active(ADA)
    before = here.server["requests"]

    for _ in range(12):
        world.later(600)
        world.sweep("sweep_accounts")

    assert here.server["requests"] - before in (1, 2)


def test_accounts_on_an_inactive_cluster_keep_no_others_from_being_looked_at(world: World) -> None:
    gone, here = world.place(600), world.place()
    users = [f"auth0|u{number:04}" for number in range(501)]
    world.users(*users)
    table = "hopsworks.user_hopsworks_assignments"
    world.conn.execute(
        f"insert into {table} (user_id, hopsworks_cluster_id, holds_seat) select id, %s, true from hopsworks.users",
        (gone.id,),
    )
    world.conn.execute(f"update {table} set status = 'creating_user'")
    world.conn.execute(
        f"update {table} set status = 'active', hopsworks_username = user_id, account_enabled = true, max_projects = 1,"
        " checked_at = now() - interval '1 day', hopsworks_user_id = substr(user_id, 8)::int"
    )
    gone.change(status="inactive")
    world.active(ADA)
    world.box.hopsworks_forget(here.name, email_of(ADA))

    checked(world)

    assert world.row(ADA)["detail"].startswith("ACCOUNT_GONE")


# Accounts of those who have left.


def test_the_account_of_who_left_is_deactivated_when_the_cluster_is_back(world: World) -> None:
    here = world.place()
    world.active(ADA)
    here.fault(method="PUT", status=503, times=4)

    world.tell("release", ADA)
    for _ in range(6):
        world.later(61)

    assert here.account(ADA)["status"] == DEACTIVATED
    assert (world.status(ADA), here.seats_taken, world.letters) == ("released", 0, [])


def test_an_account_that_is_gone_needs_no_deactivation(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.box.hopsworks_forget(here.name, email_of(ADA))

    world.tell("release", ADA)

    assert (world.status(ADA), world.letters) == ("released", [])


def test_a_create_under_way_when_its_user_is_released_leaves_no_account_that_works(world: World) -> None:
    """The release and the deactivation are over before the server has carried the create out."""
    here = world.place()
    world.users(ADA)
    world.ask("assign", ADA)
    world.worker.run_until(lambda: world.status(ADA) == "creating_user")
    here.fault(method="POST", delay_s=3600)
    creating = threading.Thread(target=world.run)
    creating.start()
    until(lambda: world.box.state()["faults_left"] == 0)

    world.ask("release", ADA)
    world.with_settings().run()
    world.box.clear_faults()
    creating.join()
    world.run()
    world.later(120)

    assert world.status(ADA) == "failed"
    assert [account for account in here.accounts.values() if account["status"] == ENABLED] == []


def test_a_deactivation_under_way_when_its_user_is_assigned_again_leaves_an_account_that_works(world: World) -> None:
    """The account is looked up before it is deactivated, and becomes active in the row after."""
    here = world.place()
    world.active(ADA)
    here.fault(method="PUT", delay_s=3600)
    world.ask("release", ADA)
    world.worker.run_once()
    closing = threading.Thread(target=world.run)
    closing.start()
    until(lambda: world.box.state()["faults_left"] == 0)
    before = here.server["requests"]
    here.look_up_fault(after=True, delay_s=3600)
    world.ask("assign", ADA)
    assigning = threading.Thread(target=world.with_settings().run)
    assigning.start()
    until(lambda: here.server["requests"] > before)

    world.box.clear_faults()
    assigning.join()
    closing.join()
    world.run()

    assert (world.status(ADA), here.account(ADA)["status"]) == ("active", ENABLED)


# Secrets.


def test_no_key_and_no_kubeconfig_is_told_anywhere(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    config = "apiVersion: v1 # kubeconfig-ZZZ"
    here = world.place(kubeconfig=config)
    refused = world.place(api_key="another-key-ZZZ", kubeconfig=config, metadata=json.dumps({"client_id": "x"}))
    gone = world.place(api_url="http://127.0.0.1:9/key-ZZZ-not", kubeconfig=config)
    world.users(ADA, BOB, CLEO)
    here.fault(method="POST", status=400)
    world.ask("assign", ADA, cluster_id=here.id)
    world.ask("assign", BOB, cluster_id=refused.id)
    world.ask("assign", CLEO, cluster_id=gone.id)
    world.run()
    world.later(1)
    world.active(ADA, cluster_id=here.id)
    world.tell("release", ADA)
    world.sweep("sweep_accounts")

    tables = (
        "hopsworks.user_hopsworks_assignments",
        "public.outages",
        "hopsworks.health_check_failures",
        "public.status_history",
        "public.dead_letters",
        "pgmq.q_cluster_assignments",
        "pgmq.a_cluster_assignments",
    )
    kept = "".join(str(world.conn.execute(f"select * from {table}").fetchall()) for table in tables)
    told = capfd.readouterr()
    assert "CLUSTER_KEY_REFUSED" in kept
    for secret in (KEY, "another-key-ZZZ", "kubeconfig-ZZZ"):
        assert secret not in kept
        assert secret not in told.out + told.err
    refused.change(status="inactive")
    gone.change(status="inactive")
