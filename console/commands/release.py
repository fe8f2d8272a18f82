"""`pgfleet release ID --force`: an operator lets go of an ended reservation whose pod never goes."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from pgfleet.console.commands.requests import Id
from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.showing import confirm, print_result
from pgfleet.producers.submit.commands import AsJson, User, Yes
from pgfleet.producers.submit.wording import default_user, span
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.reads import about
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.replay.reservation import release_by_force
from pgfleet.schema.reservation import FINAL
from pgfleet.schema.rows.row import Row


@example("pgfleet release 3f2a9c1e-5d0b-4b7e-8a34-0c9f2b6d7e11 --force")
def release(
    given: Id,
    *,
    force: Annotated[bool, typer.Option("--force", help="Whether it is gone or not.")] = False,
    yes: Yes = False,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Let go of what an ended reservation holds although its pod never goes. For operators.

    `pgfleet doctor` lists such reservations. The GPUs count as free at once. The pod is deleted as kubectl does it with
    --force, without waiting for its node: where that node still works, the pod may go on, and use the GPUs, until
    the node is heard of again or switched off. So make sure that the node is gone, or end its machine.

    No two pods write to one volume by this: the next reservation gets a new volume, made from a snapshot. The volume of
    this one stays, and its snapshot is made only when AWS says that it is attached to nothing; until then its disk
    is in use. What the node had not written to it by then is lost.

    A gang is let go of as a whole, whichever of its nodes is named: it ends together.
    """
    with database() as conn:
        row = reads.resolve(conn, given, user or default_user())
        rows = [each for each in reads.gang(conn, row) or [row] if _holds(each)]
        if not rows or row["status"] not in FINAL:
            raise Refusal(_refusal(row))
        told = list(_consequences(row, rows, span((about.now(conn) - row["status_since"]).total_seconds())))
        if not force:
            so = f"If it shall be so: pgfleet release {printable(row['reservation_id'])} --force"
            raise Refusal("\n".join([*told, so]))
        confirm(told, "Let go of it?", yes=yes)
        if not release_by_force(conn, row["reservation_id"], default_user()):
            raise Refusal("It holds nothing any more.")
    print_result("reservation_id", row["reservation_id"], "released by force", as_json=as_json)


def _holds(row: Row) -> bool:
    """Whether something of it is left in the cluster, as far as anybody knows."""
    return row["waits_for"] is not None or (row["reservation_ended"] is None and not row["disk_released"])


def _refusal(row: Row) -> str:
    row_id = printable(row["reservation_id"])
    if row["status"] not in FINAL:
        end_it = f"pgfleet cancel {row_id} --user {typed(row['user_id'], 'USER')}"
        return f"Reservation {row_id} is {row['status']}, and only an ended one is released. First: {end_it}"
    if row["reservation_ended"] is not None:
        return f"Reservation {row_id} holds nothing: it is over."
    see = f"pgfleet disk show {typed(row['disk_name'], 'NAME')} --user {typed(row['user_id'], 'USER')}"
    return f"The pod of reservation {row_id} is gone. It waits for its disk: {see}"


def _consequences(row: Row, rows: Sequence[Row], ago: str) -> Iterator[str]:
    """What is known of it, and what follows for each of its rows that hold something."""
    which = f"{printable(row['reservation_id'])} of {printable(row['user_id'])}"
    yield f"Reservation {which} ended {ago} ago ({row['status']})."
    if row["master_reservation_id"] is not None:
        yield f"It is a gang, which is let go of as a whole: of its {row['total_nodes']} nodes, {_nodes(rows)}."
    for each in rows:
        where = f" of node {_number(each)}/{each['total_nodes']}" if row["master_reservation_id"] is not None else ""
        yield f"What is left{where}: {printable(each['waits_for'] or 'nobody has looked')}."
    gpus = sum(each["gpus_held"] for each in rows)
    if gpus:
        yield (
            f"- Its {gpus} x {row['gpu_type']} count as free at once: the next reservation may get them "
            "while its pod still runs on them."
        )
    yield "- Its pod is deleted without waiting for its node, on which it may go on: make sure that the node is gone."
    for disk in (each["disk_name"] for each in rows if each["disk_name"] is not None):
        yield (
            f"- Disk {printable(disk)}: its volume may still be attached and written to, so it stays. Its "
            "snapshot is made, and the disk is free, when AWS says that it is detached; what the node has not written "
            "to it by then is lost."
        )


def _nodes(rows: Sequence[Row]) -> str:
    which = ", ".join(str(_number(each)) for each in rows)
    return f"{which} still {'hold' if len(rows) > 1 else 'holds'} something"


def _number(row: Row) -> int:
    """Counted from 1. A row that was made by hand may say nothing of it, and counts as the first."""
    return (row["node_index"] or 0) + 1
