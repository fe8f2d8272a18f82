"""A cluster that doesn't answer: nobody fails for it, nobody calls it, and all go on when it answers again."""

from datetime import timedelta
from typing import Any

import pytest

from worlds.assignments import KEY, QUEUE, Place, World
from worlds.fleet import new_id, send, until, worker_process
from worlds.trouble.outages import out

ADA, BOB, CLEO, DAN = "auth0|ada", "auth0|bob", "auth0|cleo", "auth0|dan"
FOR_EVER = 100_000


def down(place: Place) -> None:
    place.fault(status=503, times=FOR_EVER)


def up(place: Place) -> None:
    place.box.clear_faults()


def failing(world: World, place: Place) -> None:
    """The outage of a cluster that is down, with a user who then waits."""
    down(place)
    world.users(ADA)
    world.ask("assign", ADA, cluster_id=place.id)
    world.worker.run_until(lambda: place.outage, within_s=5)


def open_outage(place: Place) -> dict[str, Any]:
    found = place.outage
    assert found is not None
    return found


def left_alone(world: World, seconds: float) -> None:
    """Nobody probes before."""
    query = "update public.outages set retry_at = public.fleet_now() + make_interval(secs => %s) where ended_at is null"
    world.conn.execute(query, (seconds,))


def pause(world: World, times: int = 1) -> None:
    """Longer than an outage is left alone, and than anybody waits."""
    for _ in range(times):
        world.later(61)


# Outages.


def test_a_call_that_alone_is_not_answered_opens_nothing(world: World) -> None:
    here = world.place()
    here.look_up_fault(status=503)
    world.users(ADA)

    world.ask("assign", ADA)
    world.worker.run_until(lambda: world.status(ADA) == "active")

    assert (here.outages, here.failures) == (0, [])


def test_one_that_is_not_answered_about_nobody_either_is_an_outage_and_on_record(world: World) -> None:
    here = world.place()

    failing(world, here)

    outage = open_outage(here)
    assert outage["kind"] == "unreachable"
    assert (outage["retry_at"] - outage["began_at"]).total_seconds() == 1
    assert "answered 503" in outage["reason"]
    assert here.failures == [("reachable", None, outage["reason"], False)]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 302}, "CLUSTER_UNREACHABLE"),
        ({"status": 401}, "CLUSTER_KEY_REFUSED"),
        ({"status": 403}, "CLUSTER_KEY_REFUSED"),
        ({"status": 408}, "CLUSTER_UNREACHABLE"),
        ({"status": 429, "retry_after": 600}, "CLUSTER_UNREACHABLE"),
        ({"status": 500}, "CLUSTER_UNREACHABLE"),
        ({"status": 503}, "CLUSTER_UNREACHABLE"),
        ({"drop": True}, "CLUSTER_UNREACHABLE"),
    ],
)
def test_what_is_answered_to_all_is_trouble_of_the_cluster_and_shown_by_who_waits(
    world: World, fault: dict[str, Any], code: str
) -> None:
    here = world.place()
    here.fault(**fault, times=FOR_EVER)
    world.users(ADA)

    world.tell("assign", ADA)

    outage = open_outage(here)
    assert outage["code"] == code
    assert world.row(ADA)["detail"] == f"{code}: {outage['reason']}"
    assert [(check, right) for check, _, _, right in here.failures] == [
        ("api_key" if code == "CLUSTER_KEY_REFUSED" else "reachable", False)
    ]


def test_many_users_of_a_cluster_that_is_down_cost_few_calls(world: World) -> None:
    here = world.place()
    users = [f"auth0|u{number}" for number in range(60)]
    world.users(*users)
    for user in users:
        world.ask("assign", user, cluster_id=here.id)
    down(here)
    before = world.box.state()["requests"]

    world.run()

    calls = world.box.state()["requests"] - before - open_outage(here)["probes"]
    # As many as were under way when it was found out, and the question about nobody.
    assert calls <= world.worker.running.settings.effect_threads + 1
    assert {world.status(user) for user in users} == {"creating_user"}


