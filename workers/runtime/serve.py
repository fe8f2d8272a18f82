"""Joins a kind to dramatiq: `serve(KIND)` in a kind's package makes `dramatiq pgfleet.workers.<kind>` run it."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Event
from typing import Any

import dramatiq
import structlog
from prometheus_client import start_http_server
from psycopg_pool import ConnectionPool

from pgfleet.schema.database.dsn import ALIVE, connect, is_pooler
from pgfleet.schema.database.missing import verify
from pgfleet.schema.errors import FleetError
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings, read_settings
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.broker import FleetBroker
from pgfleet.workers.runtime.kind import AnyKind
from pgfleet.workers.runtime.leases import LeaseKeeper, Leases
from pgfleet.workers.runtime.logs import set_up_logs
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.settle import Author
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.wake import Listener
from pgfleet.workers.runtime.work import work

log: structlog.stdlib.BoundLogger = structlog.get_logger()

EXIT_USAGE = 2


def serve(kind: AnyKind) -> dramatiq.Actor[[list[Task]], None]:
    """Declare a kind on this process's broker. Nothing is connected until the worker boots."""
    broker = dramatiq_broker()
    lifecycle = next(m for m in broker.middleware if isinstance(m, Lifecycle))
    lifecycle.kinds[kind.queue] = kind

    def consume(tasks: list[Task]) -> None:
        work(broker.running[kind.queue], tasks)

    return dramatiq.actor(actor_name=kind.name, queue_name=kind.queue, broker=broker)(consume)


def dramatiq_broker() -> FleetBroker:
    """The process's broker, ours; dramatiq's command line finds it as the global one."""
    if not isinstance(dramatiq.broker.global_broker, FleetBroker):
        dramatiq.set_broker(FleetBroker(middleware=[Lifecycle()]))
    broker = dramatiq.get_broker()
    assert isinstance(broker, FleetBroker)  # noqa: S101  # for the type checker
    return broker


class Lifecycle(dramatiq.Middleware):
    """Opens what a worker process needs when it boots, drains at shutdown, closes it after."""

    def __init__(self) -> None:
        self.kinds: dict[str, AnyKind] = {}
        self.draining = Event()
        self.listener: Listener | None = None
        self.keeper: LeaseKeeper | None = None
        self.open = ExitStack()

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        try:
            self.boot(broker, worker.worker_threads)
        except FleetError as error:
            log.error("worker.refused", reason=str(error))  # noqa: TRY400  # the text is all there is to say
            raise SystemExit(EXIT_USAGE) from None

    def boot(self, broker: dramatiq.Broker, threads: int) -> None:
        settings = read_settings()
        set_up_logs()
        assert isinstance(broker, FleetBroker)  # noqa: S101  # for the type checker
        pool = self.open.enter_context(open_pool(settings, threads))
        for queue, kind in self.kinds.items():
            broker.running[queue] = self.open.enter_context(run_kind(kind, settings, pool, self.draining))
        leases = {queue: running.leases for queue, running in broker.running.items()}
        arrived = {queue: running.arrived for queue, running in broker.running.items()}
        self.keeper = LeaseKeeper(settings.dsn(), leases, settings.lease_s)
        self.keeper.start()
        if settings.metrics_port:
            start_http_server(settings.metrics_port)
            metrics.watch_depth(pool, list(broker.running), self.draining)
        self.listener = Listener(settings.direct_dsn(), arrived)
        self.listener.start()
        log.info("worker.started", kinds=[kind.name for kind in self.kinds.values()], threads=threads)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        log.info("worker.draining")
        self.draining.set()
        if self.keeper is not None:
            # A lease lasts longer than a shutdown; a renewal could only hide again what is being given back.
            self.keeper.stop()
        assert isinstance(broker, FleetBroker)  # noqa: S101  # for the type checker
        for running in broker.running.values():
            running.arrived.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        if self.listener is not None:
            self.listener.stop()
        self.open.close()
        log.info("worker.stopped")


def open_pool(settings: Settings, threads: int) -> ConnectionPool[Connection]:
    """Connections for the threads of a process, checked against the schema that the program needs.

    Raises:
        FleetError: the server can't be reached, or lacks something; the message says what to do.
    """
    dsn = settings.dsn()
    with connect(dsn, autocommit=True) as conn:
        verify(conn)
        pooled = settings.pooled or is_pooler(conn)
    kwargs: dict[str, Any] = {"autocommit": True, **ALIVE}
    if pooled:
        kwargs["prepare_threshold"] = None
    configure = None if pooled else partial(_limit, int(settings.statement_timeout_s * 1000))
    return ConnectionPool(
        dsn, min_size=2, max_size=threads + 3, kwargs=kwargs, configure=configure, open=True, timeout=5
    )


def _limit(milliseconds: int, conn: Connection) -> None:
    """Limit each statement and open transaction. Not through a pooler, which would give the limit to other clients."""
    conn.execute(
        "select set_config('statement_timeout', %(most)s, false),"
        " set_config('idle_in_transaction_session_timeout', %(most)s, false)",
        {"most": f"{milliseconds}ms"},
    )


@contextmanager
def run_kind(kind: AnyKind, settings: Settings, pool: ConnectionPool[Connection], draining: Event) -> Iterator[Running]:
    """A kind in this process, with its tools open and its effect threads."""
    author = Author(f"{kind.name}@{socket.gethostname()}:{os.getpid()}", settings.statement_timeout_s)
    with ExitStack() as stack:
        tools = stack.enter_context(kind.tools(settings))
        threads = None
        if kind.effects:
            threads = stack.enter_context(ThreadPoolExecutor(settings.effect_threads, f"{kind.name}-effect"))
        yield Running(kind, settings, pool, Leases(settings.lease_s), author, tools, draining, Event(), threads)
