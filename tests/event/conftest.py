"""A receiver, and an event worker that may reach it."""

from collections.abc import Iterator

import pytest

from pgfleet.workers.event.machine import KIND
from worlds.database import Connection
from worlds.events import Events
from worlds.fleet import settings_for, worker_on
from worlds.receiver import Receiver, receiving


@pytest.fixture
def other() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def events(dsn: str, conn: Connection) -> Iterator[Events]:
    with worker_on(KIND, settings_for(dsn, events_may_reach="127.0.0.0/8,localhost")) as worker:
        yield Events(conn, worker)
