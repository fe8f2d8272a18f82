"""The peers: how each is started, and the settings that its documents advise; of what they offer, what was fastest."""

from dataclasses import dataclass
from typing import LiteralString


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer; `work` is its worker's command after `python -m`, without one its script's own.

    `left` counts the jobs that it has not acknowledged, `empty` removes what it keeps of them, `python` is what it
    needs.
    """

    name: str
    module: str
    left: LiteralString
    empty: LiteralString
    title: str
    settings: str
    batch: int
    connections: int
    work: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 10)

    def worker(self, python: str) -> list[str]:
        return [python, "-m", *(self.work or (self.module, "work"))]


PEERS = (
    Peer(
        "pgqueuer",
        "bench.peer_scripts.pgqueuer_peer",
        "select count(*) from public.pgqueuer",
        "truncate public.pgqueuer, public.pgqueuer_log",
        "PgQueuer 1.6.0",
        "asyncpg pool of 40, uvloop, durable, batch_size 200",
        batch=200,
        connections=40,
    ),
    Peer(
        "procrastinate",
        "bench.peer_scripts.procrastinate_peer",
        "select count(*) from public.procrastinate_jobs where status in ('todo', 'doing')",
        "truncate public.procrastinate_jobs cascade",
        "Procrastinate 3.10.0",
        "asynchronous, uvloop, concurrency 10, pools of 20 connections",
        batch=10,
        connections=20,
    ),
    Peer(
        "dramatiq-postgres",
        "bench.peer_scripts.dramatiq_postgres_peer",
        "select count(*) from dramatiq.queue",
        "truncate dramatiq.queue",
        "dramatiq-postgres 1.4.0",
        "16 threads, pools of 32 connections, results off",
        batch=0,
        connections=32,
        work=("dramatiq", "bench.peer_scripts.dramatiq_postgres_peer", "-p", "1", "-t", "16", "--skip-logging"),
    ),
    Peer(
        "chancy",
        "bench.peer_scripts.chancy_peer",
        "select count(*) from public.chancy_jobs where state in ('pending', 'running', 'retrying')",
        "truncate public.chancy_jobs",
        "Chancy 0.26.0",
        "AsyncExecutor, uvloop, concurrency 400, eager_polling, pools of 10 and 40, ends written each 50 ms",
        batch=400,
        connections=40,
        python=(3, 11),
    ),
    Peer(
        "celery-pgmq",
        "bench.peer_scripts.celery_peer",
        "select count(*) from pgmq.q_bench_celery",
        "truncate pgmq.q_bench_celery",
        "Celery 5.7.0 on PGMQ",
        "Kombu 5.7.0, 16 threads, acks_late, prefetch multiplier 20, pools of 32, results and remote control off",
        batch=20,
        connections=32,
        work=(
            *(
                "celery",
                "--quiet",
                "-A",
                "bench.peer_scripts.celery_peer",
                "worker",
                "--pool",
                "threads",
                "--concurrency",
                "16",
            ),
            *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"),
        ),
    ),
    Peer(
        "oban",
        "bench.peer_scripts.oban_peer",
        "select count(*) from public.oban_jobs where state in ('available', 'executing', 'retryable')",
        "truncate public.oban_jobs",
        "Oban 0.7.0 for Python",
        "uvloop, limit 200, pools of 10 and 40 connections",
        batch=200,
        connections=40,
        python=(3, 12),
    ),
)
