"""What disk tests share: both workers on one database, AWS and Kubernetes over HTTP, and what is sound always."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import psycopg
from psycopg.rows import dict_row

from pgfleet.console import sandbox
from pgfleet.console.sandbox import Aws, Box
from pgfleet.console.sandbox.aws.handle import BUCKET, ZONE
from pgfleet.workers.disk import machine as disk
from pgfleet.workers.reservation import machine as reservation
from worlds import reservations
from worlds.database import fresh_database
from worlds.fleet import (
    PATIENCE_S,
    Connection,
    Worker,
    broken_histories,
    move_clock,
    new_id,
    send,
    settings_for,
    until,
    worker_on,
)

QUEUE = "disk_operations"
TYPE = "cpu-x86"
QUICK: Mapping[str, Any] = {"volume_poll_s": 0.05, "snapshot_poll_s": 0.05, "contents_bucket": BUCKET}
# Longer than all that is due takes, however busy the machine is, so that there is one look at a time.
STEADY: Mapping[str, Any] = {"volume_poll_s": 2, "snapshot_poll_s": 5, "pod_poll_s": 1, "teardown_poll_s": 1}
POLLS = [*STEADY]
NEXT_DUE = """
select extract(epoch from min(vt) - public.fleet_now())::float8 as next_s
from (select vt from pgmq.q_disk_operations union all select vt from pgmq.q_gpu_reservations) queued
where vt > public.fleet_now()
"""
BROKEN = [
    broken_histories("disk", "public.disks", "disk_id").encode(),
    broken_histories("disk_snapshot", "public.disk_snapshots", "snapshot_id").encode(),
    broken_histories("disk_operation", "public.disk_operations", "operation_id").encode(),
]
WRONG_COUNTS = """
select d.disk_name, d.snapshot_count, d.pending_snapshot_count from public.disks d
left join public.disk_snapshots s using (disk_id)
group by d.disk_id
having d.snapshot_count <> count(*) filter (where s.status = 'completed')
  or d.pending_snapshot_count <> count(*) filter (where s.status in ('pending', 'creating'))
"""
# Whoever may have written to a volume has it in the row, or a completed snapshot of it is on record.
WRONG_DISKS = """
select disk_name, status, reservation_id, ebs_volume_id from public.disks
where status <> 'attached' and (reservation_id is not null or ebs_volume_id is not null)
"""


# As the reservation worker attaches a disk: who has it, what its volume is made from, and where.
ATTACH = """
update public.disks d set status = 'attached', reservation_id = %s, attachment = attachment + 1,
  ebs_availability_zone = %s, ticket = ticket + 1, source_snapshot_id = coalesce(next_snapshot_id, (
    select s.snapshot_id from public.disk_snapshots s where s.disk_id = d.disk_id and s.status = 'completed'
    order by s.completed_at desc, s.snapshot_id desc limit 1))
