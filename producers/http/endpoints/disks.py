"""`/v1/disks`: looked at, made, and what a user asks of one; an operation is followed by its id."""

import uuid
from typing import Any

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, NotFoundError, Shape, Waiting
from pgfleet.producers.http.paging import Listing, paged
from pgfleet.producers.http.sending import Asks, accepted, for_whom, said
from pgfleet.producers.http.shapes.disks import Disk, DiskWhole, Operation
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.producers.placing.disk import place_disk_operation
from pgfleet.schema import disk as contract
from pgfleet.schema.disk import DiskName, SizeGb, SnapshotKind
from pgfleet.schema.messages import Name, Uuid, checked
from pgfleet.schema.reads import disk as reads
from pgfleet.schema.reads import operation as operations
from pgfleet.schema.reads.pages import disk as pages
from pgfleet.schema.rows.row import Row

PATH = "/v1/disks"
ONE = f"{PATH}/{{name}}"
READ, WRITE = "disks.read", "disks.write"


class Whose(Shape):
    """Whose disk; the principal's, unless an operator names another."""

    user_id: Name | None = None


class WhoseWaiting(Whose, Waiting):
    """The same, of an answer that can be held back."""


class Deleted(Whose):
    """The same, of a deletion; the same `operation_id` twice is one."""

    operation_id: Uuid | None = None


class DiskFilter(Listing):
    """`user_id` of another is an operator's; `name`: a part of one. `gone`: those purged or never made, too."""

    user_id: Name | None = None
    name: Name | None = None
    status: contract.Status | None = None
    gone: bool = False


class OperationFilter(Listing):
    user_id: Name | None = None


class NewDisk(Shape):
    disk_name: DiskName
    size_gb: SizeGb = contract.DEFAULT_SIZE_GB
    user_id: Name | None = None
    operation_id: Uuid | None = None


class Asked(Shape):
    """What every operation may say: its id, and for an operator whose disk it is."""

    user_id: Name | None = None
    operation_id: Uuid | None = None


class NewSnapshot(Asked):
    kind: SnapshotKind = "manual"


class NewClone(Asked):
    target_disk: DiskName


class Restore(Asked):
    snapshot_id: Uuid


def href(disk_name: str, operation_id: str) -> str:
    return f"{PATH}/{disk_name}/operations/{operation_id}"


def _user(call: Call) -> str:
    given = call.asked(Whose).user_id
    return for_whom(call, given)


def found(call: Call) -> Row:
    """The disk of that name.

    Raises:
        NotFoundError: the user has none.
    """
    row = reads.by_name(call.conn, _user(call), call.path["name"])
    if row is None:
        raise NotFoundError(f"there is no disk {call.path['name'][:60]}")
    return row


def get_disk(call: Call) -> Answer:
    row = found(call)
    snapshots = reads.snapshots(call.conn, row["disk_id"])
    asked = operations.of_disk(call.conn, row)
    return Answer({**row, "snapshots": snapshots, "operations": asked})


def list_disks(call: Call) -> Answer:
    asked = call.asked(DiskFilter)
    user = for_whom(call, asked.user_id) if asked.user_id or call.owner else None
    filters = pages.Filters(user, asked.name, asked.status, gone_too=asked.gone)
    return paged(pages.listed(call.conn, filters, asked.wanted))


def list_operations(call: Call) -> Answer:
    """Of the name, whatever disk had it: what was asked before there was one, and after it was purged, is told, too."""
    asked, user = call.asked(OperationFilter), for_whom(call, call.asked(OperationFilter).user_id)
    listed = pages.operations(call.conn, user, asked.wanted, call.path["name"])
    if not listed.rows and reads.by_name(call.conn, user, call.path["name"]) is None:
        raise NotFoundError(f"there is no disk {call.path['name'][:60]}")
    return paged(listed)


def get_operation(call: Call) -> Answer:
    row = _operation(call)
    if row["disk_name"] != call.path["name"]:
        raise NotFoundError(f"there is no operation {call.path['operation_id'][:40]} on this disk")
    return Answer(row, about=row["operation_id"])


def get_disk_operation(call: Call) -> Answer:
    row = _operation(call)
    return Answer(row, about=row["operation_id"])


