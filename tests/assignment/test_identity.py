"""An account whose number is known is that one: whoever has its e-mail now, here or on the server."""

from typing import Any

import pytest

from worlds.assignments import DEACTIVATED, ENABLED, REMOTE, Place, World, email_of

ADA, BOB = "auth0|ada", "auth0|bob"
NEW = "lovelace@example.com"


def renamed_there(world: World, place: Place, user_id: str, email: str = NEW) -> None:
    """Somebody gives the account another e-mail on the server."""
    account = place.account(user_id)
    world.box.hopsworks_forget(place.name, email_of(user_id))
    kept = ("id", "username", "accountType", "maxNumProjects", "status")
    world.box.hopsworks_put(place.name, email, **{name: account[name] for name in kept}, subject=user_id)


def renamed_here(world: World, user_id: str, email: str = NEW) -> None:
    world.conn.execute("update hopsworks.users set email = %s where id = %s", (email, user_id))


def planted(place: Place, email: str, **fields: Any) -> int:
    """An account of somebody else; its number."""
    put = place.box.hopsworks_put(place.name, email, **{"accountType": REMOTE, "maxNumProjects": 1, **fields})
    return int(put["id"])


def of_number(place: Place, number: int) -> dict[str, Any]:
    return next(account for account in place.accounts.values() if account["id"] == number)


def checked(world: World) -> None:
    world.later(3601)
    world.sweep("sweep_accounts")


@pytest.fixture(params=["renamed there", "renamed here", "its e-mail is another's now"])
def moved(request: pytest.FixtureRequest, world: World) -> tuple[Place, int, int | None]:
    """Ada's cluster, the number of her account, and the number of the one that has her e-mail now."""
    here = world.place()
    world.active(ADA)
    mine: int = world.row(ADA)["hopsworks_user_id"]
    if request.param == "renamed here":
        renamed_here(world, ADA)
        return here, mine, None
    renamed_there(world, here, ADA)
    others = planted(here, email_of(ADA)) if request.param.startswith("its") else None
    return here, mine, others


def test_an_account_with_another_e_mail_is_well(world: World, moved: tuple[Place, int, int | None]) -> None:
    here, mine, _ = moved

    checked(world)

    assert here.failures == []
    assert world.row(ADA)["hopsworks_user_id"] == mine
    assert world.row(ADA)["detail"].startswith("ada on ")
    assert ", where the e-mail is " in world.row(ADA)["detail"]


@pytest.mark.parametrize("request_", ["suspend", "release"])
def test_what_is_asked_about_a_user_changes_the_users_account(
    world: World, moved: tuple[Place, int, int | None], request_: str
) -> None:
    here, mine, others = moved

    world.tell(request_, ADA)

    assert of_number(here, mine)["status"] == DEACTIVATED
    assert others is None or of_number(here, others)["status"] == ENABLED


def test_a_reactivated_user_gets_the_users_account_back(world: World, moved: tuple[Place, int, int | None]) -> None:
    here, mine, others = moved
    world.tell("suspend", ADA)
    if others is not None:
        world.box.hopsworks_put(here.name, email_of(ADA), id=others, status=DEACTIVATED)

    world.tell("reactivate", ADA)

    assert of_number(here, mine)["status"] == ENABLED
    assert others is None or of_number(here, others)["status"] == DEACTIVATED


def test_limits_are_written_to_the_users_account(world: World, moved: tuple[Place, int, int | None]) -> None:
    here, mine, others = moved
    world.conn.execute("update hopsworks.users set stripe_customer_id = 'cus_1' where id = %s", (ADA,))

    world.sweep()
    checked(world)

    assert of_number(here, mine)["maxNumProjects"] == 5
    assert others is None or of_number(here, others)["maxNumProjects"] == 1


