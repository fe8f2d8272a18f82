"""Procrastinate, asynchronous as its documents advise, on uvloop: `fill NUMBER`, then `work`. Run by bench/peers/."""

# mypy: ignore-errors
# Its packages are in .venv-peers only.

import logging
import os
import sys

import procrastinate
import uvloop
from psycopg_pool import AsyncConnectionPool

from bench.peer_scripts import MOVE

DSN = os.environ["DATABASE_URL"]
CONNECTIONS = int(os.environ["PEER_CONNECTIONS"])
CONCURRENCY = int(os.environ["PEER_BATCH"])
FILL_BATCH = 1000
INSTALLED = "select to_regclass('public.procrastinate_jobs') is not null as installed"

# It warns that an app in the main module has tasks named after it; here both processes have the same.
logging.getLogger("procrastinate").setLevel(logging.ERROR)

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=DSN, min_size=CONNECTIONS, max_size=CONNECTIONS)
)
pool = AsyncConnectionPool(DSN, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, kwargs={"autocommit": True})


@app.task(queue="bench", pass_context=False)
async def finish(job_id: int) -> None:
    async with pool.connection() as connection:
        await connection.execute(MOVE, (job_id,))


async def fill(number: int) -> None:
    async with app.open_async():
        found = await app.connector.execute_query_one_async(INSTALLED)
        if not found["installed"]:
            await app.schema_manager.apply_schema_async()
        for first in range(1, number + 1, FILL_BATCH):
            ids = range(first, min(first + FILL_BATCH, number + 1))
            await finish.batch_defer_async(*({"job_id": n} for n in ids))


async def work() -> None:
    async with app.open_async(), pool:
        await app.run_worker_async(queues=["bench"], concurrency=CONCURRENCY)


uvloop.run(fill(int(sys.argv[2])) if sys.argv[1] == "fill" else work())
