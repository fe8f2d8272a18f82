"""Workers that are killed while they do what is asked of a gang that runs, warn it or end it: nothing by half."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crashes.nursery import Nursery
from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.clients.kubernetes.inside.jupyter import LOOK
from pgfleet.workers.reservation.machine import KIND
from reservation.access.test_jupyter import services, typed
from reservation.access.test_users import keys_of
from reservation.active.test_idle import notices, pass_second
from reservation.active.test_warnings import files, warned
from worlds.fleet import (
    Connection,
    Worker,
    assert_sound,
    move_clock,
    new_id,
    settings_for,
    stop_clock,
    until,
    worker_environment,
    worker_on,
)
from worlds.reservations import all_are, ask, gang, letters, moments, rows_of

LEASE_S = 5
SETTINGS: dict[str, Any] = {
    "lease_s": LEASE_S,
    "backoff_s": 0.1,
    "pod_poll_s": 0.05,
    "teardown_poll_s": 0.05,
    # One message after the other.
    "effect_threads": 1,
    # A message has the bad luck to be in hand at many deaths, which is no reason to give it up.
    "attempts": 100,
    "idle_poll_s": 30,
    "idle_notice_s": 30,
}
Point = tuple[str, str]
PODS = "pgfleet.workers.clients.kubernetes.pods:Pods"
INSIDE = "pgfleet.workers.clients.kubernetes.inside"
CLAIM = ("pgfleet.schema.queue.claims:claim", "after")


def writing(label: str) -> tuple[Point, Point, Point]:
    """When the rows have been changed, before the commit and after it."""
    return (f"settle {label}", "during"), (f"settle {label}", "before"), (f"settle {label}", "after")


@dataclass(frozen=True, slots=True)
class Scene:
    """A gang of two nodes that runs, at a moment that stands still."""

    conn: Connection
    worker: Worker
    box: Box
    forks: Nursery
    environment: dict[str, str]
    folder: Path
    ids: list[str]

    def kill(self, *points: Point) -> None:
        """Let a worker run into each of the points, one after the other; what it had in hand is free again."""
        for place, when in points:
            marker = self.folder / new_id()
            with self.forks.worker("pgfleet.workers.reservation", self.environment, marker, place, when, 1):
                until(marker.exists, what=f"death {when} {place}: {self.queued()}")
            move_clock(self.conn, LEASE_S + 1)

    def queued(self) -> list[Any]:
        query = "select message, vt - public.fleet_now(), read_ct from pgmq.q_gpu_reservations"
        return self.conn.execute(query).fetchall()

    def ask(self, action: str, **fields: Any) -> None:
        ask(self.conn, action, self.ids[1], request_id=action, **fields)
        self.conn.execute("update pgmq.q_gpu_reservations set vt = public.fleet_now() where message ? 'request_id'")

    def rows(self) -> Sequence[dict[str, Any]]:
        return rows_of(self.conn, self.ids)

    def is_done(self, action: str) -> bool:
        return all(action in [done["action"] for done in row["requests_done"]] for row in self.rows())

    def assert_done_once(self, *actions: str) -> None:
        for row in self.rows():
            assert [done["action"] for done in row["requests_done"]] == [*actions]
        assert letters(self.conn) == []
        assert_sound(self.conn)


@pytest.fixture
def scene(dsn: str, conn: Connection, forks: Nursery, tmp_path: Path) -> Iterator[Scene]:
    # No sweep repairs what a death has broken.
    conn.execute("update public.periodic set next_at = 'infinity'")
    with (
        sandbox.running(["h100:2x8"], ready_delay_s=0.02, termination_delay_s=0.02) as box,
        worker_on(KIND, settings_for(dsn, box, **SETTINGS)) as worker,
    ):
        ids = gang(conn, idle_minutes=1)
        all_are(conn, worker, ids, "active")
        worker.run()
        stop_clock(conn)
        yield Scene(conn, worker, box, forks, worker_environment(dsn, box, **SETTINGS), tmp_path, ids)


def test_jupyter_comes_once_and_goes_whenever_its_worker_dies(scene: Scene) -> None:
    scene.ask("enable_jupyter")
    scene.kill(
        CLAIM,
        *writing("reservations.jupyter_enabled"),
        (f"{PODS}.create_service", "after"),
        (f"{INSIDE}.jupyter:start", "after"),
        *writing("reservations.jupyter_url"),
    )
    scene.worker.run_until(lambda: scene.rows()[0]["jupyter_url"])
    on = scene.rows()
    there = [sorted(services(scene.worker, row)) for row in on]

    scene.ask("disable_jupyter")
    scene.kill(
        writing("reservations.jupyter_enabled")[1],
        (f"{PODS}.delete_service", "after"),
        (f"{INSIDE}.jupyter:stop", "after"),
        writing("reservations.jupyter_url")[1],
    )
    scene.worker.run_until(lambda: scene.rows()[0]["jupyter_token"] is None)

    assert there == [["headless", "jupyter", "ssh"], ["headless", "ssh"]]
    assert set(typed(scene.box, on[0])) == {f"{on[0]['jupyter_token']}\n"}
    assert typed(scene.box, on[1]) == []
    assert [sorted(services(scene.worker, row)) for row in on] == [["headless", "ssh"]] * 2
    scene.assert_done_once("enable_jupyter", "disable_jupyter")


def test_jupyter_that_has_ended_is_told_whenever_its_worker_dies(scene: Scene) -> None:
    scene.ask("enable_jupyter")
    scene.worker.run_until(lambda: scene.rows()[0]["jupyter_url"])
    first = scene.rows()[0]
    scene.box.command("gpu-dev", first["pod_name"], LOOK, "ended\nKilled\n")
    move_clock(scene.conn, 61)

    scene.kill((f"{INSIDE}.jupyter:ended", "after"), *writing("reservations.jupyter_error"))
    scene.worker.run_until(lambda: scene.rows()[0]["jupyter_error"])

    row = scene.rows()[0]
    assert row["jupyter_error"].startswith("it has ended: Killed; ")
    assert (row["status"], row["jupyter_url"]) == ("active", None)
    assert len(typed(scene.box, row)) == 1
    scene.assert_done_once("enable_jupyter")


def test_who_is_added_is_let_into_all_pods_once_whenever_a_worker_dies(scene: Scene) -> None:
    scene.ask("add_user", github_username="bob")

    scene.kill(
        CLAIM,
        # Into the first pod, and not yet into the second.
        ("pgfleet.workers.reservation.access.users:add_keys", "after"),
        (f"{INSIDE}.keys:_tell_kubelet", "before"),
        *writing("reservations.secondary_users"),
    )
    scene.worker.run_until(lambda: scene.is_done("add_user"))

    keys = scene.worker.running.tools.ssh_keys.of("bob")
    for row in scene.rows():
        times = Counter(keys_of(scene.worker, row))
        assert [times[key] for key in keys] == [1] * len(keys)
        assert row["secondary_users"] == ["bob"]
    scene.assert_done_once("add_user")


def test_each_node_is_warned_once_whenever_a_worker_dies(scene: Scene) -> None:
    # Used, as far as anybody can tell: nothing else is warned of.
    for row in scene.rows():
        scene.box.use_gpus("gpu-dev", row["pod_name"], 50, 50, 50, 50)
    move_clock(scene.conn, (4 * 60 - 14) * 60)

    scene.kill((f"{INSIDE}.pod:Inside.warn", "before"), (f"{INSIDE}.pod:Inside.warn", "after"))
    scene.kill(*writing("reservations.warnings_sent"))
    scene.worker.run_until(lambda: all(row["warnings_sent"] for row in scene.rows()))
    said = [(set(files(scene.box, row)), len(warned(scene.conn, row["reservation_id"]))) for row in scene.rows()]

    scene.ask("extend", extension_hours=1)
    scene.kill(
        *writing("reservations.extended_hours"),
        (f"{INSIDE}.pod:Inside.clear_warnings", "after"),
        writing("reservations.last_warning_time")[1],
    )
    scene.worker.run_until(lambda: not any(row["last_warning_time"] for row in scene.rows()))

    assert said == [({"WARN_EXPIRES_IN_15MIN.txt"}, 1)] * 2
    assert [(row["duration_hours"], row["warning"]) for row in scene.rows()] == [(5, None)] * 2
    scene.assert_done_once("extend")


def test_what_nobody_uses_is_warned_and_ended_once_whenever_a_worker_dies(scene: Scene) -> None:
    move_clock(scene.conn, 61)
    scene.worker.run_until(lambda: all(row["idle_since"] for row in scene.rows()))

    move_clock(scene.conn, 60)
    scene.kill((f"{INSIDE}.pod:Inside.use_of_gpus", "after"), *writing("reservations.idle_warned_at"))
    scene.worker.run_until(lambda: all(row["idle_warned_at"] for row in scene.rows()))
    said = [notices(scene.conn, row["reservation_id"]) for row in scene.rows()]

    move_clock(scene.conn, 31)
    scene.kill((f"{INSIDE}.pod:Inside.use_of_gpus", "after"), *writing("reservations=expired"))
    scene.kill((f"{PODS}.delete", "after"))
    scene.worker.run_until(lambda: pass_second(scene.conn) and all(row["reservation_ended"] for row in scene.rows()))

    rows = scene.rows()
    assert said[0] == said[1]
    assert [len(each) for each in said] == [1, 1]
    assert [row["status_reason"].partition(":")[0] for row in rows] == ["IDLE", "IDLE"]
    assert moments(scene.conn, scene.ids)["expired"] == 1
    assert [row["gpus_held"] for row in rows] == [0, 0]
    assert scene.box.state()["objects"]["pods"] == 0
    scene.assert_done_once()
