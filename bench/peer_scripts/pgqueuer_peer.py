"""PgQueuer on asyncpg and uvloop: `fill NUMBER`, then `work` until SIGTERM. Run by bench/peers/."""

# mypy: ignore-errors
# Its packages are in .venv-peers only.

import asyncio
import os
import signal
import sys

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench.peer_scripts import MOVE_OF_ASYNCPG

DSN = os.environ["DATABASE_URL"]
BATCH = int(os.environ["PEER_BATCH"])
CONNECTIONS = int(os.environ["PEER_CONNECTIONS"])
FILL_BATCH = 1000


async def fill(number: int) -> None:
    connection = await asyncpg.connect(DSN)
    queries = Queries(AsyncpgDriver(connection))
    if not await queries.schema_is_installed():
        await queries.install()
    for first in range(1, number + 1, FILL_BATCH):
        ids = range(first, min(first + FILL_BATCH, number + 1))
        await queries.enqueue(["finish"] * len(ids), [str(n).encode() for n in ids], [0] * len(ids))
    await connection.close()


async def work() -> None:
    async with asyncpg.create_pool(DSN, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        pgq = PgQueuer(AsyncpgPoolDriver(pool))

        @pgq.entrypoint("finish")
        async def finish(job: Job) -> None:
            await pool.execute(MOVE_OF_ASYNCPG, int(job.payload))

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, pgq.qm.shutdown.set)
        await pgq.qm.run(batch_size=BATCH)


uvloop.run(fill(int(sys.argv[2])) if sys.argv[1] == "fill" else work())
