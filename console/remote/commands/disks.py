"""`pgfleet disk` through the API."""

import time
import uuid
from typing import Any

from pgfleet.console.commands.disk import show as local
from pgfleet.console.pictures.disk import disk_picture, list_picture
from pgfleet.console.remote.client import Api, api, path_of
from pgfleet.console.remote.rows import SHORT, only, timed
from pgfleet.console.remote.swapping import swapped
from pgfleet.console.showing import show
from pgfleet.producers.submit.disk import look_at
from pgfleet.producers.submit.following import Followed, Look, Output, report, wait
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.terminal import err
from pgfleet.schema.disk import LIVE_OPERATION
from pgfleet.schema.printable import printable
from pgfleet.schema.reads.disk import whole
from pgfleet.schema.rows.row import Row

LOOK_S = 0.5
MOST_DISKS = 200
OPTIONS = {"size_gb": "--size", "disk_name": "NAME", "target_disk": "TARGET", "user_id": "--user"}
# What the API does not show.
UNKNOWN = {
    "release_asked_at": None,
    "holder_waits_for": None,
    "data_lost": None,
    "reservation_status": "",
    "latest_snapshot_content_s3": None,
    "history": (),
}


def list_disks(*, user: str | None, lost_too: bool, most: int, as_json: bool) -> None:
    there = api()

    def look() -> dict[str, Any]:
        found = there.pages("/v1/disks", most, user_id=user, gone=lost_too or None)
        return {"disks": [_row(row) for row in found], "now": there.now}

    show(look, list_picture, as_json=as_json)


def show_disk(name: str, *, user: str | None, as_json: bool) -> None:
    there = api()
    show(lambda: {**_disk(there, name, user), "now": there.now}, disk_picture, as_json=as_json)


def _disk(there: Api, name: str, user: str | None) -> dict[str, Any]:
    row = _row(there.get(path_of("disks", name), user_id=user))
    row["snapshots"] = [{"content_s3": None, **each} for each in row["snapshots"]]
    row["operations"] = [{"snapshot_status": None, **each} for each in row["operations"]]
    return row


def _row(answer: dict[str, Any]) -> dict[str, Any]:
    row = {**UNKNOWN, **timed(answer)}
    used_by = row["reservation_id"]
    purged = row["delete_date"] if row["status"] == "deleted" else None
    return {**row, "reservation_short_id": used_by and used_by[:SHORT], "purge_date": purged}


def create(  # noqa: PLR0913  # one parameter an option
    name: str, *, size: int, user: str | None, wait: bool, timeout: float | None, as_json: bool
) -> None:
    what = f"create of disk {printable(name)} sent"
    _ask(("disks",), {"disk_name": name, "size_gb": size}, user, what, Output(wait, timeout, as_json))


def snapshot(name: str, *, user: str | None, wait: bool, timeout: float | None, as_json: bool) -> None:
    what = f"snapshot of disk {printable(name)} asked for"
    _ask(("disks", name, "snapshots"), {}, user, what, Output(wait, timeout, as_json))


def undelete(name: str, *, user: str | None, wait: bool, timeout: float | None, as_json: bool) -> None:
    what = f"undelete of disk {printable(name)} sent"
    _ask(("disks", name, "undelete"), {}, user, what, Output(wait, timeout, as_json))


def unlock(name: str, *, user: str | None, wait: bool, timeout: float | None, as_json: bool) -> None:
    what = f"unlock of disk {printable(name)} sent"
    _ask(("disks", name, "clear-lock"), {}, user, what, Output(wait, timeout, as_json))


def clone(  # noqa: PLR0913  # one parameter an option
    source: str, target: str, *, user: str | None, wait: bool, timeout: float | None, as_json: bool
) -> None:
    what = f"clone of disk {printable(source)} to {printable(target)} sent"
    _ask(("disks", source, "clone"), {"target_disk": target}, user, what, Output(wait, timeout, as_json))


def restore(  # noqa: PLR0913  # one parameter an option
    name: str, given: str, *, user: str | None, wait: bool, timeout: float | None, as_json: bool
) -> None:
    known = api().get(path_of("disks", name), user_id=user)["snapshots"]
    chosen = only([each["snapshot_id"] for each in known], given, f"snapshot {printable(given)} of disk {name}")
    what = f"restore of disk {printable(name)} sent"
    _ask(("disks", name, "restore"), {"snapshot_id": chosen}, user, what, Output(wait, timeout, as_json))


def delete(name: str, *, user: str | None, wait: bool, timeout: float | None, as_json: bool) -> None:
    there = api()
    sent = there.delete(path_of("disks", name), user_id=user)
    _finish(there, sent, user, f"delete of disk {printable(name)} sent", Output(wait, timeout, as_json))


def operation(given: str, *, user: str | None, timeout: float | None, as_json: bool) -> None:
    there = api()
    operation_id = whole(given.strip().lower())
    if operation_id is None:
        operation_id = only(_operations(there, user), given, f"operation {printable(given)}")
    where = path_of("disk-operations", operation_id)
    _follow(there, operation_id, where, None, Output(wait=True, timeout_s=timeout, as_json=as_json))


DISKS = swapped(
    "disk",
    local.app,
    {
        "ls": list_disks,
        "show": show_disk,
        "operation": operation,
        "create": create,
        "snapshot": snapshot,
        "delete": delete,
        "undelete": undelete,
        "clone": clone,
        "restore": restore,
        "unlock": unlock,
    },
)


def _operations(there: Api, user: str | None) -> list[str]:
    """The ids of what was asked last of each disk."""
    known: list[str] = []
    for disk in there.pages("/v1/disks", MOST_DISKS, user_id=user or there.username, gone=True):
        name = disk["disk_name"]
        listed = there.get(path_of("disks", name, "operations"), user_id=user)["items"]
        known += [each["operation_id"] for each in listed if each["operation_id"] not in known]
    return known


def _ask(place: tuple[str, ...], body: dict[str, Any], user: str | None, what: str, output: Output) -> None:
    there, operation_id = api(), str(uuid.uuid4())
    with named_as_options(OPTIONS):
        sent = there.post(path_of(*place), {**body, "user_id": user, "operation_id": operation_id}, key=operation_id)
    _finish(there, sent, user, what, output)


def _finish(there: Api, sent: dict[str, Any], user: str | None, what: str, output: Output) -> None:
    """Print the operation's id, or follow it to its end.

    Raises:
        Refusal: it failed, or the time is up.
    """
    operation_id = sent["id"]
    if output.wait:
        err().print(what)
        _follow(there, operation_id, sent["href"], user, output)
    else:
        as_json = {"operation_id": operation_id, "result": what} if output.as_json else None
        report(f"{what}\nFollow it: {_again(operation_id)}", operation_id, as_json)


def _again(operation_id: str) -> str:
    return f"pgfleet disk operation {operation_id}"


def _follow(there: Api, operation_id: str, where: str, user: str | None, output: Output) -> None:
    def look() -> Look:
        row = Row({"snapshot_status": None, **timed(there.get(where, user_id=user))})
        if row["status"] in LIVE_OPERATION:
            time.sleep(LOOK_S)
        return look_at(row)

    def shown(last: Look) -> dict[str, Any]:
        return {**(last.row or {"operation_id": operation_id, "status": None}), "rejected": last.rejected}

    wait(Followed(None, "disk", look, shown, _again(operation_id)), output)
