"""Thirty people with a disk each, four workers that are killed again and again, and an AWS that stumbles (I11, I12)."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest

from crashes.nursery import Nursery, nursery
from crashes.test_disk_crashes import DISK_WORKER, RESERVATION_WORKER, WATCH, assert_nothing_left
from pgfleet.console import sandbox
from pgfleet.console.sandbox import Box
from worlds.disks import QUEUE, QUICK, TYPE, World, world_on
from worlds.fleet import owner_dsn, send, until, worker_environment

PEOPLE, BUSY_S, KILL_EVERY_S = 30, 30, 0.5
SETTINGS: dict[str, Any] = {
    **QUICK,
    "lease_s": 1.5,
    "attempts": 1000,
    "backoff_s": 0.1,
    "backoff_cap_s": 0.5,
    "pod_poll_s": 0.1,
    "teardown_poll_s": 0.1,
    "line_recheck_s": 2,
    "watch_s": 1,
    "effect_threads": 8,
}
# What is done and denied comes twice; a snapshot that was begun twice would be found in quarantine.
FAULTS: list[dict[str, Any]] = [
    {"status": 503, "code": "RequestLimitExceeded"},
    {"status": 500},
    {"status": 500, "after": True},
    {"drop": True},
    {"drop": True, "after": True},
]
ACTIONS = ["CreateVolume", "CreateSnapshot", "DeleteVolume", "DescribeVolumes", "DescribeSnapshots", "PUT .*"]


@dataclass
class Crew:
    """Two workers of each kind; who is killed has a successor at once."""

    nursery: Nursery
    environment: dict[str, str]
    workers: list[tuple[str, ExitStack]] = field(default_factory=list)

    def start(self, module: str) -> None:
        stack = ExitStack()
        stack.enter_context(self.nursery.worker(module, self.environment))
        self.workers.append((module, stack))

    def kill(self, dice: random.Random) -> None:
        module, stack = self.workers.pop(dice.randrange(len(self.workers)))
        stack.close()
        self.start(module)

    def close(self) -> None:
        for _, stack in self.workers:
            stack.close()


@dataclass
class People:
    """Each reserves with a disk, cancels when it is there or before, and comes again."""

    world: World
    dice: random.Random
    rows: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)

    def turn(self, *, again: bool) -> bool:
        """Whether somebody still has something."""
        found = self.world.all("select reservation_id, status, reservation_ended from public.reservations")
        known = {row["reservation_id"]: row for row in found}
        busy = False
        for number in range(PEOPLE):
            user = f"user{number}"
            row = known.get(self.rows.get(user, ""))
            ended = row is not None and row["reservation_ended"] is not None
            if again and (user not in self.rows or ended):
                gpus: dict[str, Any] = {} if number % 2 else {"gpu_type": "h100", "gpu_count": 2}
                self.rows[user] = self.world.reserve(user=user, **gpus)
            elif row is not None and not ended and row["reservation_id"] not in self.cancelled:
                self._cancel(user, row, sure=not again)
            busy = busy or (user in self.rows and not ended)
        return busy

    def _cancel(self, user: str, row: dict[str, Any], *, sure: bool) -> None:
        if self.dice.random() < (0.5 if row["status"] == "active" or sure else 0.003):
            self.world.cancel(row["reservation_id"], user)
            self.cancelled.add(row["reservation_id"])


@dataclass
class Watcher:
    """Looks again and again whether a volume that somebody has used has gone without a whole copy of it."""

    world: World
    box: Box
    there: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)

    def look(self) -> None:
        state = self.world.aws.state()
        self.used |= {line["volume"] for line in self.box.state()["attachment_log"]}
        whole = {one["volume"] for one in state["snapshots"].values() if one["state"] == "completed"}
        self.lost += sorted((self.there - set(state["volumes"])) & self.used - whole)
        self.there = set(state["volumes"])


@pytest.fixture
def box() -> Iterator[Box]:
    quick: dict[str, Any] = {
        "ready_delay_s": 0.05,
        "termination_delay_s": 0.05,
        "scheduling_retry_s": 0.1,
        "aws_snapshot": 0.5,
    }
    with (
        sandbox.spawned([f"{TYPE}:4x0", "h100:2x8"], aws=True, **quick) as running,
        mock.patch.dict("os.environ", running.aws_environment),
    ):
        yield running


@contextmanager
def crew_on(world: World, box: Box) -> Iterator[Crew]:
    dsn = owner_dsn(world.disks)
    with nursery() as running:
        crew = Crew(running, worker_environment(dsn, box, **SETTINGS) | box.aws_environment)
        for module in (DISK_WORKER, RESERVATION_WORKER) * 2:
            crew.start(module)
        try:
            yield crew
        finally:
            crew.close()


def test_nobody_loses_a_disk_to_workers_that_are_killed_or_to_an_aws_that_stumbles(
    server_dsn: str, template: str, box: Box
) -> None:
    dice = random.Random(11)
    with world_on(server_dsn, template, box, **SETTINGS) as world:
        world.conn.execute("update public.periodic set next_at = 'infinity'")
        world.conn.execute(WATCH)
        people, watcher = People(world, dice), Watcher(world, box)
        with crew_on(world, box) as crew:
            ends, kill_at = time.monotonic() + BUSY_S, 0.0
            while time.monotonic() < ends:
                people.turn(again=True)
                watcher.look()
                if time.monotonic() > kill_at:
                    crew.kill(dice)
                    world.aws.fault(dice.choice(ACTIONS), **dice.choice(FAULTS), times=dice.randrange(1, 3))
                    kill_at = time.monotonic() + KILL_EVERY_S * (0.5 + dice.random())
            world.aws.clear_faults()
            wait_for_all(people, watcher)
            assert_reconciled(world, watcher)

        print(f"\n{len(people.cancelled)} reservations, {len(world.ebs_snapshots)} snapshots")  # noqa: T201  # figures
        assert watcher.lost == []
        assert len(people.cancelled) >= PEOPLE
        assert_nothing_left(world, box)


def assert_reconciled(world: World, watcher: Watcher) -> None:
    """What the dead have made and told nobody was never in a pod, and goes."""
    assert not set(world.volumes) & watcher.used
    world.pass_time(900)
    send(world.conn, QUEUE, {"action": "reconcile"})
    until(lambda: world.volumes == {}, within_s=20, what="the end of what nobody knows")
    due = "select 1 from pgmq.q_disk_operations where vt < public.fleet_now() + interval '5 seconds'"
    until(lambda: world.all(due) == [], within_s=20, what="an empty queue")
    # An outage that is still open would be probed by the sweeps that are to find nothing; a probe may be a dry run.
    out = "select 1 from public.outages where ended_at is null"
    until(lambda: world.all(out) == [], within_s=20, what="the end of AWS's outages")


UNRESTED = """
select 'disk', user_id, status, ebs_volume_id, detail, (select jsonb_agg(message) from pgmq.q_disk_operations
  where message ->> 'disk_id' = disk_id::text)
from public.disks where status <> 'available' or pending_snapshot_count > 0
union all
select 'reservation', user_id, status, reservation_id, current_detailed_status, (
  select jsonb_agg(message) from pgmq.q_gpu_reservations where message ->> 'reservation_id' = r.reservation_id)
from public.reservations r where reservation_ended is null
union all
select 'listing', disk_id::text, status, ebs_snapshot_id, null, null
from public.disk_snapshots where contents is not null
"""


def wait_for_all(people: People, watcher: Watcher) -> None:
    def rest() -> bool:
        watcher.look()
        return not people.turn(again=False) and people.world.all(UNRESTED) == []

    try:
        until(rest, within_s=60, what="an end of all")
    except AssertionError as late:
        left = "\n".join(str(row) for row in people.world.conn.execute(UNRESTED))
        raise AssertionError(f"{late}:\n{left}") from None
