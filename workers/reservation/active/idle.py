"""A reservation whose GPUs nobody uses: a warning, and some minutes later the end.

Every few minutes each GPU is asked in the pod how busy it is. What can't be read counts as busy, and so does a time
in which nobody looked. Use begins it all anew, and so does an extension.
"""

from datetime import datetime, timedelta
from typing import Any

import structlog

from pgfleet.schema.printable import plural, second
from pgfleet.schema.reservation import Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.verdicts import KUBERNETES
from pgfleet.workers.reservation.tools import Turn, hand_out
from pgfleet.workers.runtime.outcomes import Calls, Move, Outcome, Wait

IDLE = "IDLE"
# A GPU is idle that is less busy than this.
IDLE_PERCENT = 5
# After so many looks that did not come, nobody knows what was.
LOOKS_MISSED = 3

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def look_at_use(row: Row, turn: Turn) -> Outcome | None:
    """What a look at its GPUs leads to; None where none is due."""
    due_at = next_use_at(row, turn)
    if due_at is None or turn.now < due_at:
        return None
    use = _use(row, turn)
    read = {"gpus_read_at": turn.now, "gpus_use": list(use)}
    if not use or max(use) >= IDLE_PERCENT:
        return _looked(row, {**read, **used(row)}, turn)
    if _is_watched_on(row, turn) and row.idle_since is not None:
        return _idle_on(row, read, turn)
    return _looked(row, {**read, **used(row), "idle_since": turn.now}, turn)


def next_use_at(row: Row, turn: Turn) -> datetime | None:
    """When its GPUs are to be looked at; None for never. A gang's nodes are used together: none is idle alone."""
    if row.idle_minutes is None or not row.gpu_count or row.master_reservation_id is not None:
        return None
    poll = timedelta(seconds=turn.tools.settings.idle_poll_s)
    regular: datetime = (row.gpus_read_at or row.launched_at) + poll
    return regular if row.idle_warned_at is None else min(regular, max(_end(row, turn), row.gpus_read_at))


def used(row: Row) -> dict[str, Any]:
    """What is written when it is used, or extended: what was said of its end is not true any more."""
    said = row.idle_warned_at is not None and (row.warning or "").startswith(IDLE)
    return {"idle_since": None, "idle_warned_at": None, **({"warning": None} if said else {})}


def _use(row: Row, turn: Turn) -> tuple[int, ...]:
    """Nothing where nobody can tell."""
    if turn.trouble(KUBERNETES, Calls.READ) is not None:
        return ()
    turn.hold()
    return turn.tools.inside.use_of_gpus(row.pod_name, row.gpu_count) or ()


def _is_watched_on(row: Row, turn: Turn) -> bool:
    most = timedelta(seconds=LOOKS_MISSED * turn.tools.settings.idle_poll_s)
    return row.gpus_read_at is not None and turn.now - row.gpus_read_at <= most


def _idle_on(row: Row, read: dict[str, Any], turn: Turn) -> Outcome:
    minutes = int((turn.now - row.idle_since) / timedelta(minutes=1))
    if row.idle_warned_at is not None and turn.now >= _end(row, turn):
        reason = f"{IDLE}: all of its GPUs were idle for {plural(minutes, 'minute')}"
        return hand_out(Move(row, Status.EXPIRED, reason, {**read, "current_detailed_status": reason}))
    if row.idle_warned_at is not None or minutes < row.idle_minutes:
        return _looked(row, read, turn)
    ends = turn.later(turn.tools.settings.idle_notice_s)
    text = f"{IDLE}: all of its GPUs were idle for {plural(minutes, 'minute')}; ends at {second(ends)} unless used"
    log.warning("reservation.idle", reservation_id=row.reservation_id, minutes=minutes, ends_at=ends)
    return _looked(row, {**read, "idle_warned_at": turn.now, "warning": text}, turn)


def _end(row: Row, turn: Turn) -> datetime:
    end: datetime = row.idle_warned_at + timedelta(seconds=turn.tools.settings.idle_notice_s)
    return end


def _looked(row: Row, values: dict[str, Any], turn: Turn) -> Wait:
    return Wait("its GPUs were looked at", turn.now, (Move(row, None, values=values),))
