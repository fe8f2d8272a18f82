"""A reservation whose GPUs nobody uses: a warning, and some minutes later the end.

Every few minutes each GPU is asked in the pod how busy it is. What can't be read counts as busy, and so does a time
in which nobody looked. Use begins it all anew, and so does an extension.

A gang is used as a whole: the turn of its first row asks in all of its pods, and writes the same into all of its rows.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import structlog

from pgfleet.schema.printable import plural, second
from pgfleet.schema.reservation import Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.verdicts import KUBERNETES
from pgfleet.workers.reservation.gang.rows import rows_of_gang
from pgfleet.workers.reservation.tools import Turn, hand_out
from pgfleet.workers.runtime.outcomes import Advance, Calls, Move, Outcome, Wait

IDLE = "IDLE"
# A GPU is idle that is less busy than this.
IDLE_PERCENT = 5
# After so many looks that did not come, nobody knows what was.
LOOKS_MISSED = 3

# Rows with how busy each GPU of their pods is; nothing where nobody can tell.
Looks: TypeAlias = Sequence[tuple[Row, tuple[int, ...]]]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def look_at_use(row: Row, turn: Turn) -> Outcome | None:
    """What a look at its GPUs, and those of its gang, leads to; None where none is due."""
    due_at = next_use_at(row, turn)
    if due_at is None or turn.now < due_at:
        return None
    rows = rows_of_gang(row, turn.view)
    looks = [(each, _use(each, turn)) for each in rows]
    if not all(use and max(use) < IDLE_PERCENT for _, use in looks):
        return _looked(looks, turn, used)
    if _is_watched_on(row, turn) and row.idle_since is not None:
        return _idle_on(row, looks, turn)
    return _looked(looks, turn, lambda each: {**used(each), "idle_since": turn.now})


def next_use_at(row: Row, turn: Turn) -> datetime | None:
    """When its GPUs are to be looked at; None for never."""
    if row.idle_minutes is None or not row.gpu_count or row.node_index:
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


def _idle_on(row: Row, looks: Looks, turn: Turn) -> Outcome:
    minutes = int((turn.now - row.idle_since) / timedelta(minutes=1))
    if row.idle_warned_at is not None and turn.now >= _end(row, turn):
        reason = f"{IDLE}: all of its GPUs were idle for {plural(minutes, 'minute')}"
        told = {"current_detailed_status": reason}
        moves = [Move(each, Status.EXPIRED, reason, {**_read(use, turn), **told}) for each, use in looks]
        return sum(map(hand_out, moves), Advance())
    if row.idle_warned_at is not None or minutes < row.idle_minutes:
        return _looked(looks, turn, lambda _: {})
    ends = turn.later(turn.tools.settings.idle_notice_s)
    text = f"{IDLE}: all of its GPUs were idle for {plural(minutes, 'minute')}; ends at {second(ends)} unless used"
    log.warning("reservation.idle", reservation_id=row.reservation_id, minutes=minutes, ends_at=ends)
    return _looked(looks, turn, lambda _: {"idle_warned_at": turn.now, "warning": text})


def _end(row: Row, turn: Turn) -> datetime:
    end: datetime = row.idle_warned_at + timedelta(seconds=turn.tools.settings.idle_notice_s)
    return end


def _looked(looks: Looks, turn: Turn, more: Callable[[Row], dict[str, Any]]) -> Wait:
    moves = tuple(Move(each, None, values={**_read(use, turn), **more(each)}) for each, use in looks)
    return Wait("its GPUs were looked at", turn.now, moves)


def _read(use: tuple[int, ...], turn: Turn) -> dict[str, Any]:
    return {"gpus_read_at": turn.now, "gpus_use": list(use)}
