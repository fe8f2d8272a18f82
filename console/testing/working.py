"""Workers in threads: the program's own consumers and steps, in the process of the test."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from threading import Event

import dramatiq

from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.broker import FleetBroker
from pgfleet.workers.runtime.kind import AnyKind, Kind
from pgfleet.workers.runtime.outside.probes import Prober
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.serve import open_pool, run_kind
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.wake import Listener
from pgfleet.workers.runtime.work import work

THREADS = 4
# How long a consumer waits before it looks whether it shall end.
TURN_MS = 100
STOP_MS = 30_000


def kind_of(name: str) -> AnyKind:
    """A kind of the program by its name."""
    found: AnyKind = import_module(f"pgfleet.workers.{name}.machine").KIND
    return found


@contextmanager
def working(kinds: Sequence[str], settings: Settings) -> Iterator[list[Running]]:
    """Workers of these kinds, which have ended with the block: they finish what they have begun."""
    if not kinds:
        yield []
        return
    broker, draining = FleetBroker(middleware=[]), Event()
    with ExitStack() as stack:
        pool = stack.enter_context(open_pool(settings, THREADS))
        for kind in map(kind_of, kinds):
            running = stack.enter_context(run_kind(kind, settings, pool, draining))
            broker.running[kind.queue] = running
            _declare(broker, running)
            if isinstance(kind, Kind) and kind.watch is not None:
                stack.enter_context(kind.watch(running))
        every = list(broker.running.values())
        prober = Prober([each for each in every if isinstance(each.kind, Kind)])
        arrived = {each.kind.queue: each.arrived for each in every}
        listener = Listener(settings.direct_dsn(), arrived, lambda: pool.losses)
        for thread in (prober, listener):
            thread.start()
            stack.callback(thread.join)
            stack.callback(thread.stop)
        threads = dramatiq.Worker(broker, worker_threads=THREADS, worker_timeout=TURN_MS)
        stack.callback(threads.stop, timeout=STOP_MS)
        stack.callback(_drain, draining, every)
        threads.start()
        yield every


def _declare(broker: FleetBroker, running: Running) -> None:
    def consume(tasks: list[Task]) -> None:
        work(running, tasks)

    dramatiq.actor(actor_name=running.kind.name, queue_name=running.kind.queue, broker=broker)(consume)


def _drain(draining: Event, every: Sequence[Running]) -> None:
    draining.set()
    for running in every:
        running.arrived.set()
