"""A server of PostgreSQL of one's own, which may be killed, restarted and replaced by its standby."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.servers import Server, copied, prepared
from worlds.database import temporary_folder


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield prepared(folder)


@pytest.fixture
def server(data: Path, short_dir: Path) -> Iterator[Server]:
    running = copied(data, short_dir / "one")
    try:
        yield running
    finally:
        running.end()
