"""Ten thousand disks with fifty thousand snapshots: what sweeps cost, and that they act on what disagrees, alone."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID, uuid5

import psycopg
import pytest

from pgfleet.console import sandbox
from pgfleet.console.sandbox import Aws
from pgfleet.schema.disk import read as read_disk
from pgfleet.schema.reservation import read as read_reservation
from pgfleet.schema.rows.named import Statements
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.aws.ec2 import ATTACHMENT, DISK, SNAPSHOT
from pgfleet.workers.disk import view as disk_view
from pgfleet.workers.reservation import view as reservation_view
from worlds.database import fresh_database
from worlds.disks import QUEUE, QUICK, TYPE, assert_sound
from worlds.fleet import Connection, move_clock, new_id, send, settings_for, until, worker_process

DISKS, ATTACHED, EACH = 10_000, 2_000, 5
BATCH = 10_000
MOST_SWEEP_S, MOST_MIB, MOST_LOAD_MS = 60, 150, 15
IDS = UUID("5ca1ab1e-0000-4000-8000-000000000000")

# As workers would have left them, without the triggers, of which each row costs a millisecond: what those keep true is
# written here, and looked at by `assert_sound`.
MADE = """
create temporary table made (snapshot_id uuid, disk_id uuid, ebs_snapshot_id text, age interval);
create temporary table had (disk_id uuid primary key, ebs_volume_id text);
"""
FILL = """
begin;
set local session_replication_role = replica;
insert into public.disks (disk_id, disk_name, user_id, size_gb, status, status_since, ticket, snapshot_count,
  last_snapshot_at, attachment, ebs_volume_id, ebs_availability_zone)
select d.disk_id, 'disk-' || d.number, 'user-' || mod(d.number, 1000), 10,
  case when h.ebs_volume_id is null then 'available' else 'attached' end, now() - interval '9 days', 20, s.number,
  s.newest, 5, h.ebs_volume_id, case when h.ebs_volume_id is not null then 'us-east-2a' end
from (
  select disk_id, count(*) as number, now() - min(age) as newest from made group by disk_id) s
join (select disk_id, row_number() over (order by disk_id) as number from made group by disk_id) d using (disk_id)
left join had h using (disk_id);
insert into public.disk_snapshots (snapshot_id, disk_id, kind, size_gb, status, status_since, ticket, ebs_snapshot_id,
  progress_percent, created_at, completed_at)
select snapshot_id, disk_id, 'shutdown', 10, 'completed', now() - age, 3, ebs_snapshot_id, 100, now() - age, now() - age
from made;
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor)
select 'disk_snapshot', snapshot_id::text, p.from_status, p.to_status, 'once', 'a worker'
from (values (1, '(new)', 'pending'), (2, 'pending', 'creating'), (3, 'creating', 'completed'))
  p (n, from_status, to_status), made
order by snapshot_id, p.n;
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor)
select 'disk', d.disk_id::text, p.from_status, p.to_status, 'once', 'a worker'
from (values (1, '(new)', 'creating'), (2, 'creating', 'available'), (3, 'available', 'attached'))
  p (n, from_status, to_status), public.disks d
where p.to_status <> 'attached' or d.status = 'attached'
order by d.disk_id, p.n;
commit;
analyze;
"""
WAITING = """
insert into public.reservations (reservation_id, user_id, disk_name, gpu_type, status, gpu_count, duration_hours,
  created_at, line_number, waiting_since)
