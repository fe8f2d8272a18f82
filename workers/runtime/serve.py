"""Joins a kind to dramatiq: `serve(KIND)` in a kind's package makes `dramatiq pgfleet.workers.<kind>` run it."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Event
from typing import TypeVar

import dramatiq
import structlog

from pgfleet.schema.database.deadline import GRACE_S
from pgfleet.schema.database.missing import verify
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.database.sessions import connect, is_pooler, open_session
from pgfleet.schema.environment.garbage import keep_what_is_loaded
from pgfleet.schema.environment.misspelt import misspelt
from pgfleet.schema.errors import FleetError
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings, read_settings
from pgfleet.schema.tracing.exporting import exported
from pgfleet.workers.runtime.broker import FleetBroker
from pgfleet.workers.runtime.inside.ending import Ending, ended_at_once
from pgfleet.workers.runtime.inside.hangs import HangWatch
from pgfleet.workers.runtime.inside.life import Life
from pgfleet.workers.runtime.inside.opening import in_words, opened
from pgfleet.workers.runtime.inside.progress import Progress
from pgfleet.workers.runtime.inside.rights import check_fleet, check_rights
from pgfleet.workers.runtime.inside.threads import Threads
from pgfleet.workers.runtime.inside.trouble import Trouble
from pgfleet.workers.runtime.kind import AnyKind, Kind
from pgfleet.workers.runtime.leases import LeaseKeeper, Leases
from pgfleet.workers.runtime.logs import set_up_logs
from pgfleet.workers.runtime.outside import port
from pgfleet.workers.runtime.outside.breakers import Breakers
from pgfleet.workers.runtime.outside.probes import Prober
from pgfleet.workers.runtime.outside.readiness import Readiness
from pgfleet.workers.runtime.outside.slow import keep_place
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.settle import Author
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.wake import Listener
from pgfleet.workers.runtime.work import work

log: structlog.stdlib.BoundLogger = structlog.get_logger()

EXIT_USAGE = 2
# A transaction may last as long as so many statements: until then a client that waits has given it up.
# The server's own: after so many seconds of silence it asks, so often, and gives a machine up that is gone.
KEEPALIVES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
TRANSACTION_STATEMENTS = 3
R = TypeVar("R")


def serve(kind: AnyKind) -> dramatiq.Actor[[list[Task]], None]:
    """Declare a kind on this process's broker. Nothing is connected until the worker boots."""
    broker = dramatiq_broker()
    lifecycle = next(m for m in broker.middleware if isinstance(m, Lifecycle))
    lifecycle.kinds[kind.queue] = kind

    def consume(tasks: list[Task]) -> None:
        # In a thread of ours: dramatiq's goes on when it hangs.
        keep_place(broker.running[kind.queue], lifecycle.claims, work, tasks)

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
        self.prober: Prober | None = None
        self.claims = Threads(0, "claim")
        self.hangs: HangWatch | None = None
        self.ending: Ending | None = None
        self.open = ExitStack()

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        try:
            with ended_at_once():
                self.boot(broker, worker.worker_threads)
        except FleetError as error:
            refused = str(error)
        except Exception as error:  # dramatiq would go on without what could not be opened
            refused = f"The worker can't start: {in_words(error)}"
            log.debug("worker.boot_failed", exc_info=True)
        else:
            return
        log.error("worker.refused", reason=refused)
        raise SystemExit(EXIT_USAGE)

    def boot(self, broker: dramatiq.Broker, threads: int) -> None:
        set_up_logs()
        self.open.enter_context(exported("pgfleet-worker-" + "-".join(kind.name for kind in self.kinds.values())))
        settings = read_settings()
        for given, meant in misspelt(os.environ).items():
            log.warning("settings.unknown", variable=given, meant=meant)
        assert isinstance(broker, FleetBroker)  # noqa: S101  # for the type checker
        check_schema(settings)
        pool = self.open.enter_context(open_pool(settings, threads))
        _use(pool, lambda conn: check_rights(conn, list(self.kinds)))
        _use(pool, lambda conn: check_fleet(conn, settings.fleet))
        for queue, kind in self.kinds.items():
            running = self.open.enter_context(run_kind(kind, settings, pool, self.draining))
            broker.running[queue] = running
        every = list(broker.running.values())
        for running in every:
            if isinstance(running.kind, Kind) and running.kind.watch is not None:
                self.open.enter_context(running.kind.watch(running))
        self._start(settings, every, threads)

    def _start(self, settings: Settings, every: list[Running], threads: int) -> None:
        pool = every[0].pool
        self.claims = Threads(threads, "claim")
        self.ending = Ending(every, settings.drain_s)
        self.keeper = LeaseKeeper(settings.dsn(), {each.kind.queue: each.leases for each in every}, settings.lease_s)
        readiness = Readiness(every, self.draining, [*(each.trouble for each in every), self.keeper.trouble])
        self.prober = Prober([each for each in every if isinstance(each.kind, Kind)])
        self.hangs = HangWatch(every, self.claims)
        self.listener = Listener(
            settings.direct_dsn(), {each.kind.queue: each.arrived for each in every}, lambda: pool.losses
        )
        started = [self.keeper, self.prober, self.hangs, self.listener, readiness]
        life = Life(every, started, {"the lease keeper": self.keeper.pulse, "the hang watch": self.hangs.pulse})
        threading.excepthook = life.note_death
        if settings.metrics_port:
            probes = {
                "/livez": lambda: port.Shown(life.problems()),
                "/readyz": lambda: port.Shown([*readiness.lacking(), *pool.lacking()], readiness.warnings()),
            }
            own = port.port_of_process(settings.metrics_port)
            port.serve(settings.metrics_host, own, probes, settings.fleet)
        keep_what_is_loaded()
        for thread in started:
            thread.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        log.info("worker.draining")
        if self.ending is not None:
            self.ending.start()
        self.draining.set()
        if self.keeper is not None:
            # A lease lasts longer than a shutdown; a renewal could only hide again what is being given back.
            self.keeper.stop()
        assert isinstance(broker, FleetBroker)  # noqa: S101  # for the type checker
        for running in broker.running.values():
            running.arrived.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        if self.ending is not None:
            self.ending.wait()
        for thread in (self.prober, self.listener, self.hangs):
            if thread is not None:
                thread.stop()
        self.claims.stop()
        self.open.close()
        log.info("worker.stopped")


