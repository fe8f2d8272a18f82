"""Nothing that a message says is done because it says so: rows say whose account it is, and so does the server."""

from importlib.resources import files
from typing import Any

import pytest

from pgfleet.schema.assignment import QUEUE, read
from worlds.assignments import DEACTIVATED, ENABLED, Place, World, email_of
from worlds.fleet import send

ADA, BOB, OWNER, MEMBER = "auth0|ada", "auth0|bob", "auth0|owner", "auth0|member"
MANY = 600
NOWHERE = "00000000-0000-0000-0000-000000000001"


def number_of(world: World, user_id: str) -> int:
    return int(world.row(user_id)["hopsworks_user_id"])


def given_to(world: World, place: Place, user_id: str, **fields: Any) -> None:
    """The server was set up anew: the number of a user's account is somebody else's now."""
    number = place.account(user_id)["id"]
    world.box.hopsworks_forget(place.name, email_of(user_id))
    remote = {"accountType": "REMOTE_ACCOUNT_TYPE", "subject": "auth0|x", "maxNumProjects": 1}
    world.box.hopsworks_put(place.name, "else@example.com", **{**remote, "username": "else", "id": number, **fields})


def of_else(place: Place) -> dict[str, Any]:
    return place.accounts["else@example.com"]


# Whose account is closed.


def test_no_message_closes_the_account_of_its_choice(world: World) -> None:
    here = world.place()
    world.active(ADA, BOB)
    world.tell("release", BOB)

    world.post({"action": "close_account", "user_id": BOB, "cluster_id": here.id, "account_id": number_of(world, ADA)})

    assert here.account(ADA)["status"] == ENABLED
    assert world.letters == ["account_id: is not known; did you mean cluster_id?"]


@pytest.mark.parametrize("who", ["assigned elsewhere", "known and never assigned", "nobody"])
def test_where_a_user_has_left_no_account_none_is_closed(world: World, who: str) -> None:
    there = world.place()
    planted = world.box.hopsworks_put(there.name, email_of(ADA), accountType="REMOTE_ACCOUNT_TYPE", subject=ADA)
    there.change(status="maintenance")
    world.place()
    if who == "assigned elsewhere":
        world.active(ADA)
    elif who == "known and never assigned":
        world.users(ADA)

    world.post({"action": "close_account", "user_id": ADA, "cluster_id": there.id})

    assert there.account(ADA)["status"] == planted["status"] == ENABLED
    assert there.server["requests"] == 0
    assert world.letters == [f"user_id: {ADA} has left no account on {there.name}"]


def test_a_number_that_is_somebody_elses_by_now_is_not_closed(world: World) -> None:
    here = world.place()
    world.active(ADA)
    given_to(world, here, ADA)

    world.tell("release", ADA)
    world.later(61)

    assert of_else(here)["status"] == ENABLED
    (told,) = [failure for failure in here.failures if failure[0] == "account"]
    assert "is else's now, and was ada's: left alone" in told[2]
    assert told[3], "nobody has anything to do about it"
    assert (world.queued("close_account"), world.letters) == (0, [])


@pytest.mark.parametrize("action", ["suspend", "tend"])
def test_a_number_that_is_somebody_elses_by_now_is_told_and_not_changed(world: World, action: str) -> None:
    here = world.place()
    world.active(ADA)
    given_to(world, here, ADA, maxNumProjects=9)
    if action == "tend":
        world.conn.execute("update hopsworks.users set stripe_customer_id = 'cus_1' where id = %s", (ADA,))

    if action == "suspend":
        world.tell("suspend", ADA)
    world.sweep()

    assert (of_else(here)["status"], of_else(here)["maxNumProjects"]) == (ENABLED, 9)
    assert world.row(ADA)["detail"].startswith("ACCOUNT_TAKEN: number ")


def test_who_comes_back_is_not_given_the_account_that_has_the_number_now(world: World) -> None:
    here = world.place()
    world.active(ADA)
    before = number_of(world, ADA)
    world.tell("release", ADA)
    given_to(world, here, ADA)

    world.active(ADA)

    assert number_of(world, ADA) == here.account(ADA)["id"] != before
    assert (
        f"account number {before}, which they had there before, is somebody else's now"
        in (world.row(ADA)["status_reason"])
    )


def test_an_old_ticket_closes_nothing_where_the_user_never_was(world: World) -> None:
    here = world.place()
    world.active(ADA)
    there = world.place()
    world.box.hopsworks_put(there.name, email_of(ADA), accountType="REMOTE_ACCOUNT_TYPE", subject=ADA)

    world.post({"action": "advance", "user_id": ADA, "ticket": 0, "cluster_id": there.id})

    assert there.account(ADA)["status"] == ENABLED
    assert (there.server["requests"], here.account(ADA)["status"]) == (0, ENABLED)


# Who is suspended with whom.


