"""A reservation whose rows are there when its message is sent: one, or those of all nodes of a gang."""

from typing import Any

from pgfleet.producers.placing.placed import SQL, place
from pgfleet.schema.gang.asked import TWO_NODES, row_of, spread
from pgfleet.schema.gang.nodes import nodes_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reservation import CreateReservation
from pgfleet.schema.rows.named import ask


def place_reservation(conn: Connection, message: CreateReservation) -> str:
    """Insert what is asked for as `pending`, and send the message, in the caller's transaction; its id.

    The same again, under the same id, changes nothing.

    Raises:
        IdUsedError: its id was used for something else.
        NotTheirsError: who asks may not ask for this user.
        Refusal: the door of the queue says no.
    """
    place(
        conn,
        "place_reservation",
        message=message.model_dump(mode="json", exclude_none=True),
        nodes=_nodes(conn, message),
    )
    return message.reservation_id


def _nodes(conn: Connection, message: CreateReservation) -> list[dict[str, Any]]:
    """Its rows, as the worker makes them."""
    # Of no other number does it matter what a node has.
    found = ask(conn, SQL["gpus_of_a_node"], gpu_type=message.gpu_type) if message.gpu_count == TWO_NODES else []
    asked = spread(message, found[0] if found else None)
    return nodes_of(row_of(asked), asked.nodes)
