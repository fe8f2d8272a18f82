"""The whole of pgfleet on one database and one sandbox: who works, who is asked, and what there is to see."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import psycopg
from kubernetes import client
from psycopg.rows import dict_row

from crashes.test_disk_crashes import WATCH as WATCH_DISKS
from hunt.crew import Crew, processes, threads
from hunt.known import CLUSTER_NODES, MEMBERS, NODES, RECEIVERS
from pgfleet.console.sandbox import Box
from pgfleet.console.sandbox.aws.handle import BUCKET
from pgfleet.schema.identity import accounts, keys
from worlds import clusters
from worlds.api.program import program
from worlds.api.server import api_on
from worlds.assignments import add_cluster, add_users
from worlds.fleet import Connection, settings_for, worker_environment
from worlds.network.proxy import Proxy, proxy_to
from worlds.outside.kubernetes import connected as kubernetes
from worlds.receiver import Receiver, receiving

WATCH = (Path(__file__).parent / "watch.sql").read_text("utf-8")
# Nodes of the cluster, with the GPUs of each.
MACHINES = ["h100:2x8", "t4:2x4", "cpu-x86:2x0"]
# All that waits is short, as the clock is moved besides; nobody is given up for bad luck.
SETTINGS: dict[str, Any] = {
    "lease_s": 5,
    "attempts": 100,
    "backoff_s": 0.2,
    "backoff_cap_s": 2,
    "pod_poll_s": 0.5,
    "teardown_poll_s": 0.5,
    "volume_poll_s": 0.5,
    "snapshot_poll_s": 0.5,
    "line_recheck_s": 5,
    "watch_s": 5,
    "breaker_open_s": 2,
    "statement_timeout_s": 3,
    "drain_s": 10,
    "kubernetes_timeout_s": 2,
    "ssh_keys_timeout_s": 2,
    "aws_timeout_s": 3,
    "hopsworks_timeout_s": 2,
    "contents_bucket": BUCKET,
    "events_may_reach": "127.0.0.0/8",
}
GRACE_S = SETTINGS["drain_s"] + 15
WORKER = "worker"
CUT = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name = %s
"""
SANDBOX: dict[str, Any] = {
    "nodes": MACHINES,
    "aws": True,
    "ready_delay_s": 0.05,
    "termination_delay_s": 0.05,
    "scheduling_retry_s": 0.1,
}


@dataclass
class World:
    dsn: str
    conn: Connection
    box: Box
    crew: Crew
    url: str
    receivers: Sequence[Receiver]
    restart: Callable[[str], None] = lambda _: None
    restart_api: Callable[[], None] = lambda: None
    proxy: Proxy | None = None
    machines: list[str] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    cluster_nodes: list[str] = field(default_factory=list)
    api_keys: dict[str, str] = field(default_factory=dict)
    promised: list[str] = field(default_factory=list)
    malformed: list[tuple[str, int]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), values or None).fetchall()

    def one(self, query: str, *values: Any) -> Any:
        (row,) = self.all(query, *values)
        return next(iter(row.values()))

    def moment(self, in_s: float) -> datetime:
        found: datetime = self.one("select public.fleet_now() + make_interval(secs => %s)", in_s)
        return found

    def foreign(self, query: str, *values: Any) -> Any:
        """As a client that knows only PGMQ. The rows of its answer."""
        with psycopg.connect(self.dsn, autocommit=True, application_name="hunt") as conn:
            conn.execute("set hunt.stranger = 'on'")
            return conn.execute(query.encode(), values or None).fetchall()

    def close(self) -> None:
        self.conn.close()

    def cut_sessions(self) -> None:
        self.conn.execute(CUT, (WORKER,))

    def silence_sessions(self) -> None:
        if self.proxy is not None:
            self.proxy.silence()

    def as_user(self, user: str) -> httpx.Client:
        if user not in self.api_keys:
            accounts.add(self.conn, f"{user}@example.org", username=user)
            self.api_keys[user] = keys.make(self.conn, user, hours=8760).key
        headers = {"Authorization": f"Bearer {self.api_keys[user]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def note(self, answer: httpx.Response) -> None:
        """What was promised; no answer says that the program has failed."""
        if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
            self.odd.append(f"{answer.request.method} {answer.request.url.path}: 500 {answer.text[:200]}")
        if answer.is_success and answer.request.method == "POST" and answer.request.url.path == "/v1/reservations":
            self.promised.append(str(answer.json()["id"]))


def connected(dsn: str) -> Connection:
    return psycopg.connect(dsn, autocommit=True, application_name="hunt", options="-c lock_timeout=20s")


def machines_of(box: Box) -> list[str]:
    with kubernetes(box) as api:
        found: Any = client.CoreV1Api(api).list_node()
    return sorted(node.metadata.name for node in found.items)


def furnish(world: World) -> None:
    """Users, clusters and nodes, and triggers that look at every commit."""
    conn, found = world.conn, world.box
    conn.execute(WATCH_DISKS)
    conn.execute(WATCH.encode())
    world.machines += machines_of(found)
    add_users(conn, *MEMBERS[:5])
    add_users(conn, *MEMBERS[5:], owner=MEMBERS[0])
    for name, seats in (("one", 3), ("two", 2)):
        add_cluster(conn, found, name, seats)
        for account in found.hopsworks_state(name)["users"]:
            found.hopsworks_forget(name, account["email"])
    cluster = clusters.create(conn, "ours", p_max_nodes=5)
    world.cluster_nodes += [clusters.add(conn, cluster, f"c{number}") for number in range(CLUSTER_NODES)]
    for number in range(NODES):
        world.nodes.append(
            world.one("insert into autoscaler.nodes (name, region) values (%s, 'eu') returning id", f"n{number}")
        )


@contextmanager
def in_thread(dsn: str, box: Box, seed: int) -> Iterator[World]:
    """All in the hunt's own process."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, box.aws_environment or {"AWS_REGION": "us-east-2"}))
        receivers = [stack.enter_context(receiving()) for _ in range(RECEIVERS)]
        conn = stack.enter_context(connected(dsn))
        crew = stack.enter_context(
            threads(settings_for(f"{dsn}{'&' if '?' in dsn else '?'}application_name={WORKER}", box, **SETTINGS), seed)
        )
        api = stack.enter_context(api_on(dsn))
        world = World(dsn, conn, box, crew, api.url, receivers)
        furnish(world)
        yield world


@contextmanager
def in_processes(dsn: str, box: Box, restart: Callable[[str], None]) -> Iterator[World]:
    """Workers and the API in processes of their own, which reach the database by a proxy."""
    with ExitStack() as stack:
        receivers = [stack.enter_context(receiving()) for _ in range(RECEIVERS)]
        proxy = stack.enter_context(proxy_to(dsn))
        conn = connected(dsn)
        environment = worker_environment(proxy.dsn, box, **SETTINGS) | box.aws_environment | {"PGAPPNAME": WORKER}
        own = World(dsn, conn, box, None, "", receivers, proxy=proxy)  # type: ignore[arg-type]  # the crew comes last
        stack.callback(own.close)
        furnish(own)
        api = stack.enter_context(program(dsn, PGFLEET_LOG_LEVEL="error", PGAPPNAME="hunt"))
        own.url = api.url

        def begin_again(mode: str) -> None:
            restart(mode)
            own.conn = connected(dsn)

        def api_again() -> None:
            api.end(signal.SIGKILL)
            api.start()

        own.restart, own.restart_api = begin_again, api_again
        crew = stack.enter_context(processes(environment, GRACE_S))
        own.crew = crew
        yield own
