"""Reading along what a pod writes: a chunk at a time into the row of who asked, as soon as the last one was taken.

nothing new: again in a second --- a chunk: written, and again when it was taken --- ended: nobody has read for a
minute, the reader has gone, or the reservation is over
"""

from typing import Any

from pgfleet.schema.reservation import FINAL, ServeLogs, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.inside.logs import Chunk, read_on
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome, Wait

UNREAD_S = 60.0
AGAIN_S, SOON_S = 1.0, 0.2


def serve(message: ServeLogs, turn: Turn) -> Outcome:
    """One look at the pod for one reader."""
    request = turn.view.log_requests.get(message.request_id)
    if request is None or request.ended is not None:
        return Done("nobody reads")
    if (turn.now - request.read_at).total_seconds() > UNREAD_S:
        return _end(request, "nobody has read for a minute")
    if request.chunk_number > request.taken_number:
        return Wait("its reader has not taken the last chunk", turn.later(SOON_S))
    row = turn.view.rows.get(request.reservation_id)
    if row is None or row.status in FINAL:
        return _end(request, "it is over" if row is None else f"it is {row.status}")
    return _read(request, row, turn)


def _end(request: Row, why: str) -> Advance:
    return Advance((Move(request, None, values={"ended": why, "chunk": None}),))


def _read(request: Row, row: Row, turn: Turn) -> Outcome:
    """The first look is answered in any case: who asks wants to know that there is nothing yet."""
    runs = row.pod_name is not None and row.status in (Status.PREPARING, Status.ACTIVE)
    found = read_on(turn.tools.pods, row.pod_name, request.cursor) if runs else None
    if found is None or not found.text:
        if request.chunk_number > 0:
            return Wait("nothing new", turn.later(AGAIN_S))
        found = found or Chunk("", None, has_more=False)
    values: dict[str, Any] = {
        "chunk": found.text,
        "chunk_number": request.chunk_number + 1,
        "cursor": found.cursor,
        "has_more": found.has_more,
    }
    return Wait("a chunk is there", turn.later(SOON_S), (Move(request, None, values=values),))
