"""dramatiq-postgres: `fill NUMBER`; its worker is `dramatiq` on this module. Run by bench/peers/."""

# mypy: ignore-errors
# Its packages are in .venv-peers only.

import os
import sys

import dramatiq
import psycopg
from dramatiq_postgres import PostgresBroker
from dramatiq_postgres.schema import init, schema_exists
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from bench.peer_scripts import MOVE

DSN = os.environ["DATABASE_URL"]
CONNECTIONS = int(os.environ["PEER_CONNECTIONS"])
ENQUEUE = """
insert into dramatiq.queue (queue_name, message_id, state, message, available_at)
values (%s, %s, 'queued', %s, now())
"""

broker = PostgresBroker(url=f"{DSN}{'&' if '?' in DSN else '?'}maxconn={CONNECTIONS}", results=False)
dramatiq.set_broker(broker)
pool = ConnectionPool(DSN, min_size=0, max_size=CONNECTIONS, open=True, kwargs={"autocommit": True})


@dramatiq.actor(queue_name="bench")
def finish(job_id: int) -> None:
    with pool.connection() as connection:
        connection.execute(MOVE, (job_id,))


def fill(number: int) -> None:
    """The rows that `finish.send` writes, in one pipeline: filling is not what is measured."""
    with psycopg.connect(DSN) as connection, connection.cursor() as cursor:
        if not schema_exists(cursor):
            init(cursor)
        messages = (finish.message(n) for n in range(1, number + 1))
        cursor.executemany(
            ENQUEUE, [(message.queue_name, message.message_id, Jsonb(message.asdict())) for message in messages]
        )


if __name__ == "__main__":
    fill(int(sys.argv[2]))
    pool.close()
    broker.close()
