"""What is measured again and again: processes, sessions, tables and indexes, queues, WAL, and how long is waited."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil  # type: ignore[import-untyped]

from soak.fleet import SQL, Fleet
from soak.pages import Pages
from soak.traffic import Told

MIB = 2**20
# Whose table is small is not told apart from noise by its size.
WRITTEN = 200


@dataclass
class Looks:
    """All that was measured: by name, with the seconds since the beginning."""

    fleet: Fleet
    told: Told
    pages: Pages
    points: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    began: float = field(default_factory=time.monotonic)
    before: dict[str, float] = field(default_factory=dict)
    let_go: dict[str, float] = field(default_factory=dict)
    days_at_first: set[str] = field(default_factory=set)
    days: set[str] = field(default_factory=set)
    waits_ms: list[float] = field(default_factory=list)

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def look(self) -> None:
        at = self.seconds()
        self.pages.forget()
        for name, value in self._measured(at):
            self.points[name].append((at, value))

    def after(self, warm_s: float) -> dict[str, list[tuple[float, float]]]:
        """Without what was measured while all was still filling."""
        return {name: [point for point in points if point[0] >= warm_s] for name, points in self.points.items()}

    def _measured(self, at: float) -> Iterator[tuple[str, float]]:
        yield from self._processes(at)
        yield from self._database(at)
        yield from self._waits()
        yield "load of the machine", os.getloadavg()[0]

    def _processes(self, at: float) -> Iterator[tuple[str, float]]:
        cpu_s = 0.0
        for name, process in self.fleet.processes():
            with suppress(psutil.NoSuchProcess), process.oneshot():
                yield f"memory of {name}", process.memory_info().rss / MIB
                yield f"open files of {name}", float(process.num_fds())
                yield f"threads of {name}", float(process.num_threads())
                cpu_s += sum(process.cpu_times()[:2])
        yield "CPU of workers and API", self._rate("cpu", cpu_s, at) or 0.0
        server_s = 0.0
        for process in self.fleet.server():
            with suppress(psutil.NoSuchProcess):
                # What has ended is counted by its parent.
                server_s += sum(process.cpu_times()[:2])
        yield "CPU of the server's live sessions", max(self._rate("server", server_s, at) or 0.0, 0.0)

    def _database(self, at: float) -> Iterator[tuple[str, float]]:
        for row in self._rows("tables"):
            if row["changed"] < WRITTEN:
                continue
            name = row["name"]
            yield f"rows of {name}", row["live"]
            yield f"dead rows of {name}", row["dead"]
            yield f"bytes of {name}", row["bytes"]
            yield f"bytes of indexes of {name}", row["indexes"]
            yield f"bytes a row of {name}", (row["bytes"] + row["indexes"]) / max(row["live"], 100)
        yield from ((f"bytes of index {row['name']}", row["bytes"]) for row in self._rows("indexes"))
        sessions = {row["name"]: row["number"] for row in self._rows("sessions") if row["name"] != "soak"}
        yield "sessions", sum(sessions.values())
        yield from ((f"open of {name}", number) for name, number in sessions.items())
        for row in self._rows("depths"):
            yield f"due in the queue of {row['name']}", row["ready"]
            yield f"in hand in the queue of {row['name']}", row["in_hand"]
            yield f"seconds that the oldest is due of {row['name']}", row["oldest_s"]
        (server,) = self._rows("server")
        if (wal := self._rate("wal", server["wal"], at)) is not None:
            yield "WAL, bytes a second", wal
        yield "oldest transaction, s", server["oldest_transaction_s"]
        for row in self._rows("kept"):
            yield f"kept of {row['name']}", row["number"]
            if row["oldest_s"] is not None:
                yield f"age of the oldest of {row['name']}, s", float(row["oldest_s"])
        self.let_go = {row["name"]: row["number"] for row in self._rows("let_go")}
        self.told.went_back |= {int(row["history_id"]) for row in self._rows("went_back")}
        self.days = {row["name"] for row in self._rows("days")}
        self.days_at_first = self.days_at_first or self.days

    def _waits(self) -> Iterator[tuple[str, float]]:
        took, asked = self.told.taken_since()
        self.waits_ms += took
        for what, values in (("from sent to taken", took), ("until the API answers", asked)):
            if values:
                values.sort()
                yield f"{what}, p50 ms", values[len(values) // 2]
                yield f"{what}, p99 ms", values[min(int(0.99 * len(values)), len(values) - 1)]

    def _rate(self, name: str, value: float, at: float) -> float | None:
        """A second, since the look before."""
        last_at, last = self.before.get(f"{name} at"), self.before.get(name)
        self.before |= {f"{name} at": at, name: value}
        return None if last is None or last_at is None else (value - last) / (at - last_at)

    def _rows(self, name: str) -> list[dict[str, Any]]:
        cursor = self.fleet.conn.execute(SQL[name])
        assert cursor.description is not None
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
