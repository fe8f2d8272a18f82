"""`pgfleet cancel`, `extend`, `retry` and `add-user` through the API."""

import uuid
from datetime import timedelta
from typing import Any

from pgfleet.console.commands import requests as local
from pgfleet.console.commands.access import sharing
from pgfleet.console.commands.requests import refuse_if_over
from pgfleet.console.remote.client import Api, api, path_of
from pgfleet.console.remote.following import Asked, Reservation, Result, letters, one, timeline
from pgfleet.console.remote.swapping import like
from pgfleet.console.showing import print_result
from pgfleet.producers.sending import check
from pgfleet.producers.submit.following import Look, Output, report
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable, second
from pgfleet.schema.reservation import FINAL, Extend, Status
from pgfleet.schema.rows.row import Row


def owned(there: Api, given: str, user: str | None) -> Row:
    """The reservation, which is this user's. Raises Refusal where there is none, or it is another's."""
    row = one(there, given, user)
    if row["user_id"] != (user or there.username):
        raise Refusal(f"Reservation {given} belongs to {printable(row['user_id'])}. If you act for them: --user.")
    return row


def live(there: Api, given: str, user: str | None) -> Row:
    """The same, of one that has not ended."""
    row = owned(there, given, user)
    refuse_if_over(row)
    return row


def done(asked: Asked, sent: str, output: Output) -> None:
    """Follow a request that was just sent, or say that it was."""
    if output.wait:
        err().print(sent)
        asked.follow(output)
    elif output.as_json:
        print_json({"reservation_id": asked.row_id, "request_id": asked.request_id, "result": sent})
    else:
        out().print(printable(f"{asked.row_id} {sent}"), soft_wrap=True)


@like(local.cancel)
def cancel(given: str, *, user: str | None, as_json: bool) -> None:
    there = api()
    row = owned(there, given, user)
    if row["status"] == Status.CANCELLED:
        print_result("reservation_id", row["reservation_id"], "cancelled already", as_json=as_json)
        return
    refuse_if_over(row)
    there.delete(path_of("reservations", row["reservation_id"]))
    print_result("reservation_id", row["reservation_id"], "cancel sent", as_json=as_json)


@like(local.extend)
def extend(  # noqa: PLR0913  # one parameter an option
    given: str,
    *,
    hours: float,
    request_id: str | None,
    user: str | None,
    following: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    there, request = api(), str(uuid.uuid4()) if request_id is None else request_id
    with named_as_options({"extension_hours": "--hours", "request_id": "--request-id"}):
        row = live(there, given, user)
        row_id = row["reservation_id"]
        asks = {"reservation_id": row_id, "user_id": row["user_id"], "extension_hours": hours, "request_id": request}
        check(Extend, asks)
        before = timeline(there, row_id) if following else {}
        there.post(path_of("reservations", row_id, "extend"), {"extension_hours": hours}, key=request)
    ends = None if row["expires_at"] is None else row["expires_at"] + timedelta(hours=hours)

    def result(_: Row, told: str) -> Look:
        return Look(row, told, result=f"extended {told}")

    def more(last: Look) -> dict[str, Any]:
        was = "rejected" if last.rejected else "extended" if last.result else "extend sent"
        return {"result": was, "expires_at": row["expires_at"] if last.rejected else ends}

    asked = Asked(there, row_id, "extend", result, before, request, more)
    if as_json and not following:
        shown = {"reservation_id": row_id, "request_id": request, "result": "extend sent", "expires_at": ends}
        print_json({**shown, "rejected": None})
    else:
        done(asked, f"extend sent: {_planned(row, hours)}", Output(following, timeout, as_json))


def _planned(row: Row, hours: float) -> str:
    if row["expires_at"] is None:
        return f"by {hours:g} h, to {row['duration_hours'] + hours:g} h in all"
    before, after = second(row["expires_at"]), second(row["expires_at"] + timedelta(hours=hours))
    return f"by {hours:g} h, until {after} instead of {before}"


@like(local.retry)
def retry(  # noqa: PLR0913  # one parameter an option
    given: str, *, request_id: str | None, user: str | None, following: bool, timeout: float | None, as_json: bool
) -> None:
    there = api()
    row = owned(there, given, user)
    if row["status"] not in FINAL:
        raise Refusal(
            f"Reservation {row['reservation_id']} is {row['status']}. First: pgfleet cancel {row['short_id']}"
        )
    old_id = row["master_reservation_id"] or row["reservation_id"]
    known = letters(timeline(there, old_id))
    with named_as_options({"Idempotency-Key": "--request-id"}):
        # Without a name it is the same retry each time.
        new_id = there.post(path_of("reservations", old_id, "retry"), key=request_id or f"retry-{old_id}")["id"]
    sent = f"retry of {old_id} sent"
    if not following:
        report(sent, new_id, {"reservation_id": new_id, "retried_from": old_id, "sent": True} if as_json else None)
        return
    err().print(sent)
    Reservation(there, new_id, old_id, "retry", known).follow(Output(following, timeout, as_json))


@like(sharing.add_user)
def add_user(  # noqa: PLR0913  # one parameter an option
    given: str, name: str, *, user: str | None, following: bool, timeout: float | None, as_json: bool
) -> None:
    there = api()
    row_id = live(there, given, user)["reservation_id"]
    with named_as_options({"github_username": "NAME"}):
        ask(there, "add_user", row_id, _added, Output(following, timeout, as_json), {"github_username": name})


def _added(row: Row, told: str) -> Look:
    return Look(row, told, result=told, more={"warning": row["warning"]})


PLACES = {"add_user": ("POST", "users"), "enable_jupyter": ("PUT", "jupyter"), "disable_jupyter": ("DELETE", "jupyter")}


def ask(  # noqa: PLR0913  # what a request is
    there: Api, action: str, row_id: str, result: Result, output: Output, body: dict[str, Any] | None = None
) -> None:
    """Send a request about a reservation; with `output.wait`, follow it."""
    before = timeline(there, row_id) if output.wait else {}
    method, place = PLACES[action]
    where = path_of("reservations", row_id, place)
    if method == "POST":
        there.post(where, body)
    elif method == "PUT":
        there.put(where)
    else:
        there.delete(where)
    done(Asked(there, row_id, action, result, before), f"{action} sent", output)