def _operation(call: Call) -> Row:
    given = call.path["operation_id"]
    whole = reads.whole(given)
    row = None if whole is None else operations.by_id(call.conn, whole)
    if row is None:
        raise NotFoundError(f"there is no operation {given[:40]}")
    call.must_see(row["user_id"], f"operation {given[:40]}")
    return row


def create_disk(call: Call) -> Answer:
    # A default of this model alone: the message has none.
    return _send(call, contract.CreateDisk, {"size_gb": contract.DEFAULT_SIZE_GB, **said(call.body)})


def snapshot_disk(call: Call) -> Answer:
    return _send(call, contract.SnapshotDisk, _named(call))


def delete_disk(call: Call) -> Answer:
    return _send(call, contract.DeleteDisk, {"disk_name": call.path["name"], **call.asked(Deleted).model_dump()})


def undelete_disk(call: Call) -> Answer:
    return _send(call, contract.UndeleteDisk, _named(call))


def clone_disk(call: Call) -> Answer:
    return _send(call, contract.CloneDisk, {**said(call.body), "source_disk": call.path["name"]})


def restore_disk(call: Call) -> Answer:
    return _send(call, contract.RestoreDisk, _named(call))


def clear_disk_lock(call: Call) -> Answer:
    return _send(call, contract.ClearDiskLock, _named(call))


def _named(call: Call) -> dict[str, Any]:
    return {**said(call.body), "disk_name": call.path["name"]}


def _send(call: Call, model: type[contract.Operation], fields: dict[str, Any]) -> Answer:
    fields["user_id"] = for_whom(call, fields.get("user_id"))
    fields["operation_id"] = fields.get("operation_id") or str(uuid.uuid4())
    message = checked(model, fields)
    place_disk_operation(call.conn, message)
    name = fields.get("target_disk") or fields["disk_name"]
    return accepted(message.operation_id, href(name, message.operation_id), name)


_asks = Asks(WRITE, contract.QUEUE, "disk", "SYSTEM", refuses=(422,))
ENDPOINTS = (
    _asks(
        "POST", PATH, "Make a new, empty disk", "CREATED", create_disk, NewDisk, {"disk_name": "data", "size_gb": 100}
    ),
    Endpoint("GET", PATH, "Disks, the newest first", READ, list_disks, Page[Disk], asks=DiskFilter),
    Endpoint(
        "GET",
        ONE,
        "One disk, with its snapshots and what was asked of it",
        READ,
        get_disk,
        DiskWhole,
        asks=Whose,
        refuses=(404,),
    ),
    _asks(
        "DELETE",
        ONE,
        "Delete it; for 30 days it can be brought back",
        "DELETED",
        delete_disk,
        asks=Deleted,
    ),
    _asks(
        "POST",
        f"{ONE}/snapshots",
        "Keep a copy of a disk in use as it is now",
        "SNAPSHOT_ASKED",
        snapshot_disk,
        NewSnapshot,
    ),
    _asks("POST", f"{ONE}/undelete", "Bring a deleted disk back", "UNDELETED", undelete_disk, Asked),
    _asks(
        "POST",
        f"{ONE}/clone",
        "Make a new disk with what this one holds",
        "CLONED",
        clone_disk,
        NewClone,
        {"target_disk": "copy"},
    ),
    _asks(
        "POST",
        f"{ONE}/restore",
        "Let the next reservation find what an older snapshot holds",
        "RESTORED",
        restore_disk,
        Restore,
        {"snapshot_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7"},
    ),
    _asks(
        "POST",
        f"{ONE}/clear-lock",
        "Release a disk whose reservation has gone without doing so",
        "LOCK_CLEARED",
        clear_disk_lock,
        Asked,
    ),
    Endpoint(
        "GET",
        f"{ONE}/operations",
        "What was asked of it, the newest first",
        READ,
        list_operations,
        Page[Operation],
        asks=OperationFilter,
        refuses=(404,),
    ),
    Endpoint(
        "GET",
        f"{ONE}/operations/{{operation_id}}",
        "What became of an operation",
        READ,
        get_operation,
        Operation,
        asks=WhoseWaiting,
        refuses=(404,),
        machine="disk_operation",
    ),
    Endpoint(
        "GET",
        "/v1/disk-operations/{operation_id}",
        "What became of an operation, whichever disk it is about",
        READ,
        get_disk_operation,
        Operation,
        asks=Waiting,
        refuses=(404,),
        machine="disk_operation",
    ),
)