def test_the_outage_of_a_cluster_that_is_gone_ends(world: World) -> None:
    """Somebody has deleted the cluster meanwhile."""
    out(world.conn, f"hopsworks:{new_id()}", "read", "CLUSTER_UNREACHABLE", "no answer", since_s=600, queue=QUEUE)

    pause(world)

    assert world.one("select count(*) from public.outages where ended_at is null") == 0


def test_nobody_calls_while_it_is_open_but_the_probe(world: World) -> None:
    here = world.place()
    world.active(BOB)
    failing(world, here)
    left_alone(world, 600)
    up(here)
    before = here.server["requests"]

    world.tell("release", BOB)
    world.users(CLEO)
    world.tell("assign", CLEO, cluster_id=here.id)
    world.sweep("sweep_accounts")
    world.later(300)
    meanwhile = here.server["requests"]
    world.later(301)

    assert meanwhile == before
    assert here.server["requests"] > before
    assert here.outage is None


def test_the_probe_closes_it_and_those_who_wait_go_on_at_once(world: World) -> None:
    here = world.place()
    failing(world, here)
    world.users(BOB, CLEO)
    world.tell("assign", BOB)
    world.tell("assign", CLEO, cluster_id=here.id)
    world.later(1)
    told = [world.row(user)["detail"] for user in (ADA, BOB, CLEO)]
    up(here)

    world.later(30)

    assert {world.status(user) for user in (ADA, BOB, CLEO)} == {"active"}
    assert all(detail.startswith(f"CLUSTER_UNREACHABLE: Hopsworks {here.name}: ") for detail in told)
    assert here.outage is None
    assert [failure[3] for failure in here.failures] == [True]
    assert world.letters == []


def test_a_probe_that_fails_leaves_it_open_for_longer_each_time(world: World) -> None:
    here = world.place()
    failing(world, here)
    began_at = open_outage(here)["began_at"]

    pauses = []
    for _ in range(7):
        before = open_outage(here)["probes"]
        left_alone(world, 0)
        world.run()
        outage = open_outage(here)
        assert outage["probes"] > before
        pauses.append((outage["retry_at"] - outage["began_at"]).total_seconds())
        world.later(40)

    assert open_outage(here)["began_at"] == began_at
    assert pauses == sorted(pauses)
    assert open_outage(here)["retry_at"] - world.one("select public.fleet_now()") <= timedelta(seconds=30)
    assert [(check, right) for check, _, _, right in here.failures] == [("reachable", False)]
    assert world.one("select failures from hopsworks.health_check_failures") == 1 + open_outage(here)["probes"]


def test_while_it_is_open_new_users_go_elsewhere(world: World) -> None:
    here = world.place()
    failing(world, here)
    there = world.place()

    world.active(BOB, CLEO)

    assert {world.place_of(BOB), world.place_of(CLEO)} == {there.id}
    assert world.status(ADA) == "creating_user"


def test_an_outage_of_many_attempts_fails_nobody(world: World) -> None:
    here = world.place()
    users = [f"auth0|u{number}" for number in range(5)]
    world.users(*users)
    down(here)
    for user in users:
        world.ask("assign", user)
    world.run()

    pause(world, 30)
    held = {world.status(user) for user in users}
    up(here)
    pause(world, 2)

    assert held == {"creating_user"}
    assert {world.status(user) for user in users} == {"active"}
    assert (world.letters, here.seats_taken, here.server["double_creations"]) == ([], 5, 0)


def test_a_long_outage_makes_no_more_messages_than_rows(world: World) -> None:
    here = world.place()
    failing(world, here)

    pause(world, 30)

    assert world.queued("advance") == 1


def comes_and_goes(world: World, here: Place) -> None:
    """Eight times the probe is answered, and then nobody is."""
    for _ in range(8):
        up(here)
        here.fault(times=1)
        down(here)
        world.later(31)
        for _ in range(5):
            world.later(1)


def test_an_outage_that_comes_and_goes_fails_nobody(world: World) -> None:
    here = world.place()
    failing(world, here)

    comes_and_goes(world, here)

    assert (world.status(ADA), world.letters) == ("creating_user", [])


