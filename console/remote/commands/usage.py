"""`pgfleet usage` through the API."""

from typing import Any

from pgfleet.console.commands import usage as local
from pgfleet.console.remote.client import Api, api, path_of
from pgfleet.console.remote.rows import timed
from pgfleet.console.remote.swapping import like
from pgfleet.console.showing import show
from pgfleet.producers.submit.options import named_as_options
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable

MOST_USERS = 10_000
NUMBERS = (*local.AMOUNTS, *local.CREDITS, "amount")


@like(local.usage)
def usage(given: str | None, *, month: str | None, as_json: bool) -> None:
    there = api()
    with named_as_options({"month": "--month"}):
        if given is None:
            show(lambda: _look(there, month), local.picture, as_json=as_json)
        else:
            show(lambda: _look_at(there, given.strip(), month), local.user_picture, as_json=as_json)


def _look(there: Api, month: str | None) -> dict[str, Any]:
    head = there.get("/v1/usage", month=month, limit=1)
    users = [_plain(user) for user in there.pages("/v1/usage", MOST_USERS, month=month)]
    users.sort(key=lambda user: (-user["total_cost"], -user["total_used"], user["email"] or ""))
    return {"month": head["month"], "currency": head["currency"], "users": users}


def _look_at(there: Api, given: str, month: str | None) -> dict[str, Any]:
    known = there.pages("/v1/usage", MOST_USERS, month=month)
    found = [user for user in known if given.lower() in (user["user_id"].lower(), str(user["email"]).lower())]
    if "@" in given and "|" not in given and not found:
        raise Refusal(f"There is no user {printable(given)} with usage in this month; give the id.")
    user_id = found[0]["user_id"] if found else given
    seen = timed(there.get(path_of("usage", user_id), month=month))
    days = [_plain(day) for day in seen["days"]]
    return {
        "user_id": user_id,
        "email": found[0]["email"] if found else None,
        "name": None,
        "month": seen["month"],
        "currency": seen["currency"],
        "days": days,
        "sums": {name: sum(day[name] for day in days) for name in local.AMOUNTS},
        "credits": _plain({name: seen[name] for name in local.CREDITS}),
        "charges": [{"stripe_invoice_id": None, **_plain(charge)} for charge in seen["charges"]],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """With amounts as numbers, which the API writes as text so that no digit is lost."""
    return {name: float(value) if name in NUMBERS and value is not None else value for name, value in row.items()}