def test_a_member_is_suspended_with_the_owner_only_while_the_owner_is(world: World) -> None:
    here = world.place()
    world.active(OWNER)
    world.users(MEMBER, owner=OWNER)
    world.active(MEMBER)

    world.post({"action": "suspend_member", "user_id": MEMBER})
    untouched = here.account(MEMBER)["status"]
    world.tell("suspend", OWNER)
    world.post({"action": "reactivate_member", "user_id": MEMBER})

    assert untouched == ENABLED
    assert here.account(MEMBER)["status"] == DEACTIVATED


@pytest.mark.parametrize("action", ["suspend", "reactivate"])
def test_no_request_names_another_user_whose_suspension_it_is(world: World, action: str) -> None:
    world.place()
    world.active(ADA)

    world.post({"action": action, "user_id": ADA, "suspended_for": BOB})

    assert world.row(ADA)["suspended_for"] is None
    assert world.letters == ["suspended_for: is not known; known are user_id, action"]


# What is out of bounds: of each field, beside a good message.

INTERNAL: list[tuple[dict[str, Any], str]] = [
    ({"action": "drain", "cluster_id": NOWHERE, "after": "zzz"}, "after: is not known"),
    ({"action": "drain", "cluster_id": NOWHERE, "somebody_stays": True}, "somebody_stays: is not known"),
    ({"action": "drain_page", "cluster_id": NOWHERE, "after": "a", "somebody_stays": True}, "cluster_id: there is no"),
    (
        {"action": "drain_page", "cluster_id": NOWHERE, "after": "x" * 256, "somebody_stays": True},
        "after: must have at",
    ),
    ({"action": "drain_page", "cluster_id": NOWHERE, "after": "a", "somebody_stays": "yes"}, "somebody_stays: must be"),
    ({"action": "advance", "user_id": ADA, "ticket": 2**31}, "ticket: must be at most 2147483647"),
    ({"action": "advance", "user_id": ADA, "ticket": -2}, "ticket: must be at least -1"),
    ({"action": "advance", "user_id": ADA, "ticket": 10**400}, "the body has a number of over 100 digits"),
    ({"action": "advance", "user_id": ADA, "ticket": 1, "cluster_id": "x"}, "cluster_id: must be a UUID"),
    ({"action": "follow", "user_id": "a\x1b[31m"}, "user_id: must not contain control characters"),
    ({"action": "suspend_member", "user_id": "x" * 256}, "user_id: must have at most 255"),
    ({"action": "suspend_member", "user_id": "auth0|nobody"}, "user auth0|nobody has no assignment"),
    ({"action": "close_account", "user_id": ADA, "cluster_id": "../x"}, "cluster_id: must be a UUID"),
    ({"action": "measure_cluster", "cluster_id": NOWHERE, "slot": "2026-11-29T00:00:00"}, "slot: must be a time with"),
    (
        {"action": "measure_cluster", "cluster_id": NOWHERE, "slot": "9999-12-31T23:55:00Z"},
        "slot: must not be in the f",
    ),
    ({"action": "measure_cluster", "cluster_id": NOWHERE, "slot": "infinity"}, "slot: must be a time"),
    ({"action": "measure_cluster", "cluster_id": NOWHERE, "slot": 1e300}, "the body has a number of over 100 digits"),
    ({"action": "bill_user", "user_id": ADA, "day": "9999-12-31"}, "day: 9999-12-31 is not over yet"),
    ({"action": "bill_user", "user_id": ADA, "day": "0001-01-01"}, "day: 0001-01-01 was more than 60 days ago"),
    ({"action": "bill_user", "user_id": ADA, "day": "yesterday"}, "day: must be a day, such as"),
    ({"action": "bill_user", "user_id": ADA, "day": 20000}, "day: must be a day, such as"),
    ({"action": "admit", "limit": 10**9}, "limit: is not known"),
    ({"action": "sweep", "most": 10**9}, "most: is not known"),
    ({"action": "sweep_accounts", "every": 0}, "every: is not known"),
    ({"action": "measure", "slot": "2026-11-29T00:00:00Z"}, "slot: is not known"),
    ({"action": "bill", "day": "2026-11-29"}, "day: is not known"),
]


@pytest.mark.parametrize(
    ("body", "reason"), INTERNAL, ids=[f"{n}-{body['action']}" for n, (body, _) in enumerate(INTERNAL)]
)
def test_what_is_out_of_bounds_is_one_rejection_and_what_is_beside_it_is_done(
    world: World, body: dict[str, Any], reason: str
) -> None:
    world.place()
    world.users(ADA)

    world.ask("assign", ADA)
    world.post_as_of(60, body)

    assert world.status(ADA) == "active"
    assert len(world.letters) == 1
    assert world.letters[0].startswith(reason)


def test_a_slot_before_all_measuring_is_over(world: World) -> None:
    world.post({"action": "measure_cluster", "cluster_id": NOWHERE, "slot": "0001-01-01T00:00:00+23:59"})

    assert world.letters == []


# Whose mailbox it is.