where user_id = %s and disk_name = %s
returning *
"""
CLEAN = """
set session_replication_role = replica;
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as 'select statement_timestamp()';
delete from public.disk_operations;
delete from public.disk_snapshots;
delete from public.disks;
delete from public.disk_quarantine;
delete from public.pod_quarantine;
delete from public.reservations;
delete from public.dead_letters;
delete from public.status_history;
delete from public.outages;
delete from pgmq.q_disk_operations;
delete from pgmq.q_gpu_reservations;
update public.periodic set done_at = null;
update public.policies set most = 1000000;
update public.gpu_types set held_gpus = 0, is_active = true;
set session_replication_role = origin;
"""


def assert_sound(conn: Connection) -> None:
    """Counters are true, histories gap-free and agree with the rows, nobody has a disk that is not attached."""
    for query in (*BROKEN, WRONG_COUNTS.encode(), WRONG_DISKS.encode()):
        assert conn.execute(query).fetchall() == []


@dataclass(frozen=True)
class World:
    """Reservations and disks in a database of their own, on the module's servers."""

    conn: Connection
    box: Box
    aws: Aws
    disks: Worker
    reservations: Worker

    def run(self) -> None:
        """All that is due, and what that makes due, of both kinds."""
        while self.disks.run() + self.reservations.run():
            pass

    def until(self, condition: Callable[[], Any], within_s: float = PATIENCE_S, what: str = "the condition") -> Any:
        return until(condition, within_s=within_s, what=what, work=self.work)

    def work(self) -> bool:
        """A batch of each kind; where nothing is due, the clock goes to the next look at something outside."""
        return bool(self.disks.run_once() + self.reservations.run_once()) or self.skip()

    def skip(self) -> bool:
        polls_s = [getattr(self.disks.running.settings, name) for name in POLLS]
        next_s = self.one(NEXT_DUE)["next_s"]
        if next_s is None or next_s > max(polls_s):
            return False
        move_clock(self.conn, next_s)
        return True

    def pass_time(self, seconds: float) -> None:
        """For us, and for AWS."""
        move_clock(self.conn, seconds)
        self.aws.put_clock_ahead(seconds)

    def later(self, seconds: float) -> None:
        self.pass_time(seconds)
        self.run()

    def ask(self, action: str, disk_name: str = "data", user: str = "ada", **fields: Any) -> str:
        """Send an operation; its id."""
        operation_id = fields.pop("operation_id", None) or new_id()
        names = {} if action == "clone_disk" else {"disk_name": disk_name}
        body = {"action": action, "operation_id": operation_id, "user_id": user, **names, **fields}
        send(self.conn, QUEUE, body)
        return str(operation_id)

    def tell(self, action: str, disk_name: str = "data", **fields: Any) -> dict[str, Any]:
        """Send an operation, and do all that follows from it now; its row."""
        operation_id = self.ask(action, disk_name, **fields)
        self.run()
        return self.operation(operation_id)

    def ended(self, action: str, disk_name: str = "data", **fields: Any) -> dict[str, Any]:
        """The same until it has come to its end."""
        operation_id = self.ask(action, disk_name, **fields)
        self.until(lambda: self.operation(operation_id).get("finished_at"), what=f"the end of {action}")
        return self.operation(operation_id)

    def create(self, disk_name: str = "data", size_gb: int = 20, user: str = "ada") -> dict[str, Any]:
        operation = self.ended("create_disk", disk_name, size_gb=size_gb, user=user)
        assert operation["status"] == "completed", operation["error"]
        return self.disk(disk_name, user)

    def reserve(self, disk_name: str | None = "data", user: str = "ada", **fields: Any) -> str:
        """Ask for a reservation with a disk; its id."""
        wanted = {"gpu_type": TYPE, "gpu_count": 0, "user_id": user, **fields}
        return reservations.create(self.conn, **({"disk_name": disk_name} if disk_name else {}), **wanted)

    def active(self, disk_name: str | None = "data", user: str = "ada", **fields: Any) -> str:
        row_id = self.reserve(disk_name, user, **fields)
        self.until(lambda: self.status(row_id) == "active", what=f"an active reservation with {disk_name}")
        return row_id

    def cancel(self, row_id: str, user: str = "ada") -> None:
        reservations.ask(self.conn, "cancel", row_id, user)

    def over(self, row_id: str) -> dict[str, Any]:
        """The row of a reservation when all of it is gone."""
        self.until(lambda: self.reservation(row_id)["reservation_ended"], what="the end of the reservation")
        return self.reservation(row_id)

    def used(self, disk_name: str = "data", user: str = "ada", times: int = 1) -> dict[str, Any]:
        """A disk that reservations have used, and given back."""
        for _ in range(times):
            row_id = self.active(disk_name, user)
            self.cancel(row_id, user)
            self.over(row_id)
        return self.disk(disk_name, user)

    def status(self, row_id: str) -> str | None:
        return reservations.status_of(self.conn, row_id)

    def reservation(self, row_id: str) -> dict[str, Any]:
        return self.one("select * from public.reservations where reservation_id = %s", row_id)

    def disk(self, disk_name: str = "data", user: str = "ada") -> dict[str, Any]:
        return self.one("select * from public.disks where user_id = %s and disk_name = %s", user, disk_name)

    def operation(self, operation_id: str) -> dict[str, Any]:
        found = self.all("select * from public.disk_operations where operation_id = %s", operation_id)
        return found[0] if found else {}

    def snapshots(self, disk_name: str = "data", user: str = "ada") -> list[dict[str, Any]]:
        """Of a disk, oldest first."""
        return self.all(
            "select s.* from public.disk_snapshots s join public.disks d using (disk_id)"
            " where d.user_id = %s and d.disk_name = %s order by s.created_at, s.snapshot_id",
            user,
            disk_name,
        )

    @property
    def volumes(self) -> dict[str, Any]:
        """What AWS has."""
        found: dict[str, Any] = self.aws.state()["volumes"]
        return found

    @property
    def ebs_snapshots(self) -> dict[str, Any]:
        found: dict[str, Any] = self.aws.state()["snapshots"]
        return found

    @property
    def letters(self) -> list[str]:
        return reservations.letters(self.conn)

    def held(self, disk_name: str = "data", user: str = "ada") -> str:
        """The disk in the hands of a reservation that is active without a pod; the reservation's id."""
        row_id = new_id()
        self.conn.execute(
            "insert into public.reservations"
            " (reservation_id, user_id, github_user, status, duration_hours, gpu_type, gpu_count, disk_name, ticket,"
            " created_at) values (%s, %s, %s, 'pending', 4, %s, 0, %s, 7, now())",
            (row_id, user, user, TYPE, disk_name),
        )
        for status in ("preparing", "active"):
            self.conn.execute("update public.reservations set status = %s where reservation_id = %s", (status, row_id))
        disk = self.one(ATTACH, row_id, ZONE, user, disk_name)
        send(self.conn, QUEUE, {"action": "advance_disk", "disk_id": str(disk["disk_id"]), "ticket": disk["ticket"]})
        self.until(lambda: self.disk(disk_name, user)["volume_is_new"] is False and self.volume_of(disk_name, user))
        return row_id

    def given_back(self, row_id: str) -> None:
        """The reservation ends, and asks for the release of its disk."""
        self.conn.execute(
            "update public.reservations set status = 'cancelled', ticket = ticket + 1 where reservation_id = %s",
            (row_id,),
        )
        send(self.conn, "gpu_reservations", {"action": "advance", "reservation_id": row_id, "ticket": 8})
        self.until(lambda: self.disks_asked_back(row_id), what="the end of the pod")

    def disks_asked_back(self, row_id: str) -> bool:
        """Whether the release of the reservation's disk was asked for, or is over."""
        found = self.all("select release_asked_at from public.disks where reservation_id = %s", row_id)
        return all(disk["release_asked_at"] is not None for disk in found)

    def filled(self, disk_name: str = "data", user: str = "ada", times: int = 1) -> dict[str, Any]:
        """As `used`, without pods: quicker."""
        for _ in range(times):
            self.given_back(self.held(disk_name, user))
            self.until(lambda: self.disk(disk_name, user)["status"] == "available", what="the release of the disk")
        return self.disk(disk_name, user)

    def queued(self, action: str, queue: str = "gpu_reservations") -> int:
        query = f"select count(*) from pgmq.q_{queue} where message->>'action' = %s"
        return int(self.one(query, action)["count"])

    def volume_of(self, disk_name: str = "data", user: str = "ada") -> str:
        return str(self.disk(disk_name, user)["ebs_volume_id"] or "")

    def sweep(self, action: str = "sweep") -> None:
        """One sweep, whenever the one before it was."""
        self.conn.execute("update public.periodic set done_at = null")
        send(self.conn, QUEUE, {"action": action})
        self.run()

    def one(self, query: str, *values: Any) -> dict[str, Any]:
        found = self.all(query, *values)
        assert len(found) == 1, f"{len(found)} rows: {query} {values}"
        return found[0]

    def all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), values).fetchall()


