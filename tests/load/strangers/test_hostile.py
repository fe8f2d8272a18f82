"""A hundred thousand hostile messages beside ten thousand good ones: these are as quick, and the worker stays small."""

import time
from pathlib import Path
from subprocess import Popen
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from worlds.database import Connection
from worlds.fleet import until, worker_process
from worlds.strangers import stranger_on

GOOD, HOSTILE = 10_000, 100_000
NODES = 100
# What the door lets in: heartbeats that nobody has proven, for nodes of others, with as much in them as it takes.
FORGED = """
insert into pgmq.q_node_heartbeats (vt, message)
select now(), jsonb_build_object('action', 'heartbeat', 'source', 'autoscaler', 'id', gen_random_uuid(),
  'node_id', mod(n, 100) + 1, 'sent_at', now(), 'status', 'failed',
  'metrics', jsonb_build_object('x', repeat('x', 500)))
from generate_series(1, %s) n
"""
REFUSED: tuple[LiteralString, ...] = (
    """select pgmq.send('node_heartbeats', '{"action": "sweep"}')""",
    """select pgmq.send('node_heartbeats', (select jsonb_agg('{}'::jsonb) from generate_series(1, 300000)))""",
    """insert into pgmq.q_node_heartbeats (vt, message) values ('infinity', '{"action": "heartbeat"}')""",
    """select pgmq.send('node_heartbeats', '{"action": "heartbeat"}', jsonb_build_object('x', repeat('x', 9000)))""",
    """select pgmq.send('node_heartbeats', 'null'::jsonb)""",
)
COUNTED = "select count(*) from public.heartbeat_ids"


def good(round_: int) -> list[Jsonb]:
    return [
        Jsonb(
            {
                "action": "heartbeat",
                "source": "autoscaler",
                "id": str(uuid4()),
                "node_id": n % NODES + 1,
                "sent_at": f"2026-11-29T0{round_}:{n // NODES // 60:02}:{n // NODES % 60:02}Z",
                "status": "healthy",
            }
        )
        for n in range(GOOD)
    ]


def seconds(conn: Connection, round_: int) -> float:
    """How long the good ones take, from their commit to their being counted."""
    bodies, before = good(round_), counted(conn)
    conn.execute("select pgmq.send_batch('node_heartbeats', %s::jsonb[])", (bodies,))
    begin = time.monotonic()
    until(lambda: counted(conn) == before + GOOD, what="all good heartbeats")
    return time.monotonic() - begin


def counted(conn: Connection) -> int:
    row = conn.execute(COUNTED).fetchone()
    assert row is not None
    return int(row[0])


def attack(conn: Connection) -> None:
    for statement in REFUSED:
        with pytest.raises(psycopg.Error) as refusal:
            conn.execute(statement)
        assert refusal.value.sqlstate == "PF011"
    conn.execute(FORGED, (HOSTILE,))


def largest_mib(process: Popen[bytes]) -> float:
    """Of the worker's processes, the most memory that one has ever held."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()
    return max(_peak_kib(pid) for pid in (str(process.pid), *children)) / 1024


def _peak_kib(pid: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def test_a_flood_of_a_stranger_costs_others_little(dsn: str, conn: Connection) -> None:
    conn.execute(
        "insert into autoscaler.nodes (id, name, region) select n, n, 'x' from generate_series(1, %s) n", (NODES,)
    )
    with (
        stranger_on(dsn, queues=["node_heartbeats"]) as stranger,
        worker_process(dsn, None, "pgfleet.workers.heartbeat") as process,
    ):
        seconds(conn, 0)
        alone = min(seconds(conn, 1), seconds(conn, 2))
        attack(stranger)
        beside = min(seconds(conn, 3), seconds(conn, 4))
        most_mib = largest_mib(process)

    print(f"\n{GOOD} heartbeats in {alone:.2f} s, beside {HOSTILE} hostile in {beside:.2f} s; {most_mib:.0f} MiB")  # noqa: T201  # figures
    assert beside <= 1.2 * alone + 0.2
    assert most_mib < 256
    assert conn.execute("select count(*) from autoscaler.nodes where status = 'ERROR'").fetchone() == (0,)
