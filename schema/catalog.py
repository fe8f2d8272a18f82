"""What a database must hold for the program to work on it: SQL files, functions and queues."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

FUNCTIONS = (
    "pgmq.create",
    "pgmq.send",
    "public.count_gpus",
    "public.create_queue",
    "public.fleet_now",
    "public.guard_gpus",
    "public.guard_machine",
    "public.log_moves",
    "public.move_actor",
    "public.move_reason",
    "public.note_reservation_move",
    "public.refuse_move",
    "public.ring",
    "public.ring_on_send",
    "public.touch_last_updated",
    "public.touch_updated_at",
)

QUEUES = ("gpu_reservations", "disk_operations", "cluster_assignments", "node_heartbeats")

# In the order in which they are applied.
_FOLDERS = ("schema", "fixtures")


@dataclass(frozen=True)
class SqlFile:
    """One numbered file; `version` is its folder and name: `schema/001_users_and_keys`."""

    version: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def is_fixture(self) -> bool:
        return self.version.startswith("fixtures/")


def is_ours(version: str) -> bool:
    """Whether a recorded migration is one of this program's; its table may be shared with others."""
    return version.startswith(tuple(f"{folder}/" for folder in _FOLDERS))


def sql_files() -> list[SqlFile]:
    """Every SQL file of the program, schema first, in the order of their names."""
    return [file for folder in _FOLDERS for file in sorted(_read(folder), key=lambda file: file.version)]


def _read(folder: str) -> Iterator[SqlFile]:
    for path in files(folder).iterdir():
        if path.name.endswith(".sql"):
            # The same file checked out on Windows is the same file.
            text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
            yield SqlFile(f"{folder}/{path.name.removesuffix('.sql')}", text)
