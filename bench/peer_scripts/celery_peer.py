"""Celery on PGMQ, through Kombu: `fill NUMBER`; its worker is `celery` on this module. Run by bench/peers/."""

# mypy: ignore-errors
# Its packages are in .venv-peers only.

import os
import sys

from celery import Celery
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool

from bench.peer_scripts import MOVE

DSN = os.environ["DATABASE_URL"]
CONNECTIONS = int(os.environ["PEER_CONNECTIONS"])
QUEUE = "bench_celery"
FILL_BATCH = 1000

app = Celery("bench", broker="pgmq://", set_as_current=True)
app.conf.update(
    # PGMQ is there without being an extension, and its client reads no socket out of a URL. With the default pause it
    # sleeps for a second whenever as much as it may is taken.
    broker_transport_options={
        "conn_string": make_conninfo(**conninfo_to_dict(DSN)),
        "init_extension": False,
        "pool_size": CONNECTIONS,
        "polling_interval": 0.01,
    },
    task_default_queue=QUEUE,
    task_ignore_result=True,
    # Acknowledged when it is done, as all the others do: by default Celery does so before it begins.
    task_acks_late=True,
    worker_prefetch_multiplier=int(os.environ["PEER_BATCH"]),
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
)
pool = ConnectionPool(DSN, min_size=0, max_size=CONNECTIONS, open=True, kwargs={"autocommit": True})


@app.task(name="finish")
def finish(job_id: int) -> None:
    with pool.connection() as connection:
        connection.execute(MOVE, (job_id,))


def fill(number: int) -> None:
    """The messages that `finish.delay` sends, in batches: filling is not what is measured."""
    with app.connection_for_write() as connection, connection.channel() as channel:
        app.amqp.queues[QUEUE].bind(channel).declare()
        messages = []
        channel._put = lambda _queue, message, **_: messages.append(message)  # noqa: SLF001  # where each is sent
        producer = app.amqp.Producer(channel, auto_declare=False)
        for n in range(1, number + 1):
            finish.apply_async((n,), producer=producer)
        for first in range(0, number, FILL_BATCH):
            batch = messages[first : first + FILL_BATCH]
            channel.pgmq.send_batch(QUEUE, batch, headers=[message["headers"] for message in batch])


if __name__ == "__main__":
    fill(int(sys.argv[2]))
    pool.close()
