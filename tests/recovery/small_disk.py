"""A disk of its own that is small, and is filled: a file system in memory, which root may mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEBIBYTES = 600
CHUNK = b"\0" * (1 << 20)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m,mode=0711", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    """Not a byte is left."""
    file = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (1 << 20, 1 << 12, 1):
            while _writes(file, CHUNK[:size]):
                pass
    finally:
        os.close(file)


def empty(disk: Path) -> None:
    (disk / "ballast").unlink()


def _writes(file: int, chunk: bytes) -> bool:
    try:
        return os.write(file, chunk) > 0
    except OSError:
        return False
