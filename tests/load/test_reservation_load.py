"""Two worker processes and 2,000 reservations: every row ends, and no GPU is ever given twice."""

import random
from collections import Counter
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.console.sandbox import server as sandbox
from worlds.fleet import Connection, assert_sound, new_id, until, worker_process
from worlds.reservations import QUEUE

NUMBER = 2000
GPUS = {"h100": 160, "a100": 80}

# At every commit, whoever commits: held GPUs are those of the rows, and no more than there are.
WATCH = """
create function assert_gpus() returns trigger language plpgsql security definer as $$
begin
  if exists (
    select from public.gpu_types g
    where g.gpu_type = coalesce(new.gpu_type, old.gpu_type) and (
      g.held_gpus > g.total_cluster_gpus
      or g.held_gpus <> (
        select coalesce(sum(r.gpus_held), 0) from public.reservations r
        where r.gpu_type = g.gpu_type and r.gpus_held > 0))
  ) then
    raise exception 'GPUs of % were given twice', new.gpu_type;
  end if;
  return null;
end
$$;
create index held_idx on public.reservations (gpu_type) include (gpus_held) where gpus_held > 0;
create constraint trigger assert_gpus after update of gpus_held on public.reservations
  deferrable initially deferred for each row execute function assert_gpus();
"""


def test_two_workers_take_2000_reservations_to_their_end(dsn: str, conn: Connection) -> None:
    dice = random.Random(3)
    conn.execute(WATCH)
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
