"""The raw limit: the same moves by bare psycopg, without validation, steps, history or dramatiq."""

from bench.drain import in_threads
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

CLAIM = """
with picked as (
  select msg_id from pgmq.q_bench_jobs where vt <= clock_timestamp() order by msg_id
  limit %s for update skip locked
)
update pgmq.q_bench_jobs q set vt = clock_timestamp() + interval '90 seconds', read_ct = q.read_ct + 1
from picked where q.msg_id = picked.msg_id returning q.msg_id, q.message
"""
MOVE = "update public.bench_jobs set status = 'done' where job_id = %s and status = 'ready'"
DELETE = "delete from pgmq.q_bench_jobs where msg_id = any(%s)"


def run(dsn: str, *, threads: int, batch: int) -> float:
    """Empty the queue with pipelined transactions; seconds."""
    return in_threads(threads, lambda: _work(dsn, batch))


def _work(dsn: str, batch: int) -> None:
    with open_session(dsn, autocommit=True, prepare_threshold=5) as conn:
        while _one_batch(conn, batch):
            pass


def _one_batch(conn: Connection, batch: int) -> bool:
    claimed = conn.execute(CLAIM, (batch,)).fetchall()
    if not claimed:
        return False
    with conn.pipeline(), conn.transaction():
        for _, body in claimed:
            conn.execute(MOVE, (body["job_id"],))
        conn.execute(DELETE, ([row[0] for row in claimed],))
    return True
