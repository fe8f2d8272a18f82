"""`pgfleet jupyter`, `ssh` and `logs` through the API."""

import time

from pgfleet.console.commands.access import jupyter as local
from pgfleet.console.commands.access import logs as local_logs
from pgfleet.console.commands.access import ssh as local_ssh
from pgfleet.console.remote.client import Api, api, path_of
from pgfleet.console.remote.commands.requests import ask, live, owned
from pgfleet.console.remote.following import one
from pgfleet.console.remote.swapping import like, swapped
from pgfleet.producers.submit.following import Look, Output
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import harmless, printable
from pgfleet.schema.reservation import FINAL, WAITING, Status
from pgfleet.schema.rows.row import Row

LOOK_S = 0.5
NO_TOKEN = "Its token is shown to who is at the database alone: `pgfleet jupyter show` there."  # noqa: S105  # none


def on(given: str, *, user: str | None, following: bool, timeout: float | None, as_json: bool) -> None:
    _switch("enable_jupyter", given, user, Output(following, timeout, as_json))


def off(given: str, *, user: str | None, following: bool, timeout: float | None, as_json: bool) -> None:
    _switch("disable_jupyter", given, user, Output(following, timeout, as_json))


def show(given: str, *, user: str | None, as_json: bool) -> None:
    there = api()
    row = _with_jupyter(there, owned(there, given, user))
    address = row["jupyter_url"] if row["status"] == Status.ACTIVE else None
    if as_json:
        print_json({"reservation_id": row["reservation_id"], "address": address, "error": row["jupyter_error"]})
    elif address is not None:
        out().print(address, soft_wrap=True, markup=False)
        err().print(NO_TOKEN)
    else:
        raise Refusal(local.why_not(row))


JUPYTER = swapped("jupyter", local.app, {"on": on, "off": off, "show": show})


def _with_jupyter(there: Api, row: Row) -> Row:
    """The row that has it: of a gang its first node's, whichever is named."""
    return one(there, row["master_reservation_id"]) if row["node_index"] else row


def _switch(action: str, given: str, user: str | None, output: Output) -> None:
    there = api()
    row = _with_jupyter(there, live(there, given, user))
    ask(there, action, row["reservation_id"], _result, output)


def _result(row: Row, told: str) -> Look | None:
    """On is when it can be reached, or can't be had; off is when it can be no more."""
    if row["jupyter_enabled"] and row["jupyter_error"]:
        return Look(row, f"Jupyter does not run: {printable(row['jupyter_error'])}", failed=True)
    if row["jupyter_enabled"] and row["status"] == Status.ACTIVE:
        address = row["jupyter_url"]
        return None if address is None else Look(row, told, result=address, more={"address": address})
    if row["jupyter_url"] is None:
        return Look(row, told, result=told if row["status"] == Status.ACTIVE else f"{told}, when it is active")
    return None


@like(local_ssh.ssh)
def ssh(given: str, command: list[str] | None, *, config: bool, user: str | None, as_json: bool) -> None:
    row = one(api(), given, user)
    if row["status"] != Status.ACTIVE:
        raise Refusal(f"It is {row['status']}: one gets in while it is active. See: pgfleet watch {row['short_id']}")
    if config or as_json or command:
        raise Refusal("--config, --json and a command need the database; without them, the command for ssh is printed.")
    out().print(printable(row["ssh_command"]), soft_wrap=True, markup=False, highlight=False)


@like(local_logs.logs)
def logs(given: str, *, following: bool, user: str | None, as_json: bool) -> None:
    there = api()
    row = one(there, given, user)
    where = path_of("reservations", row["reservation_id"], "logs")
    seen = there.get(where)
    texts = [seen["text"] or ""]
    if not as_json:
        _print(texts[0])
    while seen.get("cursor") and (following or seen["has_more"] or not any(texts)):
        seen = there.get(where, cursor=seen["cursor"])
        texts.append(seen["text"] or "")
        if not as_json:
            _print(texts[-1])
        if seen["text"] is None:
            time.sleep(LOOK_S)
    if as_json:
        print_json(
            {"reservation_id": row["reservation_id"], "status": row["status"], "pod_logs": "".join(texts) or None}
        )
    elif not any(texts):
        err().print(_why_nothing(row))
    elif following and seen.get("ended"):
        err().print(f"no more: {printable(seen['ended'])}")


def _print(text: str) -> None:
    out().out(harmless(text), end="", highlight=False)


def _why_nothing(row: Row) -> str:
    if row["status"] in FINAL:
        return "nothing is kept: its pod wrote nothing, or nobody could read it any more"
    if row["status"] in WAITING:
        return f"it is {row['status']}: it has no pod yet; what that wrote last is kept when it ends"
    return f"it is {row['status']}: what its pod wrote is told when it ends"
