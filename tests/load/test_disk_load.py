"""Ten thousand disks with fifty thousand snapshots: what sweeps cost, and that they act on what disagrees, alone."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import psutil
import psycopg
import pytest
from disks import QUEUE, QUICK, assert_sound
from fleet import Connection, move_clock, new_id, send, settings_for, until, worker_process

from console import sandbox
from console.sandbox import Aws
from schema.messages import Message
from schema.settings import Settings
from workers import disk_queries, disk_view, reservation_view
from workers.clients.ec2 import DISK, SNAPSHOT, SNAPSHOT_PAGE
from workers.disk import read as read_disk
from workers.reservation import read as read_reservation

DISKS, ATTACHED, EACH = 10_000, 2_000, 5
BATCH = 10_000
MOST_SWEEP_S, MOST_MIB, MOST_LOAD_MS = 20, 150, 10
IDS = UUID("5ca1ab1e-0000-4000-8000-000000000000")

# As a worker would have left them: one statement a move, so that every trigger has its say.
ROWS = """
create temporary table made (snapshot_id uuid primary key, disk_id uuid, ebs_snapshot_id text, age interval);
create temporary table had (disk_id uuid primary key, ebs_volume_id text);
"""
FILL = [
    """insert into public.disks (disk_id, disk_name, user_id, size_gb, created_at, status_since)
       select disk_id, 'disk-' || n, 'user-' || mod(n, 1000), 10, now() - interval '9 days', now() - interval '9 days'
       from unnest(%(disks)s::uuid[]) with ordinality d (disk_id, n)""",
    "update public.disks set status = 'available'",
    """insert into public.disk_snapshots (snapshot_id, disk_id, kind, size_gb, created_at)
       select snapshot_id, disk_id, 'shutdown', 10, now() - age from made""",
    """update public.disk_snapshots s set status = 'creating', ebs_snapshot_id = m.ebs_snapshot_id
       from made m where m.snapshot_id = s.snapshot_id""",
    """update public.disk_snapshots s set status = 'completed', completed_at = now() - m.age
       from made m where m.snapshot_id = s.snapshot_id""",
    """update public.disks d set status = 'attached', ebs_volume_id = h.ebs_volume_id,
         ebs_availability_zone = 'us-east-2a', attachment = 1
       from had h where h.disk_id = d.disk_id""",
    "truncate pgmq.q_gpu_reservations, pgmq.q_disk_operations",
    "analyze",
]


LISTENS = "select 1 from pg_stat_activity where datname = current_database() and query ilike 'listen%'"


@dataclass(frozen=True)
class Full:
    """Rows and AWS agree, and nothing is younger than the grace."""

    conn: Connection
    aws: Aws
    settings: Settings
    worker: psutil.Process
    disks: list[str]

    def sweep(self, action: str) -> tuple[float, float]:
        """One sweep and all that follows from it: the seconds of itself, and the MiB that the worker has grown."""
        before = _mib(self.worker, "VmRSS")
        # Its highest is from now on counted anew.
        with open(f"/proc/{self.worker.pid}/clear_refs", "w", encoding="ascii") as peak:  # noqa: PTH123  # a switch
            peak.write("5")
        started = time.monotonic()
        msg_id = send(self.conn, QUEUE, {"action": action})
        until(lambda: not self._waits(msg_id), within_s=90, what=f"the end of {action}")
        took_s = time.monotonic() - started
        grown = _mib(self.worker, "VmHWM") - before
        print(f"\n{action}: {took_s:.1f} s, {grown:.0f} MiB on top of {before:.0f}")  # noqa: T201  # figures
        self.settle()
        return took_s, grown

    def settle(self) -> None:
        due = "select count(*) from pgmq.q_disk_operations where vt <= public.fleet_now() + interval '5 seconds'"
        until(lambda: self.conn.execute(due).fetchone() == (0,), within_s=30, what="an empty queue")

    def _waits(self, msg_id: int) -> bool:
        query = "select 1 from pgmq.q_disk_operations where msg_id = %s"
        return self.conn.execute(query, (msg_id,)).fetchone() is not None

    def rows(self) -> list[Any]:
        """What must not change while all agree."""
        return self.conn.execute(
            "select 'history', count(*) from public.status_history"
            " union all select 'quarantine', count(*) from public.disk_quarantine"
            " union all select 'letters', count(*) from public.dead_letters"
            " union all select 'doubts', count(*) from public.disk_snapshots where missing_since is not null"
            " union all select 'doubts', count(*) from public.disks where volume_missing_since is not null"
        ).fetchall()

    def changes(self) -> int:
        """How often AWS was asked to change something."""
        asked = self.aws.state()["requests"]
        return sum(number for name, number in asked.items() if not name.startswith("Describe"))


def _mib(process: psutil.Process, line: str) -> float:
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:  # noqa: PTH123  # not a file of ours
        return next(int(told.split()[1]) for told in status if told.startswith(line)) / 1024


def _id(*of: object) -> str:
    return str(uuid5(IDS, repr(of)))


@pytest.fixture(scope="module")
def full(server_dsn: str, template: str) -> Iterator[Full]:
    from conftest import fresh_database  # noqa: PLC0415

    with fresh_database(server_dsn, template) as dsn, sandbox.spawned(aws=True) as box:
        with psycopg.connect(dsn, autocommit=True) as conn:
            disks = fill(conn, box.aws)
            options = {**QUICK, "lease_s": 60}
            with pytest.MonkeyPatch.context() as patch:
                for name, value in box.aws_environment.items():
                    patch.setenv(name, value)
                with worker_process(dsn, box, "workers.disk", **options) as started:
                    until(lambda: conn.execute(LISTENS).fetchone(), within_s=30, what="a worker that listens")
                    worker = max(
                        psutil.Process(started.pid).children(recursive=True), key=lambda child: child.memory_info().rss
                    )
                    yield Full(conn, box.aws, settings_for(dsn, box, **QUICK), worker, disks)


def fill(conn: Connection, aws: Aws) -> list[str]:
    conn.execute("update public.periodic set next_at = 'infinity'")
    disks = [_id("disk", number) for number in range(DISKS)]
    snapshots = [(_id("snapshot", disk, age), disk, age) for disk in disks for age in range(1, EACH + 1)]
    old = datetime.now(UTC) - timedelta(days=9)
    made = [
        {"tags": {DISK: disk, SNAPSHOT: snapshot}, "started_at": old, "size_gb": 10} for snapshot, disk, _ in snapshots
    ]
    ids = [one for batch in _batches(made) for one in aws.populate(snapshots=batch)["snapshots"]]
    had = [{"tags": {DISK: disk, "pgfleet:attachment": "1"}, "created_at": old} for disk in disks[:ATTACHED]]
    volumes = aws.populate(volumes=had)["volumes"]
    conn.execute(ROWS)
    with conn.cursor() as cursor:
        with cursor.copy("copy made from stdin") as copy:
            for (snapshot, disk, age), ebs_id in zip(snapshots, ids, strict=True):
                copy.write_row((snapshot, disk, ebs_id, f"{age} days"))
        with cursor.copy("copy had from stdin") as copy:
            for disk, volume in zip(disks, volumes, strict=False):
                copy.write_row((disk, volume))
    for statement in FILL:
        import sys; print(time.monotonic(), statement[:60], file=sys.stderr)
        conn.execute(statement.encode(), {"disks": disks} if "%(" in statement else None)
    return disks


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[at : at + BATCH] for at in range(0, len(items), BATCH))


def test_sweeps_over_fifty_thousand_snapshots_cost_little_and_change_nothing_where_all_agree(full: Full) -> None:
    before, changes = full.rows(), full.changes()

    for action in ("reconcile", "sweep", "prune", "reconcile"):
        took_s, grown_mib = full.sweep(action)
        assert took_s < MOST_SWEEP_S, action
        assert grown_mib < MOST_MIB, action

    assert full.rows() == before
    assert full.changes() == changes


def test_probe(full: Full) -> None:
    from collections import defaultdict

    conn, s = full.conn, full.settings
    disk = full.disks[0]
    snap = _id("snapshot", disk, 1)
    name, user = conn.execute("select disk_name, user_id from public.disks where disk_id = %s", (disk,)).fetchone()
    bodies = {
        "disk": {"action": "advance_disk", "disk_id": disk, "ticket": 1},
        "snap": {"action": "advance_snapshot", "snapshot_id": snap, "ticket": 1},
        "proceed": {"action": "proceed", "operation_id": new_id()},
        "create": {"action": "create_disk", "operation_id": new_id(), "user_id": user, "disk_name": name, "size_gb": 10},
        "suspect": {"action": "suspect", "resource_id": "vol-0123", "disk_id": disk, "snapshot_id": snap},
        "prune1": {"action": "prune_snapshot", "snapshot_id": snap},
        "prune": {"action": "prune"}, "sweep": {"action": "sweep"}, "reconcile": {"action": "reconcile"},
    }
    for key, body in bodies.items():
        m = [read_disk(body)]
        for _ in range(7):
            t = time.perf_counter(); disk_view.load(conn, m, s); took = time.perf_counter() - t
        print("disk load", key, f"{took*1000:.1f} ms")
    many = [read_disk({"action": "advance_disk", "disk_id": d, "ticket": 1}) for d in full.disks[:16]]
    for _ in range(7):
        t = time.perf_counter(); disk_view.load(conn, many, s); took = time.perf_counter() - t
    print("disk load 16", f"{took*1000:.1f} ms")
    r = [read_reservation({"action": "create_reservation", "reservation_id": new_id(), "user_id": user, "disk_name": name, "gpu_type": "cpu-x86", "gpu_count": 0, "duration_hours": 1})]
    a = [read_reservation({"action": "admit", "gpu_type": "cpu-x86"})]
    tk = [read_reservation({"action": "advance", "reservation_id": new_id(), "ticket": 1})]
    for n in (0, 50):
        for i in range(n):
            conn.execute("insert into public.reservations (reservation_id, user_id, disk_name, gpu_type, gpu_count, duration_hours, line_number, waiting_since) select %s, user_id, disk_name, 'cpu-x86', 0, 1, %s, now() from public.disks where disk_id = %s", (new_id(), i, full.disks[i * 100]))
        for key, m in (("create", r), ("admit", a), ("ticket", tk)):
            for _ in range(7):
                t = time.perf_counter(); reservation_view.load(conn, m, s); took = time.perf_counter() - t
            print("reservation load", n, key, f"{took*1000:.1f} ms")
    out = open("/tmp/w/plans.txt", "w")
    asked = disk_view._asked([read_disk(bodies["disk"]), read_disk(bodies["snap"]), read_disk(bodies["create"])])
    for nm, q in {**disk_view.ROWS, "copying": disk_queries.COPYING}.items():
        out.write(f"== {nm}\n" + "\n".join(x[0] for x in conn.execute(b"explain (analyze, buffers) " + q, asked)) + "\n")
    for nm, q, p in disk_view._sweeps([read_disk(bodies[k]) for k in ("prune", "sweep", "reconcile", "prune1")], asked, s):
        out.write(f"== {nm}\n" + "\n".join(x[0] for x in conn.execute(b"explain (analyze, buffers) " + q, p)) + "\n")
    p = {"users": [user], "names": [name], "keys": ["x"]}
    out.write("== res DISKS\n" + "\n".join(x[0] for x in conn.execute(b"explain (analyze, buffers) " + reservation_view.DISKS, p)) + "\n")
    p = {"gpu_type": "cpu-x86", "most": 33}
    for nm in ("LINE", "BLOCKED", "DISKS_OF_LINE"):
        out.write(f"== res {nm}\n" + "\n".join(x[0] for x in conn.execute(b"explain (analyze, buffers) " + getattr(reservation_view, nm), p)) + "\n")
    out.close()
