"""Messages about reminders, sent in the caller's transaction, or on their own through DATABASE_URL."""

import uuid

from pgfleet.producers.sending import send
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reminder import QUEUE, Remind


def remind(user_id: str, note: str, after_s: float = 0, conn: Connection | None = None) -> str:
    """Remind a user of something; the id of the reminder.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    fields = {"reminder_id": str(uuid.uuid4()), "user_id": user_id, "note": note, "after_s": after_s}
    return send(QUEUE, Remind, fields, conn).reminder_id
