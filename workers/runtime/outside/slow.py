"""The place of a claim, which is free for another one as soon as all that is left of it waits for the outside.

Who is silent may be waited for as long as a call may last. That holds a thread, and no claim of others.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextlib import suppress

from pgfleet.workers.runtime.inside.progress import LASTS_S
from pgfleet.workers.runtime.inside.threads import LeftBehindError, Threads
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.task import Task


def keep_place(
    running: Running, claims: Threads, answer: Callable[[Running, Sequence[Task]], None], tasks: Sequence[Task]
) -> None:
    """Answer a claim in a thread of ours; returns when it is answered, or goes on without needing its place."""
    answered = claims.submit(answer, running, tasks)
    # What may have ended a process goes on alone.
    alone = any(task.suspect for task in tasks)
    while not wait([answered], LASTS_S).done:
        thread = None if alone else running.progress.thread_that_waits(tasks)
        if thread is not None:
            claims.leave_behind(thread)
    with suppress(LeftBehindError):
        answered.result()
