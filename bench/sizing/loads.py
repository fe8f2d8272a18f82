"""The loads that are measured, one of each sort of message, on the sandbox where something outside is asked."""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import LiteralString

from psycopg.types.json import Jsonb

from bench import database, heartbeats
from bench.sizing.measuring import Load, counted
from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.queue.kernel import Connection

BEATS, JOBS, RESERVATIONS, DISKS, USERS = 40_000, 40_000, 300, 300, 300
ACTIVE, LOOKS = 100, 3_000
NODES = 40
KEY = "a-key-of-the-bench"
# What waits on purpose is left out, as it costs nothing but time.
QUICK = {"PGFLEET_EXPIRY_GRACE_S": "0"}
SEND: LiteralString = "select pgmq.send_batch(%s, %s::jsonb[])"
ENDED: LiteralString = "select count(reservation_ended) from public.reservations"
OPERATED: LiteralString = "select count(finished_at) from public.disk_operations"
RUNNING: LiteralString = "select count(*) from public.reservations where status = 'active'"
NUMBERED: LiteralString = "select last_value from pgmq.q_gpu_reservations_msg_id_seq"
SEATED: LiteralString = "select count(*) from hopsworks.user_hopsworks_assignments where status = 'active'"
LEFT_OF_BEATS: LiteralString = "select %s - count(*) from pgmq.q_node_heartbeats"
LEFT_OF_JOBS: LiteralString = "select %s - count(*) from pgmq.q_bench_jobs"


@contextmanager
def world() -> Iterator[Box]:
    """A cluster with more GPUs than are asked for at once, an AWS, GitHub and a Hopsworks."""
    with sandbox.spawned([f"h100:{NODES}x8"], aws=True, ready_delay_s=0.2, termination_delay_s=0.2) as box:
        yield box


def every(conn: Connection, box: Box) -> Iterator[Load]:
    """In this order, as the heartbeats' tables are emptied for them, and nothing periodic is sent from then on."""
    yield _heartbeats(conn)
    yield _transitions()
    yield _reservations(conn, box)
    yield _looks(box)
    yield _disks(box)
    yield _assignments(conn, box)


def _heartbeats(conn: Connection) -> Load:
    conn.execute(heartbeats.SET_UP % {"nodes": heartbeats.NODES})

    def send(conn: Connection) -> None:
        conn.execute(heartbeats.FILL % {"nodes": heartbeats.NODES, "first": 1, "last": BEATS})

    name, module = "heartbeat, with a pool and two metrics", "pgfleet.workers.heartbeat"
    return Load(
        name, module, "node_heartbeats", BEATS, BEATS, send, lambda conn: counted(conn, LEFT_OF_BEATS, BEATS), threads=2
    )


def _transitions() -> Load:
    def send(conn: Connection) -> None:
        for statement in database.FILL.strip().split(";\n"):
            conn.execute(statement.encode(), {"jobs": JOBS} if "%(" in statement else None)

    name = "a move of a row, nothing else"
    return Load(name, "bench.job", database.QUEUE, JOBS, JOBS, send, lambda conn: counted(conn, LEFT_OF_JOBS, JOBS))


def _wanted(number: int, hours: float) -> list[dict[str, object]]:
    asked = {"action": "create_reservation", "gpu_type": "h100", "gpu_count": 1, "duration_hours": hours}
    return [
        {**asked, "reservation_id": str(uuid.uuid4()), "user_id": f"user-{number}", "github_user": "ada"}
        for number in range(number)
    ]


def _outside(box: Box) -> dict[str, str]:
    keys = f"{box.ssh_keys_url}/{{user}}.keys"
    return {**QUICK, "PGFLEET_KUBECONFIG": box.kubeconfig, "PGFLEET_SSH_KEYS_URL": keys}


def _reservations(conn: Connection, box: Box) -> Load:
    conn.execute("update public.gpu_types set total_cluster_gpus = %s where gpu_type = 'h100'", (8 * NODES,))
    return Load(
        "reservation, from its request to its end",
        "pgfleet.workers.reservation",
        "gpu_reservations",
        RESERVATIONS,
        RESERVATIONS,
        lambda conn: _send(conn, "gpu_reservations", _wanted(RESERVATIONS, 0.0003)),
        lambda conn: counted(conn, ENDED),
        _outside(box),
    )


def _looks(box: Box) -> Load:
    """Active reservations that are looked at every second, and not once a minute."""
    sent: list[int] = []

    def prepare(conn: Connection) -> None:
        _send(conn, "gpu_reservations", _wanted(ACTIVE, 8))
        while counted(conn, RUNNING) < ACTIVE:
            time.sleep(0.5)

    def done(conn: Connection) -> int:
        now = counted(conn, NUMBERED)
        sent[:] = sent or [now]
        return now - sent[0]

    environment = {**_outside(box), "PGFLEET_WATCH_S": "1"}
    return Load(
        "look at a reservation that is active",
        "pgfleet.workers.reservation",
        "gpu_reservations",
        LOOKS,
        0,
        lambda _: None,
        done,
        environment,
        prepare=prepare,
    )


def _disks(box: Box) -> Load:
    asked = [
        {
            "action": "create_disk",
            "operation_id": str(uuid.uuid4()),
            "user_id": f"user-{number}",
            "disk_name": "data",
            "size_gb": 10,
        }
        for number in range(DISKS)
    ]
    return Load(
        "disk, made",
        "pgfleet.workers.disk",
        "disk_operations",
        DISKS,
        DISKS,
        lambda conn: _send(conn, "disk_operations", asked),
        lambda conn: counted(conn, OPERATED),
        box.aws_environment,
    )


def _assignments(conn: Connection, box: Box) -> Load:
    url = box.hopsworks("bench", api_key=KEY)
    conn.execute(
        "insert into hopsworks.hopsworks_clusters (name, api_url, api_key, max_users) values ('bench', %s, %s, %s)",
        (url, KEY, USERS),
    )
    conn.execute(
        "insert into hopsworks.users (id, email, name) select 'auth0|' || n, 'user-' || n || '@example.com', 'User'"
        " from generate_series(1, %s) n",
        (USERS,),
    )
    asked = [{"action": "assign", "user_id": f"auth0|{number + 1}"} for number in range(USERS)]
    return Load(
        "user, with a seat and an account",
        "pgfleet.workers.assignment",
        "cluster_assignments",
        USERS,
        USERS,
        lambda conn: _send(conn, "cluster_assignments", asked),
        lambda conn: counted(conn, SEATED),
    )


def _send(conn: Connection, queue: str, bodies: Sequence[Mapping[str, object]]) -> None:
    conn.execute(SEND, (queue, [Jsonb(body) for body in bodies]))
