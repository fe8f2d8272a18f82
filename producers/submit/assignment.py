"""`pgfleet submit assignment`: ask for a user's seat on a Hopsworks cluster, as the sign-up service would."""

from typing import Annotated, Any

import typer

from pgfleet.producers.assignment import assign
from pgfleet.producers.submit.database import chosen_dsn, connected
from pgfleet.producers.submit.follow.assignment import Target, follow
from pgfleet.producers.submit.terminal import err, out, print_json, telling
from pgfleet.schema.assignment import LIVE, QUEUE, Status
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import assignment as reads
from pgfleet.schema.reads import hopsworks as clusters

ASSIGNMENT_EXAMPLE = "Example: pgfleet submit assignment --user ada@example.org --wait"
SHOWN = ("status", "status_reason", "detail", "cluster_id", "cluster_name", "hopsworks_username", "assigned_by")


def submit_assignment(  # noqa: PLR0913  # one parameter an option
    ctx: typer.Context,
    *,
    user: Annotated[str, typer.Option(metavar="ID|EMAIL", help="Whose: the Auth0 id, or the e-mail.")],
    cluster: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Where; unless given, the least loaded one.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="On whose behalf: system, admin or team_member_auto; found out unless given.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it is active.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Stop waiting after so many seconds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Give a user a seat on a Hopsworks cluster, and an account there."""
    with connected(chosen_dsn(ctx.obj)) as conn:
        user_id, row = _user(conn, user.strip())
        where = clusters.resolve(conn, cluster) if cluster is not None else None
        target = Target(user_id, frozenset(letter["dead_letter_id"] for letter in reads.letters(conn, user_id)))
        known = _known(conn, row, where) if row else None
        if known is None:
            _send(conn, user_id, where, by)
        err().print(known or f"sent for {printable(user_id)}", markup=False, emoji=False)
        if wait:
            _wait(conn, target, timeout, sent=known is None, as_json=as_json)
        else:
            _tell(user_id, reads.user(conn, user_id), sent=known is None, as_json=as_json)


def _user(conn: Connection, given: str) -> tuple[str, dict[str, Any] | None]:
    """The id to send, and who it is, unless it is an Auth0 id whose user may be on its way.

    Raises:
        Refusal: nobody, or several, have this e-mail or an id that begins so.
    """
    if "|" not in given:
        row = reads.resolve_user(conn, given)
        return row["user_id"], row
    # A whole id. What only begins like somebody else's is a new user's.
    found = reads.find_user(conn, given)
    if found is None:
        err().print(f"{printable(given)} is not in hopsworks.users yet", markup=False, emoji=False)
    return (found["user_id"] if found else given), found


def _known(conn: Connection, row: dict[str, Any], where: dict[str, Any] | None) -> str | None:
    """Why nothing needs to be sent: sent twice it is one assignment. None if it has to be.

    Raises:
        Refusal: the user is on another cluster than the one that is named.
    """
    name, wanted = printable(row["user_id"]), where["id"] if where else None
    last = _last_request(conn, row["user_id"])
    if last.get("action") == "release":
        return None
    if row["cluster_id"] is not None and row["status"] in {Status.ACTIVE, Status.CREATING_USER}:
        _refuse_elsewhere(row, where)
        on = printable(row["cluster_name"])
        return f"{name} is active already on {on}" if row["status"] == Status.ACTIVE else f"{name} has a seat on {on}"
    if last and last.get("cluster_id") == wanted:
        return f"{name} is in the queue already: it is one assignment"
    waits = row["status"] in LIVE and not last
    if waits and (row["account_owner_id"] is not None or row["wanted_cluster_id"] == wanted):
        return f"{name} is {row['status']} already: it is one assignment"
    return None


def _last_request(conn: Connection, user_id: str) -> dict[str, Any]:
    """The assign or release of a user that was sent last and not answered yet; empty if there is none."""
    waiting = sorted(reads.messages(conn, user_id), key=lambda message: message["msg_id"])
    bodies = [message["message"] for message in waiting if reads.action_of(message) in ("assign", "release")]
    return bodies[-1] if bodies else {}


def _refuse_elsewhere(row: dict[str, Any], where: dict[str, Any] | None) -> None:
    if where is not None and where["id"] != row["cluster_id"]:
        who = typed(row["email"], row["user_id"])
        raise Refusal(
            f"{printable(row['user_id'])} is on {printable(row['cluster_name'])}, not on {printable(where['name'])}. "
            f"First: pgfleet users release {who} --reason TEXT"
        )


def _send(conn: Connection, user_id: str, where: dict[str, Any] | None, by: str | None) -> None:
    given = {"cluster_id": where["id"] if where else None, "assigned_by": by}
    assign(user_id, conn, **{name: value for name, value in given.items() if value is not None})


def _wait(conn: Connection, target: Target, timeout_s: float | None, *, sent: bool, as_json: bool) -> None:
    """Follow it; prints the username once it is active.

    Raises:
        Refusal: it ended otherwise, or the time is up; with the reason.
    """
    with telling() as tell:
        last = follow(conn, target, timeout_s, tell)
    if as_json:
        _tell(target.user_id, last.row, sent=sent, as_json=True, rejected=last.rejected)
    see = f"pgfleet users show {typed(target.user_id, target.user_id)}"
    if last.refused:
        raise Refusal(f"{last.text}\nMore of it: {see if last.row else f'pgfleet dead list --queue {QUEUE}'}")
    if not last.settled:
        raise Refusal(f"still {last.text}\nIt goes on: {see}")
    if last.row is not None and not as_json:
        out().print(printable(last.row["hopsworks_username"]), markup=False, emoji=False)


def _tell(user_id: str, row: dict[str, Any] | None, *, sent: bool, as_json: bool, rejected: str | None = None) -> None:
    if as_json:
        shown = {name: (row or {}).get(name) for name in SHOWN}
        print_json({"user_id": user_id, "sent": sent, **shown, "rejected": rejected})
    else:
        out().print(printable(user_id), markup=False, emoji=False)
