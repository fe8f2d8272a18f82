"""`pgfleet subscribe`, `unsubscribe`, `subscriptions` and `deliveries` through the API."""

from typing import Any

from pgfleet.console.commands.events import delivered, subscribing
from pgfleet.console.commands.events import subscriptions as local
from pgfleet.console.remote.client import Api, api, path_of
from pgfleet.console.remote.rows import only, timed
from pgfleet.console.remote.swapping import like, swapped
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.options import named_as_options
from pgfleet.schema.printable import printable
from pgfleet.schema.rows.row import Row

ALL = "/v1/subscriptions"
MOST = 1000
# In what a delivery is shown beside its subscription.
OWN = ("subscription_id", "user_id", "shown_url")


@like(subscribing.subscribe)
def subscribe(  # noqa: PLR0913  # one parameter an option
    url: str,
    *,
    machine: list[str] | None,
    state: list[str] | None,
    row: str | None,
    of_user: str | None,
    written_as: str,
    user: str | None,
    as_json: bool,
) -> None:
    wanted = {"machines": machine or None, "states": state or None, "row_id": row, "of_user": of_user}
    with named_as_options({**subscribing.OPTIONS, "user_id": "--user"}):
        body = {"url": subscribing.address_of(url), **wanted, "format": written_as, "user_id": user}
        made = api().post(ALL, body)
    subscribing.print_made(made["id"], made["secret"], as_json=as_json)


@like(subscribing.unsubscribe)
def unsubscribe(given: str, *, user: str | None, as_json: bool) -> None:
    there = api()
    row = _one(there, given, user)
    there.delete(path_of("subscriptions", row["subscription_id"]))
    print_result("subscription_id", row["subscription_id"], "unsubscribe sent", as_json=as_json)


def list_subscriptions(*, user: str | None, everybody: bool, as_json: bool) -> None:
    there = api()
    local.print_listed(_listed(there, None if everybody else user or there.username), as_json=as_json)


def show(given: str, *, user: str | None, as_json: bool) -> None:
    local.print_one(_one(api(), given, user), as_json=as_json)


def send_test(given: str, *, user: str | None, as_json: bool) -> None:
    _ask(given, user, "test", as_json=as_json)


def resume(given: str, *, user: str | None, as_json: bool) -> None:
    _ask(given, user, "resume", as_json=as_json)


def again(given: str, after: str, *, user: str | None, as_json: bool) -> None:
    with named_as_options({"after": "POSITION"}):
        _ask(given, user, "send-again", {"after": after}, as_json=as_json)


SUBSCRIPTIONS = swapped(
    "subscriptions",
    local.app,
    {"ls": list_subscriptions, "show": show, "test": send_test, "resume": resume, "again": again},
)


@like(delivered.deliveries)
def deliveries(given: str | None, *, again: int | None, most: int, user: str | None, as_json: bool) -> None:
    there = api()
    known = _listed(there, user or there.username) if given is None else [_one(there, given, user)]
    if again is None:
        rows = [row for each in known for row in _deliveries(there, each, most)]
        rows.sort(key=lambda row: (row["begun_at"], row["number"]), reverse=True)
        delivered.print_deliveries(rows[:most], as_json=as_json)
        return
    which = delivered.must_be_of_one(given and known[0]["subscription_id"])
    kept = {row["number"]: row for row in _deliveries(there, known[0], MOST)}
    there.post(path_of("subscriptions", which, "send-again"), {"after": delivered.after_of(kept.get(again), again)})
    print_result("subscription_id", which, delivered.SENT, as_json=as_json)


def _deliveries(there: Api, row: Row, most: int) -> list[Row]:
    found = there.pages(path_of("subscriptions", row["subscription_id"], "deliveries"), most)
    return [Row({**{name: row[name] for name in OWN}, **timed(each)}) for each in found]


def _ask(given: str, user: str | None, what: str, body: dict[str, Any] | None = None, *, as_json: bool) -> None:
    there = api()
    row_id = _one(there, given, user)["subscription_id"]
    there.post(path_of("subscriptions", row_id, what), body)
    print_result("subscription_id", row_id, f"{what.replace('-', ' ')} sent", as_json=as_json)


def _listed(there: Api, user: str | None) -> list[Row]:
    return [Row(timed(row)) for row in there.pages(ALL, MOST, user_id=user)]


def _one(there: Api, given: str, user: str | None) -> Row:
    """A user's subscription by its id, or the beginning of it."""
    known = {row["subscription_id"]: row for row in _listed(there, user or there.username)}
    return known[only([*known], given, f"subscription {printable(given)} of yours; if you act for others: --user")]