def check_schema(settings: Settings) -> None:
    """Compare the database with what the program needs.

    Raises:
        FleetError: the server can't be reached, or lacks something; the message says what to do.
    """
    with connect(settings.dsn(), autocommit=True) as conn:
        altered = verify(conn)
    if altered:
        log.warning("schema.altered", what=altered, advice="pgfleet migrate")


def open_pool(settings: Settings, threads: int) -> Pool:
    """Connections for the threads of a process.

    Raises:
        FleetError: the server can't be reached.
    """
    with connect(settings.dsn(), autocommit=True) as conn:
        pooled = settings.pooled or is_pooler(conn)
    if settings.pooled:
        connect(settings.direct_dsn()).close()
    return Pool(partial(_open_one, settings, pooled=pooled), threads + 3)


def _open_one(settings: Settings, *, pooled: bool) -> Connection:
    """A session for the pool, whose statements are prepared and limited where it is our own."""
    longest_s = settings.statement_timeout_s + GRACE_S
    if pooled:
        return open_session(settings.dsn(), autocommit=True, longest_s=longest_s, writes=True)
    conn = open_session(settings.dsn(), autocommit=True, longest_s=longest_s, writes=True, prepare_threshold=5)
    try:
        _limit(settings.statement_timeout_s, conn)
    except BaseException:
        conn.close()
        raise
    return conn


def _limit(statement_s: float, conn: Connection) -> None:
    """Limit each statement and transaction. Not through a pooler, which would give the limits to other clients.

    A pipeline ends with a flush, at which the server forgets to count a session as idle: only the limit of the whole
    transaction lets go of the rows of one that falls silent before its commit. Servers before 17 have none; that a
    worker's machine is gone, any server learns by TCP alone, which by itself takes hours.
    """
    limits = {
        "statement_timeout": statement_s,
        "idle_in_transaction_session_timeout": statement_s,
        "transaction_timeout": TRANSACTION_STATEMENTS * statement_s,
    }
    values = {name: f"{int(seconds * 1000)}ms" for name, seconds in limits.items()} | KEEPALIVES
    conn.execute(
        "select set_config(name, value, false) from unnest(%s::text[], %s::text[]) as wanted (name, value)"
        " where current_setting(name, true) is not null",
        (list(values), list(values.values())),
    )


def _use(pool: Pool, use: Callable[[Connection], R]) -> R:
    with pool.connection(timeout=5) as conn:
        return use(conn)


@contextmanager
def run_kind(kind: AnyKind, settings: Settings, pool: Pool, draining: Event) -> Iterator[Running]:
    """A kind in this process, with its tools open and its effect threads."""
    author = Author(f"{kind.name}@{socket.gethostname()}:{os.getpid()}", settings.statement_timeout_s)
    outlasts = kind.outlasts if isinstance(kind, Kind) else ()
    breakers = Breakers(kind.queue, partial(_use, pool), settings.breaker_open_s, outlasts)
    with ExitStack() as stack:
        tools = stack.enter_context(opened(kind, settings, breakers))
        threads = None
        if kind.effects:
            threads = Threads(settings.effect_threads, f"{kind.name}-effect")
            stack.callback(threads.stop)
        leases, arrived = Leases(settings.lease_s), Event()
        progress, trouble, ready = Progress(leases), Trouble(kind.queue), breakers.ready
        yield Running(
            kind, settings, pool, leases, progress, trouble, author, tools, draining, arrived, breakers, threads, ready
        )