def test_an_outage_that_comes_and_goes_makes_no_more_messages_than_rows(world: World) -> None:
    here = world.place()
    failing(world, here)

    comes_and_goes(world, here)

    assert world.queued("advance") <= 2


def test_failures_that_are_not_in_a_row_open_nothing(world: World) -> None:
    here = world.place()

    for number in range(6):
        user = f"auth0|u{number}"
        world.users(user)
        here.look_up_fault(status=503)
        world.ask("assign", user)
        world.worker.run_until(lambda user=user: world.status(user) == "active")  # type: ignore[misc]
        world.run()

    assert (here.outages, here.failures) == (0, [])


def test_a_cluster_that_was_never_there_fails_nobody(world: World) -> None:
    here = world.place(api_url="http://127.0.0.1:9/nowhere")
    world.users(ADA)
    world.tell("assign", ADA)
    pause(world, 5)
    held, kind = world.row(ADA), open_outage(here)["kind"]

    here.change(api_url=f"{world.box.url}/hopsworks/{here.name}")
    pause(world, 2)

    assert (held["status"], kind) == ("creating_user", "unreachable")
    assert held["detail"].startswith("CLUSTER_UNREACHABLE")
    assert (world.status(ADA), world.letters) == ("active", [])


def test_a_cluster_that_hangs_is_left_alone_like_one_that_is_down(world: World) -> None:
    here = world.place()
    here.fault(delay_s=3600, times=FOR_EVER)
    world.users(ADA)

    world.ask("assign", ADA)
    with world.impatient() as impatient:
        impatient.worker.run_until(lambda: here.outage)
    up(here)
    pause(world, 2)

    assert (world.status(ADA), here.server["double_creations"]) == ("active", 0)


def test_one_cluster_that_is_down_for_an_hour_is_no_trouble_of_another(world: World) -> None:
    here, there = world.place(), world.place()
    world.active(BOB, cluster_id=there.id)
    failing(world, here)

    for _ in range(6):
        world.later(600)
    world.tell("suspend", BOB)
    world.active(CLEO, cluster_id=there.id)

    assert world.row(BOB)["account_enabled"] is False
    assert there.outages == 0


def test_a_user_that_breaks_the_server_fails_alone(world: World) -> None:
    """The server answers 500 to the creation of one user, and works for the others."""
    here = world.place()
    world.users(ADA)
    here.fault(method="POST", status=500, times=FOR_EVER)
    world.tell("assign", ADA)
    for number in range(6):
        if world.status(ADA) == "failed":
            break
        world.later(1)
        up(here)
        world.forget_messages("sweep")
        hidden = "update pgmq.q_cluster_assignments set vt = vt %s interval '1 day' where message->>'user_id' = %%s"
        world.conn.execute((hidden % "+").encode(), (ADA,))
        world.active(f"auth0|u{number}")
        world.conn.execute((hidden % "-").encode(), (ADA,))
        here.fault(method="POST", status=500, times=FOR_EVER)
        world.run()

    assert (world.status(ADA), len(world.letters)) == ("failed", 1)
    assert (here.outages, here.failures) == (0, [])


# The key.


def refused(world: World, **fields: Any) -> Place:
    """A cluster with another key than ours, and a user who waits for it."""
    here = world.place()
    world.active(BOB)
    world.box.hopsworks(here.name, api_key="theirs")
    world.users(ADA)
    world.tell("assign", ADA, **fields)
    return here


def test_a_refused_key_opens_it_at_once_and_is_on_record(world: World) -> None:
    here = refused(world)

    outage = open_outage(here)
    assert (outage["kind"], here.server["refused_keys"]) == ("api_key", 1 + outage["probes"])
    assert [(check, user, right) for check, user, _, right in here.failures] == [("api_key", None, False)]
    assert world.row(ADA)["detail"].startswith("CLUSTER_KEY_REFUSED: ")


def test_however_long_a_key_is_refused_no_user_fails(world: World) -> None:
    here = refused(world)

    pause(world, 20)

    assert (world.status(ADA), world.status(BOB), world.letters) == ("creating_user", "active", [])
    assert here.seats_taken == 2