@pytest.mark.parametrize("email", ["", "@", "ada@", "@example.com", "ada", "a\nb@example.com", "x" * 400 + "@x.org"])
def test_a_user_whose_e_mail_is_none_is_told_and_nobody_is_looked_up(world: World, email: str) -> None:
    here = world.place()
    world.users(ADA, email=email)

    world.tell("assign", ADA)

    assert world.status(ADA) == "failed"
    assert "the user's e-mail is no address that an account could have" in world.row(ADA)["detail"]
    assert here.server["requests"] == 0


@pytest.mark.parametrize("email", ["a_b@example.com", "%@example.com", "a%b@example.com", "user_email:ada@example.com"])
def test_an_e_mail_is_no_pattern(world: World, email: str) -> None:
    here = world.place()
    remote = {"accountType": "REMOTE_ACCOUNT_TYPE", "maxNumProjects": 1}
    for n, others in enumerate(("axb@example.com", "ada@example.com", f"{email}.uk", f"x{email}")):
        world.box.hopsworks_put(here.name, others, **remote, subject=f"auth0|{n}", username=f"other{n}")
    world.users(ADA, email=email)

    world.active(ADA)

    assert here.accounts[email]["subject"] == ADA
    assert number_of(world, ADA) == here.accounts[email]["id"]


def test_a_name_is_one_line_and_has_an_end(world: World) -> None:
    here = world.place()
    world.users(ADA, name="Ada\r\nX-Evil: 1 " + "x" * 10**6)

    world.active(ADA)

    assert here.account(ADA)["firstname"] == "Ada"
    assert here.account(ADA)["lastname"].startswith("X-Evil: 1 xxx")


# What is repeated costs little.


@pytest.mark.parametrize("action", ["suspend", "reactivate"])
def test_a_request_that_is_repeated_is_told_to_the_server_once(world: World, action: str) -> None:
    here = world.place()
    world.active(OWNER)
    world.users(MEMBER, owner=OWNER)
    world.active(MEMBER)
    before = here.server["requests"]

    for _ in range(40):
        world.ask(action, OWNER)
    world.run()

    assert here.server["requests"] - before <= 6
    assert world.letters == []


def test_a_user_who_is_suspended_again_later_is_told_again(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.tell("suspend", ADA)
    account = here.account(ADA)
    kept = {name: account[name] for name in ("id", "username", "accountType", "maxNumProjects")}
    world.box.hopsworks_put(here.name, email_of(ADA), **kept, subject=ADA, status=ENABLED)

    world.conn.execute(
        "update hopsworks.user_hopsworks_assignments set suspension_asked_at = suspension_asked_at - interval '61 s'"
    )
    world.tell("suspend", ADA)

    assert here.account(ADA)["status"] == DEACTIVATED


def test_closing_that_is_asked_for_many_times_asks_the_server_once(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.tell("release", ADA)
    before = here.server["requests"]

    world.conn.execute(
        "select pgmq.send_batch('cluster_assignments', array_agg(%s::jsonb)) from generate_series(1, %s)",
        (f'{{"action": "close_account", "user_id": "{ADA}", "cluster_id": "{here.id}"}}', MANY),
    )
    world.run()

    assert here.server["requests"] == before
    assert world.letters == []


# A database of before.

AS_BEFORE: list[tuple[dict[str, Any], tuple[str, ...], dict[str, Any]]] = [
    ({"action": "close_account", "user_id": ADA, "cluster_id": NOWHERE, "account_id": 7}, ("account_id",), {}),
    ({"action": "drain", "cluster_id": NOWHERE, "after": "", "somebody_stays": False}, ("after", "somebody_stays"), {}),
    (
        {"action": "drain", "cluster_id": NOWHERE, "after": "a", "somebody_stays": True},
        (),
        {"action": "drain_page"},
    ),
    ({"action": "suspend", "user_id": ADA, "suspended_for": BOB}, ("suspended_for",), {"action": "suspend_member"}),
    ({"action": "reactivate", "user_id": ADA, "suspended_for": None}, ("suspended_for",), {}),
    ({"action": "assign", "user_id": ADA}, (), {}),
]


def test_messages_of_before_are_brought_over_with_what_they_may_say_now(world: World) -> None:
    for body, _, _ in AS_BEFORE:
        send(world.conn, QUEUE, body)

    world.conn.execute(files("pgfleet.schema").joinpath("041_accounts_by_name.sql").read_bytes())

    queued = [row[0] for row in world.conn.execute("select message from pgmq.q_cluster_assignments order by msg_id")]
    assert queued == [
        {name: value for name, value in body.items() if name not in dropped} | other
        for body, dropped, other in AS_BEFORE
    ]
    assert all(read(body) for body in queued)


def test_accounts_that_were_left_before_have_the_username_of_their_row(world: World) -> None:
    here = world.place()
    world.active(ADA)
    world.tell("release", ADA)
    world.conn.execute("update hopsworks.accounts_to_close set hopsworks_username = null, may_be_unknown = true")

    world.conn.execute(files("pgfleet.schema").joinpath("041_accounts_by_name.sql").read_bytes())

    left = world.conn.execute("select hopsworks_username, may_be_unknown from hopsworks.accounts_to_close").fetchall()
    assert left == [(here.account(ADA)["username"], False)]