select r.id, d.user_id, d.disk_name, 'cpu-x86', 'pending', 0, 1, now(), r.number, now()
from unnest(%(rows)s::text[]) with ordinality r (id, number)
join (select user_id, disk_name, row_number() over (order by disk_id) as number from public.disks) d using (number)
"""
DOUBTED = """
select snapshot_id::text from public.disk_snapshots where missing_since is not null
union all select disk_id::text from public.disks where volume_missing_since is not null
"""
QUARANTINE = "select resource_id from public.disk_quarantine where gone_at is null"
NEWEST = """
select *, row_number() over (partition by disk_id order by completed_at desc) as place
from public.disk_snapshots where status = 'completed'
"""
LISTENS = "select 1 from pg_stat_activity where datname = current_database() and query ilike 'listen%'"


@dataclass(frozen=True)
class Full:
    """Rows and AWS agree, and nothing is younger than the grace."""

    conn: Connection
    aws: Aws
    settings: Settings
    worker: int
    disks: list[str]

    def sweep(self, action: str) -> tuple[float, float]:
        """One sweep and all that follows from it: the seconds of itself, and the MiB that the worker has grown."""
        before = _mib(self.worker, "VmRSS")
        # Its highest is from now on counted anew.
        Path(f"/proc/{self.worker}/clear_refs").write_text("5", encoding="ascii")
        started = time.monotonic()
        msg_id = send(self.conn, QUEUE, {"action": action})
        until(lambda: not self._waits(msg_id), within_s=90, what=f"the end of {action}")
        took_s = time.monotonic() - started
        grown = _mib(self.worker, "VmHWM") - before
        print(f"\n{action}: {took_s:.1f} s, {grown:.0f} MiB on top of {before:.0f}")  # noqa: T201  # figures
        self.settle()
        return took_s, grown

    def settle(self) -> None:
        # What is in hand comes back when its lease ends.
        due = "select count(*) from pgmq.q_disk_operations where vt <= public.fleet_now() + interval '90 seconds'"
        until(lambda: self.conn.execute(due).fetchone() == (0,), within_s=60, what="an empty queue")

    def _waits(self, msg_id: int) -> bool:
        query = "select 1 from pgmq.q_disk_operations where msg_id = %s"
        return self.conn.execute(query, (msg_id,)).fetchone() is not None

    def snapshots(self) -> dict[str, str]:
        """What AWS has of each completed one, by its row's id."""
        query = "select snapshot_id::text, ebs_snapshot_id from public.disk_snapshots where status = 'completed'"
        return dict(self.conn.execute(query).fetchall())

    def volumes(self) -> dict[str, str]:
        query = "select disk_id::text, ebs_volume_id from public.disks where ebs_volume_id is not null"
        return dict(self.conn.execute(query).fetchall())

    def volumes_at_aws(self) -> list[str]:
        return list(self.aws.state()["volumes"])

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


def _mib(process: int, line: str) -> float:
    told = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(each.split()[1]) for each in told if each.startswith(line)) / 1024


def _id(*of: object) -> str:
    return str(uuid5(IDS, repr(of)))


@pytest.fixture(scope="module")
def full(server_dsn: str, template: str) -> Iterator[Full]:
    with ExitStack() as stack:
        dsn = stack.enter_context(fresh_database(server_dsn, template))
        box = stack.enter_context(sandbox.spawned(aws=True))
        conn = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        disks = fill(conn, box.aws)
        stack.enter_context(mock.patch.dict("os.environ", box.aws_environment))
        started = stack.enter_context(
            worker_process(dsn, box, "pgfleet.workers.disk", **QUICK, lease_s=60, backoff_s=0.5)
        )
        until(lambda: conn.execute(LISTENS).fetchone(), within_s=30, what="a worker that listens")
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text(encoding="ascii").split()
        worker = max(map(int, children), key=lambda pid: _mib(pid, "VmRSS"))
        full = Full(conn, box.aws, settings_for(dsn, box, **QUICK), worker, disks)
        # It takes messages when it has tried, without a trace, whether AWS lets it in.
        send(conn, QUEUE, {"action": "sweep"})
        full.settle()
        yield full


def fill(conn: Connection, aws: Aws) -> list[str]:
    conn.execute("update public.periodic set next_at = 'infinity'")
    disks = [_id("disk", number) for number in range(DISKS)]
    snapshots = [(_id("snapshot", disk, age), disk, age) for disk in disks for age in range(1, EACH + 1)]
    old = datetime.now(UTC) - timedelta(days=9)
    made = [
        {"tags": {DISK: disk, SNAPSHOT: snapshot}, "started_at": old, "size_gb": 10} for snapshot, disk, _ in snapshots
    ]
    ids = [one for batch in _batches(made) for one in aws.populate(snapshots=batch)["snapshots"]]
    had = [{"tags": {DISK: disk, ATTACHMENT: "5"}, "created_at": old} for disk in disks[:ATTACHED]]
    volumes = aws.populate(volumes=had)["volumes"]
    conn.execute(MADE)
    with conn.cursor() as cursor:
        with cursor.copy("copy made from stdin") as copy:
            for (snapshot, disk, age), ebs_id in zip(snapshots, ids, strict=True):
                copy.write_row((snapshot, disk, ebs_id, f"{age} days"))
        with cursor.copy("copy had from stdin") as copy:
            for disk, volume in zip(disks, volumes, strict=False):
                copy.write_row((disk, volume))
    conn.execute(FILL)
    assert_sound(conn)
    return disks


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[at : at + BATCH] for at in range(0, len(items), BATCH))


