"""What hangs in this process: given back while nobody has begun it, let go when it has lasted too long, and told.

Whatever is called has a time limit well under a lease. So a claim in which nothing has happened for a third of a lease
waits for something odd: its place is free for another claim, and those of its messages that no thread is at are given
back. What one thread is at may go on for three leases. Then its lease is let go, and it is told where it hangs.
"""

import math
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import structlog

from pgfleet.schema.printable import second
from pgfleet.schema.queue import kernel
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.decide import release
from pgfleet.workers.runtime.inside.progress import Claim, Step
from pgfleet.workers.runtime.inside.pulse import Pulse
from pgfleet.workers.runtime.inside.threads import Threads
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.task import Task

log: structlog.stdlib.BoundLogger = structlog.get_logger()

STANDS_LEASES, HANGS_LEASES = 1 / 3, 3
# A process that is to end gives back sooner what it has not begun.
DRAIN_STANDS_S = 1.0
LOOK_S = 0.5
# For how long a message to be given back is waited for that somebody else has locked.
LOCK_TIMEOUT = "1s"
STACK_LINES = 12


class HangWatch(threading.Thread):
    """Looks at the claims of all kinds of a process; `claims` are the threads that answer them."""

    def __init__(self, running: Sequence[Running], claims: Threads) -> None:
        super().__init__(name="hang-watch", daemon=True)
        self.running = running
        self.claims = claims
        self.stopping = threading.Event()
        self.pulse = Pulse()
        # By queue: until when it makes a difference.
        self._owed: dict[str, dict[Task, float]] = {}

    def run(self) -> None:
        while not self.stopping.wait(LOOK_S):
            self.pulse.beat()
            try:
                self.look()
            except Exception:
                log.exception("hang_watch.failed")

    def stop(self) -> None:
        self.stopping.set()

    def look(self) -> None:
        for running in self.running:
            lease_s, now = running.leases.lease_s, time.monotonic()
            stands_s = DRAIN_STANDS_S if running.draining.is_set() else STANDS_LEASES * lease_s
            # What waits for a database that refuses it is told as that, and hangs no longer than that.
            hangs_s = math.inf if running.trouble.problems() else HANGS_LEASES * lease_s
            found = running.progress.find(now, stands_s, hangs_s)
            for claim in found.standing:
                self.claims.leave_behind(claim.thread)
            for each in found.hanging:
                _tell(running, each, now)
                self._leave_behind(running, each.thread)
            self._give_back(running, found.untouched, now)

    def _leave_behind(self, running: Running, thread: threading.Thread) -> None:
        self.claims.leave_behind(thread)
        if running.threads is not None:
            running.threads.leave_behind(thread)

    def _give_back(self, running: Running, untouched: list[Task], now: float) -> None:
        """Let others have these messages at once. While that can't be written, it is tried again."""
        owed = self._owed.pop(running.kind.queue, {}) | dict.fromkeys(untouched, now + running.leases.lease_s)
        still = {task: until for task, until in owed.items() if until > now}
        if still and not give_back(running, list(still)):
            self._owed[running.kind.queue] = still


def give_back(running: Running, tasks: Sequence[Task]) -> bool:
    """Put back messages whose leases are dropped already; False if the database does not answer."""
    puts = [unit.put_back for unit in map(release, tasks) if unit.put_back]
    # A renewal that was asked for before they were dropped would hide them again.
    if not running.leases.renewing.acquire(timeout=1):
        return False
    running.leases.renewing.release()
    try:
        with running.pool.connection(timeout=1) as conn, conn.transaction():
            kernel.sign(conn, running.author.name, running.author.timeout_s, LOCK_TIMEOUT)
            tokens, delays = [task.token for task in tasks], [put.delay for put in puts]
            cursor = kernel.put_back(conn, running.kind.queue, tokens, delays, [put.headers for put in puts])
            number = cursor.rowcount
    except psycopg.Error:
        return False
    metrics.SETTLED.labels(running.kind.queue, "release").inc(number)
    log.warning("messages.given_back", queue=running.kind.queue, messages=number, reason="nothing went on here")
    return True


def in_words(running: Running, each: Step | Claim) -> str:
    """What hangs, since when, and which row it is about."""
    task = next(iter(each.tasks), None)
    at = "" if task is None else f" at message {task.token.msg_id}" + (f", row {task.key}" if task.key else "")
    since = datetime.now(UTC) - timedelta(seconds=time.monotonic() - _since(each))
    return f"{running.kind.name}: a thread has hung since {second(since)}{at}"


def stack(thread: threading.Thread) -> list[str]:
    """Where a thread is, the innermost line last; no values."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  # there is no other way to see it
    lines = [] if frame is None else traceback.extract_stack(frame)[-STACK_LINES:]
    return [f"{line.filename}:{line.lineno} {line.name}" for line in lines]


def _tell(running: Running, each: Step | Claim, now: float) -> None:
    task = next(iter(each.tasks), None)
    log.error(
        "step.hangs" if isinstance(each, Step) else "claim.hangs",
        kind=running.kind.name,
        row=task and task.key,
        msg_id=task and task.token.msg_id,
        messages=len(each.tasks),
        for_s=round(now - _since(each), 1),
        where=stack(each.thread),
    )


def _since(each: Step | Claim) -> float:
    return each.begun_at if isinstance(each, Step) else each.moved_at