def test_new_users_go_to_another_cluster_meanwhile_and_those_who_name_it_are_told_why_they_wait(world: World) -> None:
    here = refused(world)
    there = world.place()
    world.users(CLEO)

    world.active(DAN)
    world.tell("assign", CLEO, cluster_id=here.id)
    world.later(1)

    assert world.place_of(DAN) == there.id
    assert (world.status(CLEO), world.row(CLEO)["detail"].partition(":")[0]) == ("pending", "CLUSTER_KEY_REFUSED")


def test_a_key_that_the_server_takes_again_is_noticed_by_the_probe(world: World) -> None:
    here = refused(world)
    world.box.hopsworks(here.name, api_key=KEY)

    world.later(31)

    assert (world.status(ADA), here.outage) == ("active", None)
    assert [failure[3] for failure in here.failures] == [True]


def test_a_new_key_in_the_database_is_tried_at_once(world: World) -> None:
    here = refused(world)

    here.change(api_key="theirs")
    world.run()

    assert (world.status(ADA), here.outage) == ("active", None)


def test_a_new_key_that_is_wrong_too_changes_nothing(world: World) -> None:
    here = refused(world)
    before = open_outage(here)

    here.change(api_key="wrong-too")
    world.run()

    after = open_outage(here)
    assert (after["began_at"], after["kind"]) == (before["began_at"], "api_key")
    assert after["probes"] > before["probes"]


def test_a_key_that_may_not_create_keeps_waiting_whoever_needs_an_account_and_nobody_else(world: World) -> None:
    """It may look up: so others go on, and what the operator has to do is shown by who waits."""
    here = world.place()
    world.active(BOB)
    here.fault(method="POST", status=403, times=FOR_EVER)
    world.users(ADA)

    world.tell("assign", ADA)
    pause(world, 5)
    held = world.row(ADA)
    world.tell("suspend", BOB)
    up(here)
    pause(world, 2)

    assert (held["status"], held["detail"].partition(":")[0]) == ("creating_user", "CLUSTER_KEY_REFUSED")
    assert (here.outages, here.account(BOB)["status"]) == (0, 3)
    assert (world.status(ADA), world.letters) == ("active", [])


def test_a_cluster_that_answers_again_and_then_refuses_our_key_has_the_other_check_on_record(world: World) -> None:
    here = world.place()
    failing(world, here)
    world.box.hopsworks(here.name, api_key="theirs")
    up(here)

    pause(world)

    assert open_outage(here)["kind"] == "api_key"
    assert [(check, right) for check, _, _, right in here.failures] == [("reachable", True), ("api_key", False)]
    assert here.outages == 1


def test_an_account_of_who_left_waits_for_the_key(world: World) -> None:
    here = refused(world)

    world.tell("release", BOB)
    pause(world, 10)
    held = here.account(BOB)["status"]
    world.box.hopsworks(here.name, api_key=KEY)
    pause(world, 2)

    assert (held, here.account(BOB)["status"]) == (2, 3)
    assert world.letters == []


# Too many requests.


def test_a_cluster_that_asks_to_wait_is_given_the_time_it_asks_for_by_all(world: World) -> None:
    here = world.place()
    here.look_up_fault(status=429, retry_after=1000)
    world.users(ADA, BOB)
    world.tell("assign", ADA)
    asked = here.server["requests"]

    world.tell("assign", BOB, cluster_id=here.id)
    world.later(500)
    still, details = here.server["requests"], {world.row(user)["detail"].partition(":")[0] for user in (ADA, BOB)}
    world.later(501)

    assert (asked, still, details) == (0, 0, {"CLUSTER_UNREACHABLE"})
    assert {world.status(ADA), world.status(BOB)} == {"active"}
    assert ([right for *_, right in here.failures], world.letters) == ([True], [])


def test_however_often_a_cluster_asks_to_wait_no_user_fails(world: World) -> None:
    here = world.place()
    here.fault(status=429, retry_after=10, times=30)
    world.users(ADA)
    world.tell("assign", ADA)

    for _ in range(40):
        world.later(31)

    assert (world.status(ADA), world.letters) == ("active", [])