def test_sweeps_over_fifty_thousand_snapshots_cost_little_and_change_nothing_where_all_agree(full: Full) -> None:
    before, changes = full.rows(), full.changes()

    for action in ("reconcile", "sweep", "prune"):
        took_s, grown_mib = full.sweep(action)
        assert took_s < MOST_SWEEP_S, action
        assert grown_mib < MOST_MIB, action

    assert full.rows() == before
    assert full.changes() == changes


def test_twenty_disagreements_are_acted_on_and_nothing_else(full: Full) -> None:
    conn, aws, before = full.conn, full.aws, dict(full.rows())
    dice = random.Random(3)
    kept, volumes = full.snapshots(), full.volumes()
    lost = dict(dice.sample(sorted(kept.items()), 5))
    gone = dict(dice.sample(sorted(volumes.items()), 5))
    for resource in (*lost.values(), *gone.values()):
        aws.forget(resource)
    old = datetime.now(UTC) - timedelta(days=1)
    disk = full.disks[-1]
    # Volumes that no pod has had, of a disk that is there; those of nobody, or of an attachment that never was; and
    # second copies of what there is.
    never = [aws.make_volume(tags={DISK: disk, ATTACHMENT: str(number)}, created_at=old) for number in range(1, 6)]
    nobodys = [aws.make_volume(tags={DISK: new_id()}, created_at=old) for _ in range(2)]
    nobodys += [aws.make_volume(tags={DISK: disk, ATTACHMENT: "6"}, created_at=old)]
    copies = [aws.make_snapshot({DISK: disk, SNAPSHOT: snapshot}, started_at=old) for snapshot in list(kept)[:2]]

    full.sweep("reconcile")

    assert {row[0] for row in conn.execute(DOUBTED)} == set(lost) | set(gone)
    assert set(full.volumes_at_aws()) == set(volumes.values()) - set(gone.values()) | set(nobodys)
    assert {row[0] for row in conn.execute(QUARANTINE)} == {*nobodys, *copies}
    assert not set(never) & set(full.volumes_at_aws())

    # What is missing for long is lost; of an attached disk only the volume is, and its row stays.
    move_clock(conn, 2 * 3600)
    full.sweep("reconcile")
    gone_rows = conn.execute("select snapshot_id::text from public.disk_snapshots where status = 'deleted'").fetchall()
    assert {row[0] for row in gone_rows} == set(lost)
    lost_rows = conn.execute("select disk_id::text from public.disks where volume_lost_at is not null").fetchall()
    assert {row[0] for row in lost_rows} == set(gone)
    assert dict(full.rows())["letters"] == before["letters"]
    assert_sound(conn)


def test_a_listing_that_fails_on_its_thirtieth_page_proves_nothing(full: Full) -> None:
    conn, aws = full.conn, full.aws
    for resource in dict(list(full.snapshots().items())[:3]).values():
        aws.forget(resource)
    aws.make_volume(tags={DISK: full.disks[0]}, created_at=datetime.now(UTC) - timedelta(days=1))
    before, changes = full.rows(), full.changes()
    aws.fault("DescribeSnapshots", times=29, status=None)
    aws.fault("DescribeSnapshots", times=1, status=500)
    # Whoever tries again fails, too.
    aws.fault("DescribeSnapshots", times=1000, status=503)
    send(conn, QUEUE, {"action": "reconcile"})
    until(lambda: aws.state()["faults_left"] <= 999, within_s=60, what="a second attempt")
    # Before it lists well again, which is soon.
    rows_then, changes_then = full.rows(), full.changes()
    aws.clear_faults()

    assert rows_then == before
    assert changes_then == changes
    full.settle()


