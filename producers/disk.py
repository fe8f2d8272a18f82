"""Messages about disks: one function a request. Each checks the shape, sends, and returns the id of the operation.

With a connection they join the caller's transaction, so that a message is sent if and only if the caller
commits; without one they use DATABASE_URL and commit by themselves. Without an `operation_id` a new one is made;
the same one twice is one operation. All of them raise BadMessage where a field can't be used; then nothing was sent.
"""

import uuid
from typing import Any, TypedDict, Unpack

from pgfleet.producers.sending import send
from pgfleet.schema.disk import (
    QUEUE,
    ClearDiskLock,
    CloneDisk,
    CreateDisk,
    DeleteDisk,
    Operation,
    RestoreDisk,
    SnapshotDisk,
    SnapshotKind,
    UndeleteDisk,
)
from pgfleet.schema.queue.kernel import Connection


class Id(TypedDict, total=False):
    operation_id: str


class IdAndKind(Id, total=False):
    kind: SnapshotKind


def create_disk(user_id: str, disk_name: str, size_gb: int, conn: Connection | None = None, **given: Unpack[Id]) -> str:
    """Make a new, empty disk."""
    return _ask(CreateDisk, conn, user_id=user_id, disk_name=disk_name, size_gb=size_gb, **given)


def snapshot_disk(user_id: str, disk_name: str, conn: Connection | None = None, **given: Unpack[IdAndKind]) -> str:
    """Keep a copy of a disk as it is now; `kind` says what for."""
    return _ask(SnapshotDisk, conn, user_id=user_id, disk_name=disk_name, **given)


def delete_disk(user_id: str, disk_name: str, conn: Connection | None = None, **given: Unpack[Id]) -> str:
    """Delete a disk; for 30 days it can be brought back."""
    return _ask(DeleteDisk, conn, user_id=user_id, disk_name=disk_name, **given)


def undelete_disk(user_id: str, disk_name: str, conn: Connection | None = None, **given: Unpack[Id]) -> str:
    """Bring a deleted disk back."""
    return _ask(UndeleteDisk, conn, user_id=user_id, disk_name=disk_name, **given)


def clone_disk(
    user_id: str, source_disk: str, target_disk: str, conn: Connection | None = None, **given: Unpack[Id]
) -> str:
    """Make a new disk with what another one holds."""
    return _ask(CloneDisk, conn, user_id=user_id, source_disk=source_disk, target_disk=target_disk, **given)


def restore_disk(
    user_id: str, disk_name: str, snapshot_id: str, conn: Connection | None = None, **given: Unpack[Id]
) -> str:
    """Let the next reservation find what an older snapshot holds."""
    return _ask(RestoreDisk, conn, user_id=user_id, disk_name=disk_name, snapshot_id=snapshot_id, **given)


def clear_disk_lock(user_id: str, disk_name: str, conn: Connection | None = None, **given: Unpack[Id]) -> str:
    """Release a disk whose reservation has gone without doing so."""
    return _ask(ClearDiskLock, conn, user_id=user_id, disk_name=disk_name, **given)


def _ask(message_type: type[Operation], conn: Connection | None, **fields: Any) -> str:
    fields.setdefault("operation_id", str(uuid.uuid4()))
    return send(QUEUE, message_type, fields, conn).operation_id
