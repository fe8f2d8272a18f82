"""The life of a claim: read, load, step, settle, until each of its messages has been answered.

Messages about one row are stepped one after the other, each on the row as the one before has left it.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

import structlog

from pgfleet.schema.messages import Sweep
from pgfleet.schema.tickets import Tickets
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.bulk import apply_in_bulk
from pgfleet.workers.runtime.decide import bury, decide, decide_error, give_up, limit, release
from pgfleet.workers.runtime.halves import in_halves
from pgfleet.workers.runtime.inside.begin import begin
from pgfleet.workers.runtime.inside.counting import count
from pgfleet.workers.runtime.inside.large import cut_large
from pgfleet.workers.runtime.inside.loading import LOADING, Unloaded, load_view, loaded
from pgfleet.workers.runtime.inside.reading import read
from pgfleet.workers.runtime.inside.threads import outcome_of
from pgfleet.workers.runtime.inside.trouble import NOBODYS
from pgfleet.workers.runtime.kind import BulkKind, Turn
from pgfleet.workers.runtime.outcomes import Done, New, NotLoadedError
from pgfleet.workers.runtime.running import UNREACHABLE, Running, abandon, stepped_kind, with_connection
from pgfleet.workers.runtime.settle import Settled, Unit, settle
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.tickets import lost

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# How often a decision is made again at once because its row had changed, before the message is put back for a second.
STALE_LIMIT = 10
WRITING = "write rows"


def work(running: Running, tasks: Sequence[Task]) -> None:
    """Answer every message of a claim. What can't be answered comes back when its lease ends."""
    with running.progress.claim(tasks):
        try:
            _answer_all(running, tasks)
        except Exception as error:  # noqa: BLE001  # the thread goes on with the next claim
            abandon(running, tasks, error)


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
    cut_large(running, claimed)
    for task in claimed:
        try:
            unit = read(running, task)
        except UNREACHABLE:
            raise
        except Exception as error:  # noqa: BLE001  # the message that a reader stumbles over fails alone
            refused += _units(running, task, error)
            continue
        if unit is None:
            tasks.append(task)
        else:
            refused.append(unit)
    write(running, refused)
    return tasks


def _sweep(running: Running, tickets: Sequence[Tickets], tasks: list[Task]) -> None:
    """The first sends lost tickets again; the others of one claim find nothing left to do."""
    if not tasks:
        return
    first, *others = tasks
    try:
        with running.progress.step([first]):
            sends = with_connection(running, lambda conn: loaded(running, conn, lambda: lost(conn, tickets)), LOADING)
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
    tasks = [task for task in tasks if task.deaths < most]
    if any(task.suspect for task in tasks):
        with_connection(running, lambda conn: begin(running, conn, tasks))
    failed += apply_in_bulk(running, kind, tasks)
    for task, error in failed:
        write(running, _units(running, task, error))


def _round(running: Running, tasks: list[Task]) -> list[Task]:
    """Step the first message of each row; what is left for the next round, of rows whose step does not last."""
    heads, left = _heads(running, tasks)
    stepping = {task.key for task in heads}
    for stepped in _load_and_step(running, heads):
        stepping -= {task.key for task, _ in stepped}
        left = _answer(running, stepped) + left
        if not stepped:
            write(running, [release(task) for task in left if task.key not in stepping])
            left = [task for task in left if task.key in stepping]
    return left


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

    def view_of(part: list[Task]) -> Any:
        try:
            with running.progress.step(part):
                return with_connection(running, lambda conn: load_view(running, conn, part), LOADING)
        except UNREACHABLE:
            raise
        except NotLoadedError as refusal:
            return Unloaded(refusal)
        except Exception as error:  # noqa: BLE001  # any exception is an outcome
            return error

    for part, view in in_halves(tasks, view_of):
        error = view.error if isinstance(view, Unloaded) else view
        failed = isinstance(error, Exception)
        for task in part:
            task.view = None if failed else view
        yield from [[(task, error) for task in part]] if failed else _step(running, part)


def _step(running: Running, tasks: list[Task]) -> Iterator[list[Stepped]]:
    """Decisions in groups, each as soon as it is there, so that a slow effect delays nobody; in one, as they came."""
    if running.threads is None:
        yield [(task, _decide(running, task)) for task in tasks]
        return
    stepping: dict[Future[Unit | Exception], Task] = {
        running.threads.submit(_decide, running, task): task for task in tasks
    }
    while stepping:
        finished, _ = wait(stepping, timeout=0.2, return_when=FIRST_COMPLETED)
        yield [(stepping.pop(future), outcome_of(future)) for future in list(stepping) if future in finished]
        if running.draining.is_set():
            unstarted = [stepping.pop(future) for future in list(stepping) if future.cancel()]
            write(running, [release(task) for task in unstarted])


def _decide(running: Running, task: Task) -> Unit | Exception:
    token = task.token
    hold = partial(running.leases.hold, token)
    turn = Turn(task.view, running.tools, token.msg_id, task.sent_at, hold, running.breakers, task.asked)
    started = time.perf_counter()
    try:
        if task.deaths >= running.settings.attempts:
            return _Deadly(task.deaths)
        with running.progress.step([task]), task.recorded(running.kind.queue) as task.span:
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
    for unit in settled.stale:
        unit.task.stale += 1
    too_often = [unit for unit in settled.stale if unit.task.stale > STALE_LIMIT]
    write(running, [back for unit in too_often for back in _put_off(running, unit)])
    return [unit.task for unit in settled.stale if unit.task.stale <= STALE_LIMIT]


def _put_off(running: Running, unit: Unit) -> list[Unit]:
    """A row that others change all the time is looked at again; one that is there already is not seen by its step."""
    task = unit.task
    log.warning("message.stale", kind=running.kind.name, row=task.key, msg_id=task.token.msg_id)
    made = next((change for change in unit.changes if isinstance(change, New)), None)
    if made is None:
        return [release(task, timedelta(seconds=1))]
    error = RuntimeError(f"{made.table.name} {made.key}, or one like it, is there, and its step does not see it")
    return _units(running, task, error)


def _answer_refused(running: Running, unit: Unit, error: Exception) -> list[Unit]:
    """Settle what could not be written, as a failure; the units that are stale.

    A row that can't be brought to fail must not keep its message from the dead letters: then it stays as it is.
    """
    task = unit.task
    if isinstance(error, NOBODYS):
        running.trouble.met(WRITING, error)
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
    started, began_ns, queue = time.perf_counter(), time.time_ns(), running.kind.queue
    with running.progress.step([unit.task for unit in units]):
        settled = with_connection(running, lambda conn: settle(conn, queue, units, running.author), "settle")
    metrics.SETTLE_SECONDS.labels(queue).observe(time.perf_counter() - started)
    if any(unit.changes for unit in settled.done):
        running.trouble.over(WRITING)
    running.progress.answered([unit.task for unit in settled.done])
    count(running, settled, began_ns)
    return settled
