"""The figures of the whole fleet, among the metrics of one process: whoever has the lease counts for all."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pgfleet.schema.database.pool import Pool
from pgfleet.schema.reads.pictures import figures

if TYPE_CHECKING:
    from pgfleet.schema.rows.row import Row

log: structlog.stdlib.BoundLogger = structlog.get_logger()

EVERY_S = 15.0
# Another process counts when this one has not for so long.
LEASE_S = 50


class Family(NamedTuple):
    """What a figure is as a metric: its help, and what its `about` and `state` are called; empty where it has none."""

    help: str
    about: str = ""
    state: str = ""


# 10,000 is so many or more.
FAMILIES = {
    "queue_messages": Family("Messages in the queue, by state, counted up to 10,000", "queue", "state"),
    "oldest_ready_age_seconds": Family("Age of the oldest message that is due", "queue"),
    "dead_letters": Family("Dead letters that nobody has answered", "queue", "class"),
    "rows": Family("Rows of each machine, by state, counted up to 10,000", "machine", "state"),
    "gpus": Family("GPUs of each type: total, held, free, and waited for", "gpu_type", "state"),
    "oldest_wait_seconds": Family("How long who waits for GPUs longest has waited", "gpu_type"),
    "paused": Family("1 while an operator holds it back: a queue, or all deletions outside", "what"),
    "feed_held_seconds": Family("How long an open transaction has kept events back"),
}


class Fleet(Collector):
    """What was counted last; nothing where another process counts, or the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self._rows: list[Row] = []
        self._ending = threading.Event()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        rows = self._rows
        for figure, (said, *labels) in FAMILIES.items():
            family = GaugeMetricFamily(f"pgfleet_{figure}", said, labels=[label for label in labels if label])
            for row in rows:
                if row["figure"] == figure:
                    values = zip(labels, (row["about"], row["state"]), strict=True)
                    family.add_metric([value for label, value in values if label], row["value"])
            yield family

    def look(self) -> None:
        """Take or keep the lease, and count."""
        try:
            with self._pool.connection() as conn:
                self._rows = figures.now(conn) if figures.take(conn, self._holder, LEASE_S) else []
        except psycopg.Error as error:
            log.warning("fleet.not_counted", error=type(error).__name__)
            self._rows = []

    def run(self) -> None:
        """Until `end`."""
        while True:
            self.look()
            if self._ending.wait(EVERY_S):
                return

    def end(self) -> None:
        self._ending.set()


@contextmanager
def counted(pool: Pool) -> Iterator[Fleet]:
    """Counted by a thread of its own, until the end of the block."""
    fleet = Fleet(pool)
    counting = threading.Thread(target=fleet.run, name="fleet", daemon=True)
    REGISTRY.register(fleet)
    counting.start()
    try:
        yield fleet
    finally:
        fleet.end()
        REGISTRY.unregister(fleet)
