"""A fleet that lives: what `pgfleet up` has in its sandbox, people who use it, and a month that lies behind them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from pgfleet.console import sandbox
from pgfleet.console.local.capacity import set_capacity
from pgfleet.console.local.disks import put_back_disks
from pgfleet.console.local.up import NODES
from pgfleet.console.sandbox.aws.handle import BUCKET
from worlds import clusters
from worlds.api.server import Connection
from worlds.fleet import until, worker_process
from worlds.web.site import Site, site_on

BEHIND = Path(__file__).with_name("lively.sql").read_text(encoding="utf-8")
RUNNING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ada", {"gpu_type": "h100", "gpu_count": 8, "duration_hours": 9, "name": "llama fine-tune", "disk_name": "home"}),
    ("grace", {"gpu_type": "h100", "gpu_count": 4, "duration_hours": 3, "name": "diffusion run 13"}),
    ("linus", {"gpu_type": "h100", "gpu_count": 2, "duration_hours": 1.5, "name": "kernel bisect"}),
    ("margaret", {"gpu_type": "a100", "gpu_count": 4, "duration_hours": 20, "name": "protein folding"}),
    ("edsger", {"gpu_type": "a100", "gpu_count": 1, "duration_hours": 6, "name": "shortest paths"}),
    ("barbara", {"gpu_type": "t4", "gpu_count": 2, "duration_hours": 2, "name": "demo", "jupyter_enabled": True}),
)
WAITING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("barbara", {"gpu_type": "h100", "gpu_count": 8, "duration_hours": 6, "name": "eval of checkpoints"}),
    ("edsger", {"gpu_type": "h100", "gpu_count": 4, "duration_hours": 12, "name": "tokeniser sweep"}),
    ("ada", {"gpu_type": "h100", "gpu_count": 8, "duration_hours": 2, "name": "router ablation", "total_nodes": 2}),
    ("grace", {"gpu_type": "a100", "gpu_count": 8, "duration_hours": 4, "name": "speech distillation"}),
)
MEASURED = """
  insert into public.figures (at, figure, about, state, value)
  select date_bin('5 minutes', now(), 'epoch') - n * interval '5 minutes', 'cluster_score', %(cluster)s, '',
    0.8 + 0.18 * sin(n / 40.0) from generate_series(1, 287) n;
  insert into clusters.cluster_metrics (cluster_id, node_id, metrics, timestamp)
  select %(cluster)s, %(node)s, jsonb_build_object('cpu_usage_percent', 45 + 30 * sin(n / 30.0), 'load_average', 3,
    'memory_usage_percent', 61, 'disk_usage_percent', 30 + n / 10), now() - n * interval '10 minutes'
  from generate_series(1, 143) n
"""
RUNS = "select count(*) from public.reservations where status = 'active'"
IN_LINE = "select count(*) from public.reservations where status = 'queued' and current_detailed_status is not null"


@contextmanager
def lively(dsn: str) -> Iterator[Site]:
    """Until the end of the block, with workers of reservations and disks."""
    with sandbox.running(NODES.split(","), aws=True, ready_delay_s=0.5) as box, site_on(dsn) as site:
        conn = site.api.conn
        set_capacity(conn, NODES.split(","))
        conn.execute(BEHIND.encode())
        put_back_disks(conn, box)
        _clusters(conn)
        with (
            mock.patch.dict(os.environ, box.aws_environment),
            worker_process(dsn, box),
            worker_process(dsn, box, "pgfleet.workers.disk", contents_bucket=BUCKET),
        ):
            # The largest first, as it needs a node of its own.
            _ask(site, *RUNNING[0])
            until(lambda: _number(conn, RUNS) == 1, what="the first active reservation")
            for user, wish in RUNNING[1:]:
                _ask(site, user, wish)
            until(lambda: _number(conn, RUNS) == len(RUNNING), what=f"{len(RUNNING)} active reservations")
            for user, wish in WAITING:
                _ask(site, user, wish)
            until(lambda: _number(conn, IN_LINE) > len(WAITING), what="the gang and the others in line")
            yield site


def _ask(site: Site, user: str, wish: dict[str, Any]) -> None:
    with site.api.as_user(user) as client:
        made = client.post("/v1/reservations", json={"github_user": user, **wish})
    assert made.status_code == 202, made.text


def _clusters(conn: Connection) -> None:
    """Two: one in which all is well but for a node, and one that has lost most of its nodes."""
    for name, *healths in (("payments", *["healthy"] * 5, "warning"), ("search", "healthy", "critical", "critical")):
        cluster = clusters.create(conn, name, p_region="frankfurt", p_max_nodes=12)
        nodes = [clusters.online(conn, cluster, health, name=f"{name}-{n}") for n, health in enumerate(healths, 1)]
        clusters.promote(conn, nodes[0])
        for statement in MEASURED.split(";\n"):
            conn.execute(statement.encode(), {"cluster": cluster, "node": nodes[0]})


def _number(conn: Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