# Maintenance, and off for good.


def creating(world: World, here: Place) -> None:
    """ADA has a seat, and no account yet."""
    world.users(ADA)
    world.ask("assign", ADA, cluster_id=here.id)
    world.worker.run_until(lambda: world.status(ADA) == "creating_user")


def test_an_account_waits_for_the_end_of_a_maintenance(world: World) -> None:
    here = world.place()
    creating(world, here)
    here.change(status="maintenance")
    world.run()
    held, requests = world.row(ADA), here.server["requests"]

    here.change(status="active")
    pause(world)

    assert held["detail"] == f"CLUSTER_MAINTENANCE: {here.name} is in maintenance"
    assert (held["status"], held["holds_seat"], requests) == ("creating_user", True, 0)
    assert world.status(ADA) == "active"


def test_an_account_that_is_being_made_moves_off_a_cluster_that_is_switched_off(world: World) -> None:
    here, there = world.place(), world.place()
    creating(world, here)

    here.change(status="inactive")
    world.run()

    assert (world.status(ADA), world.place_of(ADA)) == ("active", there.id)
    assert (here.seats_taken, there.seats_taken) == (0, 1)
    assert here.server["requests"] == 0


def test_it_waits_there_until_another_cluster_has_a_seat(world: World) -> None:
    here, there = world.place(), world.place(0)
    creating(world, here)
    here.change(status="inactive")
    world.run()
    held = world.row(ADA)

    there.change(max_users=1)
    pause(world)

    why = f"{here.name} is inactive, and elsewhere: CLUSTER_FULL: no free seat on any of 1 clusters"
    assert held["detail"] == f"CLUSTER_MAINTENANCE: {why}"
    assert (world.place_of(ADA), here.seats_taken, there.seats_taken) == (there.id, 0, 1)


def test_an_inactive_cluster_is_not_probed_any_more(world: World) -> None:
    here = world.place()
    failing(world, here)
    here.change(status="inactive")

    pause(world, 2)

    assert here.outage is None


def test_what_is_said_of_users_of_an_inactive_cluster_is_told_when_it_is_back(world: World) -> None:
    here = world.place()
    world.active(ADA)
    here.change(status="inactive")
    world.tell("suspend", ADA)

    here.change(status="active")
    world.sweep()

    assert here.account(ADA)["status"] == 3


# Nothing is lost.


def test_whoever_is_held_goes_on_even_if_nobody_wakes_them(world: World) -> None:
    """The outage is ended by hand."""
    here = world.place()
    failing(world, here)
    up(here)
    world.conn.execute("update public.outages set ended_at = public.fleet_now()")

    pause(world, 2)

    assert world.status(ADA) == "active"


def test_a_lost_call_to_an_account_is_made_up_for_by_the_sweep(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.ask("suspend", ADA)
    world.worker.run_once()
    world.forget_messages("advance")

    world.sweep()

    assert here.account(ADA)["status"] == 3


def test_two_workers_share_what_they_know(world: World) -> None:
    here = world.place()
    failing(world, here)
    left_alone(world, 3600)
    up(here)
    before = here.server["requests"]
    users = [f"auth0|u{number}" for number in range(4)]
    world.users(*users)

    one, two = (
        worker_process(world.dsn, world.box, "pgfleet.workers.assignment", seat_recheck_s=0.2) for _ in range(2)
    )
    with one, two:
        for user in users:
            send(world.conn, QUEUE, {"action": "assign", "user_id": user, "cluster_id": here.id})

        def told() -> bool:
            details = "select detail from hopsworks.user_hopsworks_assignments where user_id = any(%s)"
            found = [str(detail) for (detail,) in world.conn.execute(details, (users,))]
            return len(found) == 4 and all(detail.startswith("CLUSTER_UNREACHABLE") for detail in found)

        until(told, within_s=20)
        meanwhile = here.server["requests"]
        left_alone(world, 0)
        until(lambda: {world.status(user) for user in (*users, ADA)} == {"active"}, within_s=20)

    assert meanwhile == before
    assert here.server["double_creations"] == 0