def history(conn: Connection, machine: str, row_id: Any) -> list[str]:
    query = "select to_status from public.status_history where machine = %s and row_id = %s order by history_id"
    rows: Sequence[Any] = conn.execute(query, (machine, str(row_id))).fetchall()
    return [row[0] for row in rows]


@contextmanager
def servers(**options: Any) -> Iterator[tuple[Box, Aws]]:
    """Kubernetes and AWS, and the environment that leads to the latter."""
    wanted = {"ready_delay_s": 0.02, "termination_delay_s": 0.02, "scheduling_retry_s": 0.05, **options}
    nodes = [f"{TYPE}:2x0", "h100:2x8"]
    with sandbox.running(nodes, aws=True, **wanted) as box, mock.patch.dict(os.environ, box.aws_environment):
        yield box, box.aws


def quicken(dsn: str) -> None:
    """Commits need not survive the server's end: no test ends it."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f'alter database "{conn.info.dbname}" set synchronous_commit = off'.encode())


@contextmanager
def world_on(server_dsn: str, template: str, box: Box, **settings: Any) -> Iterator[World]:
    """A database of its own, and what an earlier test has left at AWS is gone."""
    aws = box.aws
    aws.reset()
    box.clear_faults()
    with fresh_database(server_dsn, template) as dsn:
        quicken(dsn)
        configured = settings_for(dsn, box, **{**QUICK, **settings})
        with (
            psycopg.connect(dsn, autocommit=True) as conn,
            worker_on(disk.KIND, configured) as disks,
            worker_on(reservation.KIND, configured) as rows,
        ):
            yield World(conn, box, aws, disks, rows)


def for_a_test(world: World) -> Iterator[World]:
    """A module's world, emptied; what has to hold at every moment is looked at in the end."""
    world.conn.execute(CLEAN.encode())
    world.aws.reset()
    world.box.clear_faults()
    api, namespace = world.reservations.running.tools.pods.api, world.reservations.running.settings.namespace
    left = world.box.state()["objects"]
    if left["pods"]:
        for pod in api.list_namespaced_pod(namespace).items:
            api.delete_namespaced_pod(pod.metadata.name, namespace, grace_period_seconds=0)
    if left["persistentvolumeclaims"]:
        for claim in api.list_namespaced_persistent_volume_claim(namespace).items:
            api.delete_namespaced_persistent_volume_claim(claim.metadata.name, namespace)
    if left["persistentvolumes"]:
        for volume in api.list_persistent_volume().items:
            api.delete_persistent_volume(volume.metadata.name)
    yield world
    assert_sound(world.conn)


def refused(operation: dict[str, Any]) -> str:
    """Why an operation failed."""
    assert (operation["status"], operation["finished_at"] is not None) == ("failed", True)
    return str(operation["error"])


def done(operation: dict[str, Any]) -> str | None:
    """What was said of an operation that is completed."""
    assert (operation["status"], operation["error"]) == ("completed", None)
    detail: str | None = operation["detail"]
    return detail


def objects(world: World) -> list[str]:
    return sorted(world.aws.state()["objects"])
