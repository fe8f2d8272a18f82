"""Oban for Python: `fill NUMBER`, then `work` until SIGTERM. Run by bench/peers/."""

# mypy: ignore-errors
# Its packages are in .venv-peers only.

import asyncio
import os
import signal
import sys

import uvloop
from oban import Job, Oban, worker
from oban.schema import install
from psycopg_pool import AsyncConnectionPool

from bench.peer_scripts import MOVE

DSN = os.environ["DATABASE_URL"]
CONNECTIONS = int(os.environ["PEER_CONNECTIONS"])
LIMIT = int(os.environ["PEER_BATCH"])
INSTALLED = "select to_regclass('public.oban_jobs') is not null"

pool = AsyncConnectionPool(DSN, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, kwargs={"autocommit": True})


@worker(queue="bench")
class Finish:
    async def process(self, job: Job) -> None:
        async with pool.connection() as connection:
            await connection.execute(MOVE, (job.args["job_id"],))


async def fill(number: int) -> None:
    async with pool:
        async with pool.connection() as connection:
            installed = await (await connection.execute(INSTALLED)).fetchone()
        if not installed[0]:
            await install(pool)
        async with pool.connection() as connection, connection.transaction():
            await Oban(pool=pool).enqueue_many(
                (Finish.new({"job_id": n}) for n in range(1, number + 1)), conn=connection
            )


async def work() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    its_own = AsyncConnectionPool(DSN, min_size=4, max_size=10, open=False)
    async with pool, its_own, Oban(pool=its_own, queues={"bench": LIMIT}):
        await ended.wait()


uvloop.run(fill(int(sys.argv[2])) if sys.argv[1] == "fill" else work())
