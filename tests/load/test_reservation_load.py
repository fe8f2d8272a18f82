"""Two worker processes and 2,000 reservations: every row ends, and no GPU is ever given twice."""

import random
from collections import Counter
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.console.sandbox import server as sandbox
from worlds.fleet import Connection, assert_sound, new_id, until, worker_process
from worlds.lines.overcommitted import refuse_overcommitment
from worlds.reservations import QUEUE

NUMBER = 2000
GPUS = {"h100": 160, "a100": 80}


def test_two_workers_take_2000_reservations_to_their_end(dsn: str, conn: Connection) -> None:
    dice = random.Random(3)
    refuse_overcommitment(conn)
    for gpu_type, total in GPUS.items():
        conn.execute("update public.gpu_types set total_cluster_gpus = %s where gpu_type = %s", (total, gpu_type))
    rows = [new_id() for _ in range(NUMBER)]
    bodies = [
        {
            "action": "create_reservation",
            "reservation_id": row_id,
            "user_id": f"user-{number % 50}",
            "github_user": "ada",
            "gpu_type": dice.choice(list(GPUS)),
            "gpu_count": dice.choice((1, 1, 2, 4, 8)),
            "duration_hours": 0.0001,
        }
        for number, row_id in enumerate(rows)
    ]
    nodes = [f"{gpu_type}:{total // 8}x8" for gpu_type, total in GPUS.items()]
    settings: dict[str, Any] = {"expiry_grace_s": 0, "pod_poll_s": 0.5, "teardown_poll_s": 0.5, "unschedulable_s": 2}
    with (
        sandbox.spawned(nodes, ready_delay_s=0.05, termination_delay_s=0.05, scheduling_retry_s=0.3) as box,
        worker_process(dsn, box, **settings),
        worker_process(dsn, box, **settings),
    ):
        conn.execute("select pgmq.send_batch(%s, %s::jsonb[])", (QUEUE, [Jsonb(body) for body in bodies]))
        until(lambda: ended(conn) == NUMBER, within_s=240, what="the end of all rows")
        state = box.state()

    statuses = Counter(row[0] for row in conn.execute("select status from public.reservations"))
    assert statuses == {"expired": NUMBER}
    assert conn.execute("select count(*) from public.dead_letters").fetchone() == (0,)
    assert_sound(conn)
    assert state["objects"]["pods"] == 0
    assert state["objects"]["services"] == 0


def ended(conn: Connection) -> int:
    row = conn.execute("select count(reservation_ended) from public.reservations").fetchone()
    return 0 if row is None else row[0]
