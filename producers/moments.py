"""Times as people type them: `tomorrow 9:00`, `monday 14:30`, `17:00`, `in 3 h`, `2026-12-01 09:00`."""

import re
from datetime import datetime, timedelta

from pgfleet.schema.errors import FleetError

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_AT = re.compile(r"(?:(?P<day>today|tomorrow|[a-z]{3,9}) )?(?:at )?(?P<hour>\d{1,2}):(?P<minute>\d\d)")
_IN = re.compile(r"in (?P<number>\d+(?:\.\d+)?) ?(?P<unit>m|min|h|d)[a-z]*")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days"}


def moment(text: str, now: datetime) -> datetime:
    """A time that a person has typed, of the clock on their wall unless it names a zone; without a day it is the next.

    `now` is what that clock shows: a day that is an hour longer, or shorter, is left to the zone.

    Raises:
        FleetError: it is no time.
    """
    plain = " ".join(text.lower().split())
    try:
        if found := _IN.fullmatch(plain):
            return (now.astimezone() + timedelta(**{_UNITS[found["unit"]]: float(found["number"])})).astimezone()
        if found := _AT.fullmatch(plain):
            return _at(found, text, now).astimezone()
        given = datetime.fromisoformat(text.strip())
        return given if given.tzinfo else given.astimezone()
    except (ValueError, OverflowError):
        raise _no_time(text) from None


def _at(found: re.Match[str], text: str, now: datetime) -> datetime:
    hour, minute = int(found["hour"]), int(found["minute"])
    if hour > 23 or minute > 59:
        raise _no_time(text)
    at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    match found["day"]:
        case None:
            return at if at > now else at + timedelta(days=1)
        case "today":
            return at
        case "tomorrow":
            return at + timedelta(days=1)
        case day:
            return _on(day, at, now, text)


def _on(day: str, at: datetime, now: datetime, text: str) -> datetime:
    number = next((number for number, name in enumerate(DAYS) if name.startswith(day)), None)
    if number is None:
        raise _no_time(text)
    at += timedelta(days=(number - at.weekday()) % 7)
    return at if at > now else at + timedelta(days=7)


def _no_time(text: str) -> FleetError:
    return FleetError(
        f'--at: {text!r} is no time; such as "tomorrow 9:00", "monday 14:30", "in 3 h", "2026-12-01 09:00".'
    )
