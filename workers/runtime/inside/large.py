"""Messages that are too large to be loaded, or that nobody can read: the database knows what they are about."""

from collections.abc import Sequence
from dataclasses import replace

from pgfleet.schema.queue.kernel import OURS
from pgfleet.schema.queue.large import Note, look_at
from pgfleet.schema.queue.reading import read_json
from pgfleet.workers.runtime.running import Running, with_connection
from pgfleet.workers.runtime.task import Task

# Besides the ids of the kind: what was asked for, and by whom, who may see the letter.
NAMES = ("action", "user_id")


def cut_large(running: Running, tasks: Sequence[Task]) -> None:
    """Replace messages that nobody loads by a note of what they are about, which goes to the dead letters instead."""
    large = [task for task in tasks if task.claimed.too_large]
    if not large:
        return
    notes = _notes(running, large)
    for task in large:
        note = notes.get(task.token.msg_id, Note(0, None))
        reason = f"too large: {note.kept_bytes:,} bytes as it is kept, more than 1 MiB as text"
        headers = {OURS: {"cut": note.kept_bytes}}
        task.claimed = replace(task.claimed, kept=note.fields, headers=headers, unreadable=reason)


def fields_of(running: Running, task: Task) -> object:
    """What the database reads in a message that Python can't: an object of its ids, if it has any."""
    note = _notes(running, [task]).get(task.token.msg_id)
    return None if note is None or note.fields is None else read_json(note.fields)


def _notes(running: Running, tasks: Sequence[Task]) -> dict[int, Note]:
    queue, names = running.kind.queue, (*running.kind.ids, *NAMES)
    ids = [task.token.msg_id for task in tasks]
    return with_connection(running, lambda conn: look_at(conn, queue, ids, names), "look at messages")
