"""Says in the database that steps begin: what is begun and never ended is a death, and nothing else is."""

from collections.abc import Sequence

from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Connection
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.task import Task


def begin(running: Running, conn: Connection, tasks: Sequence[Task]) -> None:
    """Commit that the steps of messages begin; what is no longer ours loses its lease.

    Where there are no effects it is said of suspects only, which run alone: to write it for every message would cost as
    much as to claim it. The end of a process does not lose a commit that has not reached the disk.

    What was given back while its thread stood still (hangs.py) has no lease here any more, though its token may fit: it
    does not begin, as nobody would ever end that.
    """
    due = [task for task in tasks if _is_to_be_said(running, task)]
    held = set(running.leases.tokens()) if due else set()
    due = [task for task in due if task.token in held]
    if not due:
        return
    with conn.transaction():
        with conn.pipeline():
            conn.execute("set local synchronous_commit = off")
            tokens, headers = [task.token for task in due], [task.begun_headers() for task in due]
            kept = kernel.put_back(conn, running.kind.queue, tokens, [None] * len(due), headers)
        ours = {row[0] for row in kept}
    for task in due:
        task.begun = task.token.msg_id in ours
    running.leases.drop(task.token for task in due if not task.begun)


def _is_to_be_said(running: Running, task: Task) -> bool:
    """Not of what is to be buried before it begins."""
    watched = running.kind.effects or task.suspect
    return watched and not task.begun and task.deaths < running.settings.attempts
