"""What a claimed message says, and whether who asked for it may."""

from pgfleet.schema.asking import refusal
from pgfleet.schema.messages import BadMessage, id_in
from pgfleet.schema.queue.reading import UnreadableJson
from pgfleet.workers.runtime.decide import bury, unread
from pgfleet.workers.runtime.inside.large import fields_of
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.settle import Unit
from pgfleet.workers.runtime.task import Task


def read(running: Running, task: Task) -> Unit | None:
    """Fill in what the message says and is about; or answer one that can't be read, or is not its sender's to ask.

    Raises:
        whatever a kind's reader stumbles over; what it is about is filled in as far as it can be.
    """
    kind, body = running.kind, task.claimed.body
    task.key = id_in(fields_of(running, task) if isinstance(body, UnreadableJson) else body, kind.ids)
    unit = unread(task)
    if unit is not None:
        return unit
    try:
        message = kind.read(body)
    except BadMessage as error:
        return bury(task, "reject", str(error))
    key = kind.key(message)
    unasked = refusal(task.asked, message, kind.whose, kind.may)
    task.message, task.key = message, key
    return bury(task, "reject", unasked) if unasked else None
