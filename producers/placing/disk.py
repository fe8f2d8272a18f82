"""What is asked of a disk, with the row of the operation, which is there when its message is sent."""

from pgfleet.producers.placing.placed import place
from pgfleet.schema.disk import Operation
from pgfleet.schema.queue.kernel import Connection


def place_disk_operation(conn: Connection, message: Operation) -> str:
    """Insert the operation as `pending`, and send the message, in the caller's transaction; its id.

    The same again, under the same id, changes nothing.

    Raises:
        IdUsedError: its id was used for something else.
        NotTheirsError: who asks may not ask for this user.
        Refusal: the door of the queue says no.
    """
    place(conn, "place_disk_operation", message=message.model_dump(mode="json"))
    return message.operation_id
