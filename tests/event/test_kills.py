"""An event worker that is killed around a delivery: at least once, with one id, and the position moves once."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pgfleet.producers import event as producer
from worlds.database import Connection
from worlds.feed.moves import make
from worlds.fleet import REPOSITORY, until, worker_environment, worker_process
from worlds.receiver import Receiver
from worlds.trouble import kill_at

POST = "pgfleet.workers.clients.webhooks.posting:Webhooks.post"
MODULE = "pgfleet.workers.event"


@pytest.mark.parametrize(("when", "times"), [("before", 1), ("after", 2)])
def test_who_is_killed_around_a_delivery_delivers_it_again_with_its_id(
    dsn: str, conn: Connection, receiver: Receiver, tmp_path: Path, when: str, times: int
) -> None:
    """Whoever comes next takes the same batch; a receiver that has it knows it by its id."""
    marker = tmp_path / "killed"
    settings: dict[str, Any] = {"lease_s": 2, "events_may_reach": "127.0.0.1"}
    made = producer.subscribe("ada", receiver.url, conn, machines=["reservation"])
    row_id = make(conn)
    command = [sys.executable, kill_at.__file__, str(marker), POST, when, "1", MODULE, "-p", "1", "-t", "1"]
    environment = {**worker_environment(dsn, None, **settings), "PYTHONPATH": str(REPOSITORY / "tests")}
    process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, start_new_session=True)
    try:
        until(lambda: marker.exists() and process.poll() is not None)
    finally:
        process.kill()
        process.wait()

    with worker_process(dsn, None, MODULE, **settings):
        until(
            lambda: conn.execute(
                "select 1 from public.event_subscriptions where last_delivered_at is not null"
            ).fetchone()
        )

    assert receiver.subjects == [row_id] * times
    assert len({got.id for got in receiver.got}) == 1
    assert all(got.is_signed_with(made.secret) for got in receiver.got)
    assert conn.execute("select count(*) from public.dead_letters").fetchone() == (0,)
