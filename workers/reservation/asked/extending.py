"""More time for a reservation, which moves no start that others are promised."""

from datetime import timedelta

from pgfleet.schema.line.extension import most_possible, moved_by
from pgfleet.schema.line.unit import unit_key
from pgfleet.schema.policy.limits import beyond, too_long
from pgfleet.schema.printable import minute, second
from pgfleet.schema.reservation import Extend
from pgfleet.schema.rows.row import Row
from pgfleet.workers.reservation.access.noting import another, noted
from pgfleet.workers.reservation.active.idle import used
from pgfleet.workers.reservation.active.warnings import rearmed
from pgfleet.workers.reservation.gang.rows import rows_of_gang
from pgfleet.workers.reservation.line import admit_message, checked_in_turn
from pgfleet.workers.reservation.tools import Turn, hand_out
from pgfleet.workers.runtime.outcomes import Advance, Move, Outcome, Reject


def extend(row: Row, message: Extend, turn: Turn) -> Outcome:
    """More time, for a gang as a whole. A row that waits still gets its whole time once it is active."""
    total_h, most_h = row.duration_hours + message.extension_hours, turn.tools.settings.max_total_hours
    if total_h > most_h:
        return Reject(f"extension_hours: {total_h:g} hours in total are more than {most_h:g}")
    limits, mates = turn.view.limits, rows_of_gang(row, turn.view)
    refusal = (
        too_long(limits, row.user_id, total_h)
        or beyond(limits, row.user_id, hours_week=message.extension_hours * len(mates))
        or _moves_others(row, message, turn)
    )
    if refusal is not None:
        return Reject(refusal)
    # Those who wait for its GPUs are told what they are promised now.
    line = (admit_message(row.gpu_type),) if row.gpus_held or row.start_at else ()
    return sum(
        (_longer(each, message, turn) for each in mates), checked_in_turn(row.gpu_type, turn) + Advance(then=line)
    )


def _longer(row: Row, message: Extend, turn: Turn) -> Advance:
    """Warnings are armed again."""
    total_h = row.duration_hours + message.extension_hours
    extended_h = row.extended_hours + message.extension_hours
    values = {"duration_hours": total_h, "extended_hours": extended_h, **rearmed(row), **used(row)}
    by = f"by {message.extension_hours:g} h"
    told = f"{by}, to {total_h:g} h in all"
    if row.expires_at is not None:
        values["expires_at"] = row.expires_at + timedelta(hours=message.extension_hours)
        told = f"{by}, until {second(values['expires_at'])}"
    if (who := another(row, turn)) is not None:
        told = f"{told}, by {who}"
    move = Move(row, None, values={**values, **noted(row, message, told, turn)})
    # Its own turn takes back what was said in the pod.
    return hand_out(move) if row.warnings_sent else Advance((move,))


def _moves_others(row: Row, message: Extend, turn: Turn) -> str | None:
    """Why it can't have so much more time: others are promised its GPUs from then on."""
    standing, by = turn.view.standings.get(row.gpu_type), timedelta(hours=message.extension_hours)
    if standing is None or standing.extensions_win:
        return None
    key = unit_key(row)
    others = moved_by(standing, key, by)
    if not others:
        return None
    possible = most_possible(standing, key, by)
    until = f", until {minute(row.expires_at + possible)}" if row.expires_at is not None else ""
    latest = f"at most {possible / timedelta(hours=1):.2f} h more{until}" if possible else "no more time is possible"
    wait = "waits" if len(others) == 1 else "wait"
    return f"extension_hours: {latest}: its GPUs are promised to {len(others)} that {wait}"
