"""Whether somebody may keep GPUs for longer: not if a promised start would be moved by it, unless a setting lets it."""

from dataclasses import replace
from datetime import datetime, timedelta

from pgfleet.schema.line.plan import moved
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.timeline import End
from pgfleet.schema.line.unit import Unit

# The latest time possible is told to the minute.
MINUTE = timedelta(minutes=1)


def extended(standing: Standing, key: str, by: timedelta) -> Standing:
    """As it stands when a unit, which holds GPUs or is booked, has so much more time."""

    def later(end: End) -> End:
        return end._replace(at=end.at + by) if end.unit == key and end.at is not None else end

    def longer(unit: Unit) -> Unit:
        return replace(unit, hours=unit.hours + by / timedelta(hours=1)) if unit.key == key else unit

    return replace(
        standing,
        ends=tuple(map(later, standing.ends)),
        line=tuple(map(longer, standing.line)),
        bookings=tuple(map(longer, standing.bookings)),
    )


def moved_by(standing: Standing, key: str, by: timedelta) -> list[Unit]:
    """Those others whose start would be moved."""
    return [unit for unit in moved(standing.plan(), extended(standing, key, by).plan()) if unit.key != key]


def most_possible(standing: Standing, key: str, wanted: timedelta) -> timedelta:
    """The most, of what is wanted, that moves nobody's start."""
    least, most = 0, wanted // MINUTE
    while least < most:
        middle = (least + most + 1) // 2
        if moved_by(standing, key, middle * MINUTE):
            most = middle - 1
        else:
            least = middle
    return least * MINUTE


def end_of_unit(standing: Standing, key: str) -> datetime | None:
    """When its GPUs are free, as it stands."""
    return max((end.at for end in standing.ends if end.unit == key and end.at is not None), default=None)
