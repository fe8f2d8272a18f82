"""Chancy, its jobs on asyncio: `fill NUMBER`, then `work` until SIGTERM. Run by bench/peers/."""

# mypy: ignore-errors
# Its packages are in .venv-peers only.

import logging
import os
import sys

import uvloop
from chancy import Chancy, Queue, Worker, job
from chancy.plugins.leadership import Leadership
from chancy.plugins.pruner import Pruner
from chancy.plugins.recovery import Recovery
from psycopg_pool import AsyncConnectionPool

from bench.peer_scripts import MOVE

DSN = os.environ["DATABASE_URL"]
CONNECTIONS = int(os.environ["PEER_CONNECTIONS"])
CONCURRENCY = int(os.environ["PEER_BATCH"])
# How often what has ended is written: the default of a second would be most of the last of these jobs' time.
WRITE_S = 0.05

log = logging.getLogger("chancy")
log.setLevel(logging.WARNING)
pool = AsyncConnectionPool(DSN, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, kwargs={"autocommit": True})


@job(queue="bench")
async def finish(*, job_id: int) -> None:
    async with pool.connection() as connection:
        await connection.execute(MOVE, (job_id,))


def app() -> Chancy:
    # Of the plugins that it starts by itself, those that what it promises needs; not its metrics and workflows.
    return Chancy(DSN, log=log, plugins=[Leadership(), Pruner(), Recovery()], no_default_plugins=True)


async def fill(number: int) -> None:
    async with app() as chancy:
        await chancy.migrate()
        # Every worker has the queue "default", too: by default with a pool of processes.
        for name in ("default", "bench"):
            queue = Queue(name, concurrency=CONCURRENCY, executor=Chancy.Executor.Async, eager_polling=True)
            await chancy.declare(queue, upsert=True)
        async for _ in chancy.push_many([finish.job.with_kwargs(job_id=n) for n in range(1, number + 1)]):
            pass


async def work() -> None:
    async with app() as chancy, pool:
        worker = Worker(chancy)
        worker.send_outgoing_interval = WRITE_S
        async with worker:
            await worker.wait_for_shutdown()


if __name__ == "__main__":
    # It finds a job by its module's name, and the pool has to be that module's.
    from bench.peer_scripts.chancy_peer import fill, work

    uvloop.run(fill(int(sys.argv[2])) if sys.argv[1] == "fill" else work())
