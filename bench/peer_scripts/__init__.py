"""What the job of every peer does: one guarded update and its row of history, in one statement and one transaction.

The row of history is what pgfleet writes for a move, column for column. Here the job writes it and the table's triggers
are off: they are made for batches, and would cost a peer, which moves one row at a time, more than this does.
"""

# With psycopg's placeholder, and with asyncpg's.
MOVE = """
with moved as (
  update public.bench_jobs set status = 'done', status_reason = 'finished', status_msg_id = job_id
  where job_id = %s and status = 'ready'
  returning job_id, status_reason, status_msg_id
)
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, msg_id)
select 'bench_job', job_id::text, 'ready', 'done', status_reason, 'peer', status_msg_id from moved
"""
MOVE_OF_ASYNCPG = MOVE.replace("%s", "$1")
