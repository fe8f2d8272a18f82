"""The life of a claim: read, load, step, settle, until each of its messages has been answered.

Messages about one row are stepped one after the other, each on the row as the one before has left it.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import timedelta
from typing import Any, TypeAlias

import structlog

from pgfleet.schema.messages import BadMessage, Sweep
from pgfleet.schema.tickets import Tickets
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.bulk import apply_in_bulk
from pgfleet.workers.runtime.decide import bury, decide, decide_error, give_up, limit, release
from pgfleet.workers.runtime.halves import in_halves
from pgfleet.workers.runtime.kind import BulkKind, Turn
from pgfleet.workers.runtime.outcomes import Done
from pgfleet.workers.runtime.running import UNREACHABLE, Running, stepped_kind, with_connection
from pgfleet.workers.runtime.settle import Settled, Unit, settle
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.tickets import lost

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# How often a decision is made again at once because its row had changed, before the message is put back for a second.
STALE_LIMIT = 10


def work(running: Running, tasks: Sequence[Task]) -> None:
    """Answer every message of a claim. What can't be answered comes back when its lease ends."""
    try:
        _answer_all(running, tasks)
    except Exception:
        log.exception("claim.abandoned", queue=running.kind.queue, messages=len(tasks))
    finally:
        running.leases.drop(task.token for task in tasks)


def _answer_all(running: Running, claimed: Sequence[Task]) -> None:
    tasks = _read(running, claimed)
    if isinstance(running.kind, BulkKind):
        _answer_in_bulk(running, running.kind, tasks)
        return
    if running.kind.tickets:
        swept = [task for task in tasks if isinstance(task.message, Sweep)]
        tasks = [task for task in tasks if not isinstance(task.message, Sweep)]
        _sweep(running, running.kind.tickets, swept)
    while tasks:
        if running.draining.is_set():
            write(running, [release(task) for task in tasks])
            return
        tasks = _round(running, tasks)


def _read(running: Running, claimed: Sequence[Task]) -> list[Task]:
    """The messages that can be read; the others are answered here."""
    tasks, refused = [], []
    for task in claimed:
        try:
            task.message = running.kind.read(task.claimed.body)
            task.key = running.kind.key(task.message)
            tasks.append(task)
        except BadMessage as error:
            refused.append(bury(task, "reject", str(error)))
        except Exception as error:  # noqa: BLE001  # the message that a reader stumbles over fails alone
            refused += _units(running, task, error)
    write(running, refused)
    return tasks


def _sweep(running: Running, tickets: Sequence[Tickets], tasks: list[Task]) -> None:
    """The first sends lost tickets again; the others of one claim find nothing left to do."""
    if not tasks:
        return
    first, *others = tasks
    try:
        sends = with_connection(running, lambda conn: lost(conn, tickets))
    except UNREACHABLE:
        raise
    except Exception as error:  # noqa: BLE001  # any exception is an outcome
        write(running, _units(running, first, error))
    else:
        write(running, [decide(running, first, Done("rows looked after", sends))])
    write(running, [Unit(task, "done", "the same message again") for task in others])


def _answer_in_bulk(running: Running, kind: BulkKind[Any], tasks: list[Task]) -> None:
    most = running.settings.attempts
    failed: list[tuple[Task, Exception]] = [(task, _Deadly(task.deaths)) for task in tasks if task.deaths >= most]
    failed += apply_in_bulk(running, kind, [task for task in tasks if task.deaths < most])
    for task, error in failed:
        write(running, _units(running, task, error))


def _round(running: Running, tasks: list[Task]) -> list[Task]:
    """Step the first message of each row; what is left for the next round."""
    heads, later = _heads(running, tasks)
    again = []
    for stepped in _load_and_step(running, heads):
        again += _answer(running, stepped)
    return again + later


def _heads(running: Running, tasks: list[Task]) -> tuple[list[Task], list[Task]]:
    """The first message of each row, and the later ones, without repetitions that need no step of their own."""
    last: dict[str | None, Task] = {}
    heads: list[Task] = []
    later: list[Task] = []
    same = []
    for task in tasks:
        before = last.get(task.key)
        if before is not None and before.message == task.message and stepped_kind(running).once(task.message):
            same.append(Unit(task, "done", "the same message again"))
            continue
        last[task.key] = task
        (heads if before is None else later).append(task)
    write(running, same)
    return heads, later


# What a step came to, as it is to be written; or the exception.
Stepped: TypeAlias = tuple[Task, Unit | Exception]


def _load_and_step(running: Running, tasks: list[Task]) -> Iterator[list[Stepped]]:
    """Decisions on fresh rows. A message whose rows can't be loaded fails alone."""
    kind = stepped_kind(running)

    def load(part: list[Task]) -> Any:
        messages = [task.message for task in part]
        try:
            return with_connection(running, lambda conn: kind.load(conn, messages, running.settings))
        except UNREACHABLE:
            raise
        except Exception as error:  # noqa: BLE001  # any exception is an outcome
            return error

    for part, view in in_halves(tasks, load):
        failed = isinstance(view, Exception)
        for task in part:
            task.view = None if failed else view
        yield from [[(part[0], view)]] if failed else _step(running, part)