def test_retention_lets_go_of_what_is_old_and_no_more(full: Full) -> None:
    """Three are kept and all of the last seven days: of these disks two are older."""
    conn = full.conn
    chosen = full.disks[ATTACHED : ATTACHED + 20]
    conn.execute("set session_replication_role = replica")
    older = "update public.disk_snapshots set completed_at = completed_at - interval '6 days'"
    conn.execute(f"{older} where disk_id::text = any(%s)", (chosen,))
    conn.execute("set session_replication_role = default")
    oldest = f"select ebs_snapshot_id from ({NEWEST}) s where place > 3 and disk_id::text = any(%s)"
    going = {row[0] for row in conn.execute(oldest, (chosen,))}
    there = set(full.aws.state()["snapshots"])

    full.sweep("prune")

    assert len(going) == 40
    assert there - set(full.aws.state()["snapshots"]) == going
    assert_sound(conn)


@pytest.mark.parametrize(
    "body",
    [
        {"action": "advance_disk", "disk_id": _id("disk", 0), "ticket": 1},
        {"action": "advance_snapshot", "snapshot_id": _id("snapshot", _id("disk", 0), 1), "ticket": 1},
        {"action": "create_disk", "operation_id": new_id(), "user_id": "user-1", "disk_name": "new", "size_gb": 10},
    ],
    ids=lambda body: str(body["action"]),
)
def test_a_claim_of_the_disk_queue_reads_no_whole_table(full: Full, body: dict[str, Any]) -> None:
    message = read_disk(body)
    load_ms = quickest_ms(lambda: disk_view.load(full.conn, [message], full.settings))
    print(f"\n{body['action']}: loaded in {load_ms:.1f} ms")  # noqa: T201  # figures
    plans = explained(full.conn, disk_view.SQL, "disks snapshots holders live_operations copying", asked_by(message))

    assert [line for line in plans if "Seq Scan on disks" in line or "Seq Scan on disk_snapshots" in line] == []
    assert load_ms < MOST_LOAD_MS


def test_a_claim_of_the_reservation_queue_reads_no_whole_table(full: Full) -> None:
    conn = full.conn
    conn.execute(WAITING, {"rows": [new_id() for _ in range(50)]})
    creates = {"user_id": "user-1", "gpu_type": TYPE, "gpu_count": 0, "duration_hours": 1, "disk_name": "disk-1"}
    bodies: list[dict[str, Any]] = [
        {"action": "create_reservation", "reservation_id": new_id(), **creates},
        {"action": "admit", "gpu_type": TYPE},
    ]
    for body in bodies:
        message = read_reservation(body)
        load_ms = quickest_ms(lambda: reservation_view.load(conn, [message], full.settings))  # noqa: B023  # called now
        print(f"\n{body['action']}: loaded in {load_ms:.1f} ms")  # noqa: T201  # figures
        assert load_ms < MOST_LOAD_MS
    place = {"gpu_type": TYPE, "most": 33, "users": ["user-1"], "names": ["disk-1"], "keys": [new_id()]}
    plans = explained(conn, reservation_view.SQL, "disks disks_of_line line kept", place)

    assert [line for line in plans if "Seq Scan on disks" in line or "Seq Scan on disk_snapshots" in line] == []
    conn.execute("delete from public.reservations")


def quickest_ms(load: Callable[[], Any]) -> float:
    """Of some, so that what else the machine does is left out."""
    took = []
    for _ in range(30):
        started = time.perf_counter()
        load()
        took.append(time.perf_counter() - started)
    return min(took) * 1000


def asked_by(message: Any) -> dict[str, Any]:
    asked: dict[str, list[Any]] = {name: [] for name in ("operations", "disks", "snapshots", "users", "names")}
    for name, plural in (("disk_id", "disks"), ("snapshot_id", "snapshots"), ("operation_id", "operations")):
        asked[plural] += [getattr(message, name)] if hasattr(message, name) else []
    if hasattr(message, "user_id"):
        asked |= {"users": [message.user_id], "names": [message.disk_name]}
    return asked


def explained(conn: Connection, of: Statements, names: str, asked: dict[str, Any]) -> list[str]:
    queries = [of[name] for name in names.split()]
    return [line for query in queries for (line,) in conn.execute(b"explain analyze " + query, asked)]
