"""The server's queue of notifications is full, which any login can bring about: messages are sent all the same."""

from collections.abc import Iterator

import psycopg
import pytest

from pgfleet.console.local import embedded
from pgfleet.schema.database.migrate import migrate
from worlds.database import Connection, temporary_folder
from worlds.strangers import stranger_dsn

FLOOD = "select pg_notify('nobody', repeat('x', 7900) || n) from generate_series(1, 9) n"


def notify_nobody(conn: Connection) -> None:
    """Far more than the queue holds."""
    for _ in range(1000):
        conn.execute(FLOOD)


@pytest.fixture
def small_queue_dsn() -> Iterator[str]:
    """A server whose queue of notifications is as small as may be."""
    with temporary_folder() as folder:
        with psycopg.connect(embedded.start(folder / "data"), autocommit=True) as admin:
            admin.execute("alter system set max_notify_queue_pages = 64")
        embedded.stop(folder / "data")
        dsn = embedded.start(folder / "data")
        migrate(dsn)
        yield dsn


def test_a_full_queue_of_notifications_keeps_nobody_from_sending(small_queue_dsn: str) -> None:
    with (
        stranger_dsn(small_queue_dsn) as own,
        psycopg.connect(own, autocommit=True) as listener,
        psycopg.connect(own, autocommit=True) as flood,
        psycopg.connect(small_queue_dsn, autocommit=True) as conn,
    ):
        listener.execute("listen nobody")
        listener.execute("begin")
        listener.execute("select 1")
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="too many notifications"):
            notify_nobody(flood)

        sent = conn.execute("""select pgmq.send('gpu_reservations', '{"action": "sweep"}')""").fetchone()

    assert sent == (1,)
