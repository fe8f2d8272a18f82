"""Warnings before the end: each once, and of several that are due only the most urgent.

A warning is in the row, its history and the log, and a file in the pod where that can be written. The file is written
before the commit: a worker that dies between both leaves the warning to the next, which writes the same file.
"""

from datetime import datetime, timedelta
from math import ceil
from typing import Any

import structlog

from pgfleet.schema.printable import plural, second
from pgfleet.schema.rows.row import Row
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import Move, Wait

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def warn_of_end(row: Row, turn: Turn) -> Wait | None:
    """The warning that is due, or what is left to do about those of before an extension; None where nothing is."""
    minutes = _due(row, turn)
    if minutes is not None:
        return _warned(row, minutes, turn)
    return _cleared(row, turn) if row.last_warning_time is not None and not row.warnings_sent else None


def next_warning_at(row: Row, turn: Turn) -> datetime | None:
    """When the next one is due."""
    return min((at for at in _times(row, turn).values() if at > turn.now), default=None)


def rearmed(row: Row) -> dict[str, Any]:
    """What an extension writes: all are due again, and what was said of the end before is not true any more."""
    return {"warnings_sent": {}, "warning": None} if row.warnings_sent else {}


def _times(row: Row, turn: Turn) -> dict[int, datetime]:
    """When each is due. Who reserves ten minutes is not warned that fifteen are left."""
    times = {each: row.expires_at - timedelta(minutes=each) for each in turn.tools.settings.warnings_min}
    return {minutes: at for minutes, at in times.items() if at > row.launched_at}


def _due(row: Row, turn: Turn) -> int | None:
    due = [minutes for minutes, at in _times(row, turn).items() if at <= turn.now < row.expires_at]
    most_urgent = min(due, default=None)
    return None if str(most_urgent) in row.warnings_sent else most_urgent


def _warned(row: Row, minutes: int, turn: Turn) -> Wait:
    left = ceil((row.expires_at - turn.now) / timedelta(minutes=1))
    text = f"Expires in {plural(left, 'minute')}, at {second(row.expires_at)}"
    turn.hold()
    turn.tools.inside.warn(row.pod_name, minutes, text)
    log.warning("reservation.expires_soon", reservation_id=row.reservation_id, minutes=minutes, at=row.expires_at)
    sent = {**row.warnings_sent, str(minutes): turn.now.isoformat()}
    values = {"warning": text, "warnings_sent": sent, "last_warning_time": turn.now}
    return Wait(f"warned: {minutes} minutes", turn.now, (Move(row, None, values=values),))


def _cleared(row: Row, turn: Turn) -> Wait:
    """Once: a pod in which no command can be run has a file that says what was true."""
    turn.hold()
    turn.tools.inside.clear_warnings(row.pod_name)
    return Wait("warnings taken back", turn.now, (Move(row, None, values={"last_warning_time": None}),))
