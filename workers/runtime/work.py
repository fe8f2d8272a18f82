"""The life of a claim: read, load, step, settle, until each of its messages has been answered.

Messages about one row are stepped one after the other, each on the row as the one before has left it.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias

import structlog

from pgfleet.schema.messages import BadMessage
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.bench import UNREACHABLE, Bench, stepped_kind, with_connection
from pgfleet.workers.runtime.bulk import apply_in_bulk
from pgfleet.workers.runtime.hand import Delivery, Task
from pgfleet.workers.runtime.kind import BulkKind, Occasion
from pgfleet.workers.runtime.outcomes import Move
from pgfleet.workers.runtime.settle import Settled, Unit, row_key, settle
from pgfleet.workers.runtime.verdict import Case, decide, decide_error, give_up, release, unreadable

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# How often a decision is made again at once because its row had changed, before the message steps aside.
STALE_LIMIT = 10


def work(bench: Bench, deliveries: Sequence[Delivery]) -> None:
    """Answer every message of a claim. What can't be answered comes back when its lease ends."""
    try:
        _answer_all(bench, deliveries)
    except Exception:
        log.exception("claim.abandoned", queue=bench.kind.queue, messages=len(deliveries))
    finally:
        bench.hand.drop(delivery.token for delivery in deliveries)


def _answer_all(bench: Bench, deliveries: Sequence[Delivery]) -> None:
    tasks = _read(bench, deliveries)
    if isinstance(bench.kind, BulkKind):
        _answer_in_bulk(bench, bench.kind, tasks)
        return
    while tasks:
        if bench.draining.is_set():
            write(bench, [_hand_back(task) for task in tasks])
            return
        tasks = _round(bench, tasks)


def _read(bench: Bench, deliveries: Sequence[Delivery]) -> list[Task]:
    tasks, refused = [], []
    for delivery in deliveries:
        case = Case(bench.kind, bench.settings, delivery)
        try:
            message = bench.kind.read(delivery.message.body)
            tasks.append(Task(delivery, message, bench.kind.key(message)))
        except BadMessage as error:
            refused.append(unreadable(case, str(error)))
        except Exception as error:  # noqa: BLE001  # the message that a reader stumbles over fails alone
            refused += _units(bench, case, error)
    write(bench, refused)
    return tasks


def _answer_in_bulk(bench: Bench, kind: BulkKind[Any], tasks: list[Task]) -> None:
    deadly = [task for task in tasks if task.delivery.deaths >= bench.settings.attempts]
    failed: list[tuple[Task, Exception]] = [(task, _Deadly(task.delivery.deaths)) for task in deadly]
    failed += apply_in_bulk(bench, kind, [task for task in tasks if task.delivery.deaths < bench.settings.attempts])
    for task, error in failed:
        write(bench, _units(bench, Case(kind, bench.settings, task.delivery, task.message), error))


def _round(bench: Bench, tasks: list[Task]) -> list[Task]:
    """Step the first message of each row; what is left for the next round."""
    heads, later = _heads(bench, tasks)
    again = []
    for stepped in _load_and_step(bench, heads):
        again += _answer(bench, stepped)
    return again + later


def _heads(bench: Bench, tasks: list[Task]) -> tuple[list[Task], list[Task]]:
    """The first message of each row, and the later ones. Of some messages the same twice in a row is one."""
    last: dict[str, Task] = {}
    heads: list[Task] = []
    later: list[Task] = []
    same = []
    for task in tasks:
        before = last.get(task.key)
        if before is not None and before.message == task.message and stepped_kind(bench).once(task.message):
            same.append(Unit(task.delivery, "done", "the same message again"))
            continue
        last[task.key] = task
        (heads if before is None else later).append(task)
    write(bench, same)
    return heads, later


# What a step came to, as it is to be written; or the exception.
Stepped: TypeAlias = tuple[Task, Case, Unit | Exception]


def _load_and_step(bench: Bench, tasks: list[Task]) -> Iterator[list[Stepped]]:
    """Decisions on fresh rows. A message whose rows can't be loaded is found by halving, and fails alone."""
    messages = [task.message for task in tasks]
    try:
        view = with_connection(bench, lambda conn: stepped_kind(bench).load(conn, messages, bench.settings))
    except UNREACHABLE:
        raise
    except Exception as error:  # noqa: BLE001  # any exception is an outcome
        if len(tasks) == 1:
            yield [(tasks[0], Case(bench.kind, bench.settings, tasks[0].delivery, tasks[0].message), error)]
            return
        middle = len(tasks) // 2
        yield from _load_and_step(bench, tasks[:middle])
        yield from _load_and_step(bench, tasks[middle:])
    else:
        yield from _step(bench, view, tasks)


def _step(bench: Bench, view: Any, tasks: list[Task]) -> Iterator[list[Stepped]]:
    """Decisions in groups, each as soon as it is there, so that a slow effect delays nobody."""
    cases = [Case(bench.kind, bench.settings, task.delivery, task.message, view) for task in tasks]
    pairs = list(zip(tasks, cases, strict=True))
    if bench.threads is None:
        yield [(task, case, _decide(bench, case)) for task, case in pairs]
        return
    running: dict[Future[Unit | Exception], tuple[Task, Case]] = {
        bench.threads.submit(_decide, bench, case): (task, case) for task, case in pairs
    }
    while running:
        finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
        yield [(*running.pop(future), future.result()) for future in finished]
        if bench.draining.is_set():
            unstarted = [running.pop(future) for future in list(running) if future.cancel()]
            write(bench, [_hand_back(task) for task, _ in unstarted])