def test_an_account_that_was_made_anew_under_the_e_mail_is_told_and_left_alone(world: World) -> None:
    here = world.place()
    world.active(ADA)
    mine = world.row(ADA)["hopsworks_user_id"]
    world.box.hopsworks_forget(here.name, email_of(ADA))
    others = planted(here, email_of(ADA), id=mine + 100)

    checked(world)
    world.tell("suspend", ADA)

    gone = "ACCOUNT_GONE: the server does not know the account any more; release the user, then assign again"
    assert world.row(ADA)["detail"] == f"{gone}; the user's e-mail is that of another account now, number {others}"
    assert world.row(ADA)["hopsworks_user_id"] == mine
    assert [failure[0] for failure in here.failures] == ["account"]
    assert of_number(here, others)["status"] == ENABLED


def test_who_comes_back_to_a_cluster_has_the_account_of_before(
    world: World, moved: tuple[Place, int, int | None]
) -> None:
    here, mine, others = moved
    world.tell("release", ADA)
    world.conn.execute("update hopsworks.accounts_to_close set closed_at = closed_at - interval '1 year'")
    world.conn.execute("select public.keep_house()")

    world.active(ADA)

    assert world.row(ADA)["hopsworks_user_id"] == mine
    assert of_number(here, mine)["status"] == ENABLED
    assert len(here.accounts) == (1 if others is None else 2)


def test_who_comes_back_when_the_account_of_before_is_gone_gets_a_new_one_and_is_told(world: World) -> None:
    here = world.place()
    world.active(ADA)
    before = world.row(ADA)["hopsworks_user_id"]
    world.tell("release", ADA)
    world.box.hopsworks_forget(here.name, email_of(ADA))

    world.active(ADA)

    assert world.row(ADA)["hopsworks_user_id"] == here.account(ADA)["id"]
    assert f"account number {before}, which they had there before, is gone" in world.row(ADA)["status_reason"]


def test_who_moves_between_clusters_has_one_account_on_each(world: World) -> None:
    first, second = world.place(), world.place()
    world.active(ADA, cluster_id=first.id)
    mine = world.row(ADA)["hopsworks_user_id"]
    renamed_here(world, ADA)
    for place in (second, first):
        world.tell("release", ADA)
        world.active(ADA, cluster_id=place.id)

    assert world.row(ADA)["hopsworks_user_id"] == mine
    assert (of_number(first, mine)["status"], len(first.accounts)) == (ENABLED, 1)
    assert [account["status"] for account in second.accounts.values()] == [DEACTIVATED]


def test_the_account_of_another_user_is_not_adopted_by_its_e_mail(world: World) -> None:
    here = world.place()
    world.active(ADA)
    renamed_there(world, here, ADA, email_of(BOB))
    world.users(BOB)
    world.tell("suspend", ADA)

    world.tell("assign", BOB)

    assert world.status(BOB) == "failed"
    assert "is another user's" in world.row(BOB)["detail"]
    assert of_number(here, world.row(ADA)["hopsworks_user_id"])["status"] == DEACTIVATED


def test_who_leaves_before_an_account_was_known_takes_nobody_elses_along(world: World) -> None:
    here = world.place()
    world.active(ADA)
    renamed_there(world, here, ADA, email_of(BOB))
    world.users(BOB)
    world.ask("assign", BOB)
    world.worker.run_until(lambda: world.status(BOB) == "creating_user")

    world.tell("release", BOB)

    assert of_number(here, world.row(ADA)["hopsworks_user_id"])["status"] == ENABLED


def test_an_account_that_another_user_has_by_now_is_not_closed(world: World) -> None:
    here = world.place()
    world.active(ADA)
    mine = world.row(ADA)["hopsworks_user_id"]
    renamed_there(world, here, ADA, email_of(BOB))
    world.tell("release", ADA)
    world.users(BOB)
    world.active(BOB)

    world.post({"action": "close_account", "user_id": ADA, "cluster_id": here.id, "account_id": mine})

    assert world.row(BOB)["hopsworks_user_id"] == mine
    assert of_number(here, mine)["status"] == ENABLED
