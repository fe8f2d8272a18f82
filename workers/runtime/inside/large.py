"""Messages that are too large to be loaded: what is known of them goes to the dead letters in their place."""

from collections.abc import Sequence
from dataclasses import replace

from pgfleet.schema.queue.kernel import OURS
from pgfleet.schema.queue.large import Note, look_at
from pgfleet.workers.runtime.running import Running, with_connection
from pgfleet.workers.runtime.task import Task

# Besides the ids of the kind: what was asked for, and by whom, who may see the letter.
NAMES = ("action", "user_id")


def cut_large(running: Running, tasks: Sequence[Task]) -> None:
    """Replace messages that nobody loads by a note of what they are about; they can't be read either."""
    large = [task for task in tasks if task.claimed.too_large]
    if not large:
        return
    queue, names = running.kind.queue, (*running.kind.ids, *NAMES)
    ids = [task.token.msg_id for task in large]
    notes = with_connection(running, lambda conn: look_at(conn, queue, ids, names), "look at large messages")
    for task in large:
        note = notes.get(task.token.msg_id, Note(0, None))
        reason = f"too large: {note.kept_bytes:,} bytes as it is kept, more than 1 MiB as text"
        headers = {OURS: {"cut": note.kept_bytes}}
        task.claimed = replace(task.claimed, kept=note.fields, headers=headers, unreadable=reason)