def _decide(bench: Bench, case: Case) -> Unit | Exception:
    token = case.delivery.token
    occasion = Occasion(token.msg_id, case.delivery.sent_at, lambda: bench.hand.hold(token))
    started = time.perf_counter()
    try:
        if case.delivery.deaths >= bench.settings.attempts:
            return _Deadly(case.delivery.deaths)
        occasion.hold()
        return decide(case, stepped_kind(bench).step(case.message, case.view, bench.tools, occasion))
    except Exception as error:  # noqa: BLE001  # any exception is an outcome
        return error
    finally:
        if bench.threads is not None:
            metrics.STEP_SECONDS.labels(bench.kind.queue).observe(time.perf_counter() - started)


class _Deadly(Exception):  # a finding about the message, not an error of this program
    def __init__(self, deaths: int) -> None:
        super().__init__(f"the worker ended {deaths} times while it had this message in hand")
        self.deaths = deaths


def _answer(bench: Bench, stepped: list[Stepped]) -> list[Task]:
    """Settle decisions; the tasks whose row had changed meanwhile, to be stepped again."""
    tasks = {task.delivery.token: (task, case) for task, case, _ in stepped}
    settled = write(bench, [unit for _, case, outcome in stepped for unit in _units(bench, case, outcome)])
    for unit, error in settled.failed:
        settled.stale += _answer_refused(bench, tasks[unit.token][1], unit, error)
    again = [tasks[unit.token][0] for unit in settled.stale]
    aside = [replace(task, stale=task.stale + 1) for task in again]
    write(bench, [_hand_back(task, 1) for task in aside if task.stale > STALE_LIMIT])
    return [task for task in aside if task.stale <= STALE_LIMIT]


def _answer_refused(bench: Bench, case: Case, unit: Unit, error: Exception) -> list[Unit]:
    """Settle what could not be written, as a failure; the units that are stale.

    A row that can't be brought to fail must not keep its message from the dead letters: then it stays as it is.
    """
    settled = write(bench, [] if unit.outcome == "dead" else _units(bench, case, error))
    dead = [given_up for given_up in (unit, *(again for again, _ in settled.failed)) if given_up.outcome == "dead"]
    alone = replace(case, view=None)
    write(bench, [give_up(alone, given_up.reason, case.delivery.attempts + 1) for given_up in dead])
    return settled.stale


def _units(bench: Bench, case: Case, outcome: Unit | Exception) -> list[Unit]:
    """What is written: one unit, or none where the message is not ours.

    A kind whose own `limit` or `fail` raises is not asked again.
    """
    if isinstance(outcome, Unit):
        return [outcome]
    try:
        unit = _failure(bench, case, outcome)
    except Exception as error:  # noqa: BLE001  # any exception is an outcome
        unit = _failure(bench, replace(case, view=None), outcome if isinstance(outcome, _Deadly) else error)
    return [unit] if unit else []


def _failure(bench: Bench, case: Case, error: Exception) -> Unit | None:
    if isinstance(error, _Deadly):
        # A row that no number of failures may end is not ended by deaths either: only the message is buried.
        patient = case.view is not None and case.limit is None
        return give_up(replace(case, view=None) if patient else case, str(error), case.delivery.attempts)
    unit = decide_error(case, error)
    if unit is None:
        metrics.LEASES_LOST.labels(bench.kind.queue).inc()
        log.warning("lease.lost", queue=bench.kind.queue, msg_id=case.delivery.token.msg_id)
    elif unit.outcome in ("retry", "dead"):
        log.warning(
            "message.retry" if unit.outcome == "retry" else "message.dead",
            kind=bench.kind.name,
            row=case.row_id,
            msg_id=unit.token.msg_id,
            reason=unit.reason,
            attempts=case.delivery.attempts + 1,
        )
    return unit


def _hand_back(task: Task, delay_s: float = 0) -> Unit:
    return release(task.delivery, timedelta(seconds=delay_s), "handed back")


def write(bench: Bench, units: Sequence[Unit]) -> Settled:
    """Settle units and count them."""
    if not units:
        return Settled()
    started = time.perf_counter()
    queue = bench.kind.queue
    settled = with_connection(bench, lambda conn: settle(conn, queue, units, bench.author))
    metrics.SETTLE_SECONDS.labels(queue).observe(time.perf_counter() - started)
    bench.hand.drop(unit.token for unit in settled.done)
    _count(bench, settled)
    return settled


def _count(bench: Bench, settled: Settled) -> None:
    queue = bench.kind.queue
    for outcome, number in _tally(unit.outcome for unit in settled.done).items():
        metrics.SETTLED.labels(queue, outcome).inc(number)
    if settled.lost:
        metrics.LEASES_LOST.labels(queue).inc(len(settled.lost))
        log.warning("lease.lost", queue=queue, messages=len(settled.lost))
    if settled.stale:
        metrics.STALE.labels(queue).inc(len(settled.stale))
    for unit in settled.done:
        _tell(bench, unit)


def _tell(bench: Bench, unit: Unit) -> None:
    """A line for every move, and for every message that was refused."""
    for change in unit.changes:
        to, table = (change.to, change.row.table) if isinstance(change, Move) else (change.status, change.table)
        if to is not None:
            log.info(bench.event(table, to), row=str(row_key(change)), reason=change.reason)
    if unit.outcome == "reject":
        log.warning("message.rejected", kind=bench.kind.name, msg_id=unit.token.msg_id, reason=unit.reason)


def _tally(names: Iterable[str]) -> dict[str, int]:
    tally: dict[str, int] = {}
    for name in names:
        tally[name] = tally.get(name, 0) + 1
    return tally
