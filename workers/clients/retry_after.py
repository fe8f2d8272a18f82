"""How long a server asks to be left alone, by its `Retry-After`."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite


def retry_after_s(header: str | None, answered_at: str | None) -> float | None:
    """Seconds from a `Retry-After`, which holds them or a date, at least 0; None where it says nothing.

    A date is of the server's clock, and so is the `Date` of its answer: without that, it says nothing to us.
    """
    try:
        seconds = float(header or "")
    except ValueError:
        return _between_s(answered_at or "", header or "")
    return max(seconds, 0.0) if isfinite(seconds) else None


def _between_s(http_date: str, later: str) -> float | None:
    try:
        return max((_read(later) - _read(http_date)).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return None


def _read(http_date: str) -> datetime:
    read = parsedate_to_datetime(http_date)
    return read.replace(tzinfo=read.tzinfo or UTC)