def _step(running: Running, tasks: list[Task]) -> Iterator[list[Stepped]]:
    """Decisions in groups, each as soon as it is there, so that a slow effect delays nobody."""
    if running.threads is None:
        yield [(task, _decide(running, task)) for task in tasks]
        return
    stepping: dict[Future[Unit | Exception], Task] = {
        running.threads.submit(_decide, running, task): task for task in tasks
    }
    while stepping:
        finished, _ = wait(stepping, timeout=0.2, return_when=FIRST_COMPLETED)
        yield [(stepping.pop(future), future.result()) for future in finished]
        if running.draining.is_set():
            unstarted = [stepping.pop(future) for future in list(stepping) if future.cancel()]
            write(running, [release(task) for task in unstarted])


def _decide(running: Running, task: Task) -> Unit | Exception:
    token = task.token
    turn = Turn(task.view, running.tools, token.msg_id, task.sent_at, lambda: running.leases.hold(token))
    started = time.perf_counter()
    try:
        if task.deaths >= running.settings.attempts:
            return _Deadly(task.deaths)
        turn.hold()
        return decide(running, task, stepped_kind(running).step(task.message, turn))
    except Exception as error:  # noqa: BLE001  # any exception is an outcome
        return error
    finally:
        if running.threads is not None:
            metrics.STEP_SECONDS.labels(running.kind.queue).observe(time.perf_counter() - started)


class _Deadly(Exception):  # a finding about the message, not an error of this program
    def __init__(self, deaths: int) -> None:
        super().__init__(f"the worker ended {deaths} times while it had this message in hand")


def _answer(running: Running, stepped: list[Stepped]) -> list[Task]:
    """Settle decisions; the tasks whose row had changed meanwhile, to be stepped again."""
    settled = write(running, [unit for task, outcome in stepped for unit in _units(running, task, outcome)])
    for unit, error in settled.failed:
        settled.stale += _answer_refused(running, unit, error)
    again = [unit.task for unit in settled.stale]
    for task in again:
        task.stale += 1
    put_off = [task for task in again if task.stale > STALE_LIMIT]
    for task in put_off:
        log.warning("message.stale", kind=running.kind.name, row=task.key, msg_id=task.token.msg_id)
    write(running, [release(task, timedelta(seconds=1)) for task in put_off])
    return [task for task in again if task.stale <= STALE_LIMIT]


def _answer_refused(running: Running, unit: Unit, error: Exception) -> list[Unit]:
    """Settle what could not be written, as a failure; the units that are stale.

    A row that can't be brought to fail must not keep its message from the dead letters: then it stays as it is.
    """
    task = unit.task
    settled = write(running, [] if unit.outcome == "dead" else _units(running, task, error))
    dead = [given_up for given_up in (unit, *(again for again, _ in settled.failed)) if given_up.outcome == "dead"]
    write(running, [bury(task, "dead", given_up.reason, task.attempts + 1) for given_up in dead])
    return settled.stale


def _units(running: Running, task: Task, outcome: Unit | Exception) -> list[Unit]:
    """What is written: one unit, or none where the message is not ours.

    A kind whose own `limit` or `fail` raises is not asked again.
    """
    if isinstance(outcome, Unit):
        return [outcome]
    try:
        unit = _failure(running, task, outcome)
    except Exception as error:  # noqa: BLE001  # any exception is an outcome
        task.view = None
        unit = _failure(running, task, outcome if isinstance(outcome, _Deadly) else error)
    return [unit] if unit else []


def _failure(running: Running, task: Task, error: Exception) -> Unit | None:
    if isinstance(error, _Deadly):
        # A row that no number of failures may end is not ended by deaths either: only the message is buried.
        if task.view is not None and limit(running, task) is None:
            return bury(task, "dead", str(error), task.attempts)
        return give_up(running, task, str(error), task.attempts)
    unit = decide_error(running, task, error)
    if unit is None:
        metrics.LEASES_LOST.labels(running.kind.queue).inc()
        log.warning("lease.lost", queue=running.kind.queue, msg_id=task.token.msg_id)
    elif unit.outcome in ("retry", "dead"):
        log.warning(
            "message.retry" if unit.outcome == "retry" else "message.dead",
            kind=running.kind.name,
            row=task.key,
            msg_id=unit.token.msg_id,
            reason=unit.reason,
            attempts=task.attempts + 1,
        )
    return unit


def write(running: Running, units: Sequence[Unit]) -> Settled:
    """Settle units and count them."""
    if not units:
        return Settled()
    started = time.perf_counter()
    queue = running.kind.queue
    settled = with_connection(running, lambda conn: settle(conn, queue, units, running.author))
    metrics.SETTLE_SECONDS.labels(queue).observe(time.perf_counter() - started)
    running.leases.drop(unit.token for unit in settled.done)
    _count(running, settled)
    return settled


def _count(running: Running, settled: Settled) -> None:
    queue = running.kind.queue
    for outcome, number in Counter(unit.outcome for unit in settled.done).items():
        metrics.SETTLED.labels(queue, outcome).inc(number)
    if settled.lost:
        metrics.LEASES_LOST.labels(queue).inc(len(settled.lost))
        log.warning("lease.lost", queue=queue, messages=len(settled.lost))
    if settled.stale:
        metrics.STALE.labels(queue).inc(len(settled.stale))
    for unit in settled.done:
        _log(running.kind.name, unit)


def _log(kind: str, unit: Unit) -> None:
    """A line for every move, and for every message that was refused."""
    for change in unit.changes:
        if change.to is not None:
            machine = change.table.info.get("machine", kind)
            log.info(f"{machine}.{change.to}", row=str(change.key), reason=change.reason)  # noqa: G004  # constant names
    if unit.outcome == "reject":
        log.warning("message.rejected", kind=kind, msg_id=unit.token.msg_id, reason=unit.reason)
