"""`pgfleet submit assignment`: ask for a user's seat on a Hopsworks cluster, as the sign-up service would."""

from typing import Annotated, Any

import typer

from pgfleet.producers.assignment import assign
from pgfleet.producers.submit.commands import AsJson, Timeout
from pgfleet.producers.submit.database import chosen_dsn, connected
from pgfleet.producers.submit.following import (
    UNTAKEN,
    Followed,
    Look,
    Output,
    dead_letters,
    rejected,
    rejection,
    report,
    wait,
    with_pause,
)
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.terminal import err
from pgfleet.schema.assignment import FINAL, LIVE, Held, Status
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import assignment as reads
from pgfleet.schema.reads import hopsworks as clusters
from pgfleet.schema.reads.assignment import USER
from pgfleet.schema.rows.row import Row

# The fields of a message, as they are called at the prompt.
OPTIONS = {"user_id": "--user", "cluster_id": "--cluster", "assigned_by": "--by"}
EXAMPLE = "Example: pgfleet submit assignment --user ada@example.org --wait"
SHOWN = ("status", "status_reason", "detail", "cluster_id", "cluster_name", "hopsworks_username", "assigned_by")


def submit(  # noqa: PLR0913  # one parameter an option
    ctx: typer.Context,
    *,
    user: Annotated[str, typer.Option(metavar="ID|EMAIL", help="Whose: the Auth0 id, or the e-mail.")],
    cluster: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Where; unless given, the least loaded one.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="On whose behalf: system, admin or team_member_auto; found out unless given.")
    ] = None,
    following: Annotated[bool, typer.Option("--wait", help="Follow it until it is active.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Give a user a seat on a Hopsworks cluster, and an account there."""
    with named_as_options(OPTIONS), connected(chosen_dsn(ctx.obj)) as conn:
        user_id, row = _user(conn, user.strip())
        where = clusters.resolve(conn, cluster) if cluster is not None else None
        known_letters = dead_letters(conn, USER, user_id)
        known = _known(conn, row, where) if row else None
        if known is None:
            _send(conn, user_id, where, by)
        sent = known or f"sent for {printable(user_id)}"

        def shown(last: Look) -> dict[str, Any]:
            columns = {name: last.row[name] if last.row else None for name in SHOWN}
            return {"user_id": user_id, "sent": known is None, **columns, "rejected": last.rejected}

        if following:
            err().print(sent)
            followed = Followed(conn, "assignment", lambda: look(conn, user_id, known_letters), shown, _again(user_id))
            wait(followed, Output(following, timeout, as_json))
        else:
            row = reads.user(conn, user_id)
            sent = with_pause(conn, "assignment", sent)
            report(sent, printable(user_id), shown(Look(row, "")) if as_json else None)


def _user(conn: Connection, given: str) -> tuple[str, dict[str, Any] | None]:
    """The id to send, and who it is, unless it is an Auth0 id whose user may be on its way.

    Raises:
        Refusal: nobody, or several, have this e-mail or an id that begins so.
    """
    if "|" not in given:
        row = reads.resolve_user(conn, given)
        return row["user_id"], row
    # It is a whole id. One that is only the beginning of another user's id is a new user's.
    found = reads.find_user(conn, given)
    if found is None:
        err().print(f"{printable(given)} is not in hopsworks.users yet")
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
    waiting = sorted(about.messages(conn, USER, user_id), key=lambda message: message["msg_id"])
    bodies = [message["message"] for message in waiting if about.action_of(message) in ("assign", "release")]
    return bodies[-1] if bodies else {}


def _refuse_elsewhere(row: dict[str, Any], where: dict[str, Any] | None) -> None:
    if where is not None and where["id"] != row["cluster_id"]:
        who = typed(row["email"], row["user_id"])
        raise Refusal(
            f"{printable(row['user_id'])} is on {printable(row['cluster_name'])}, not on {printable(where['name'])}. "
            f"First: pgfleet users release {who} --reason TEXT"
        )


def _send(conn: Connection, user_id: str, where: dict[str, Any] | None, by: str | None) -> None:
    given: dict[str, Any] = {"cluster_id": where["id"] if where else None, "assigned_by": by}
    assign(user_id, conn, **{name: value for name, value in given.items() if value is not None})


def _again(user_id: str) -> str:
    return f"pgfleet users show {typed(user_id, user_id)}"


def look(conn: Connection, user_id: str, known_letters: frozenset[int] = frozenset()) -> Look:
    """How the assignment of a user is. Dead letters that were known before it was sent say nothing of it.

    The queue is read first: a message that has left it is in the row by then.
    """
    asked = [message for message in about.messages(conn, USER, user_id) if about.action_of(message) == "assign"]
    row = reads.user(conn, user_id)
    see = _again(user_id) if row else "pgfleet dead --kind assignment"
    reason = rejection(conn, USER, user_id, ["assign"], known_letters)
    if reason is not None:
        return rejected(reason, row, see)
    if row is None and any(message["read_ct"] for message in asked):
        return Look(row, "sent: a worker waits for the sign-up service to write the user", explained=False)
    if row is None or row["status"] is None or (asked and row["status"] in FINAL):
        return Look(row, UNTAKEN, explained=False)
    return _look_at(row, see)


def _look_at(row: Row, see: str) -> Look:
    over = row["status"] in FINAL
    shown = printable(row["status_reason"] if over else row["detail"] or row["status_reason"])
    return Look(
        row,
        f"{row['status']}: {shown}",
        result=printable(row["hopsworks_username"]) if row["status"] == Status.ACTIVE else None,
        failed=over,
        explained=shown.partition(":")[0] in set(Held),
        see=see,
    )
