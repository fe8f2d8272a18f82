"""Reservations in words: how long, what was asked for, why one waits, how one ended."""

import getpass
import os
from datetime import datetime
from typing import Any

from pgfleet.producers.defaults import defaults
from pgfleet.schema.errors import FleetError
from pgfleet.schema.line.plan import Code
from pgfleet.schema.printable import printable
from pgfleet.schema.reads.place import DISK_CODES, Place
from pgfleet.schema.reservation import Status

WHO = "PGFLEET_USER"


def default_user() -> str:
    """$PGFLEET_USER, else what the file of defaults says, else the login name.

    Raises:
        FleetError: none is known, or that file can't be used.
    """
    given = os.environ.get(WHO, "").strip() or defaults().user
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise FleetError(f"Who are you? Give --user, or set {WHO}.") from None


def span(seconds: float) -> str:
    """A length of time in its largest fitting unit: `8 s`, `3 min`, `2.5 h`, `4 d`."""
    seconds = max(seconds, 0)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} d"


def gpus(row: dict[str, Any]) -> str:
    """`2 x h100`; a cpu type has no count, and a row that was cancelled before its create arrived has no type."""
    if row["gpu_type"] is None:
        return "-"
    return f"{row['gpu_count']} x {row['gpu_type']}" if row["gpu_count"] else str(row["gpu_type"])


def disk(row: dict[str, Any]) -> str:
    """`data, 200 GB, attached`; a disk that is not there yet has only its name."""
    size = "" if row["disk_size_gb"] is None else f", {row['disk_size_gb']} GB"
    return f"{printable(row['disk_name'])}{size}, {row['disk_status'] or 'not there yet'}"


def waiting(place: Place, now: datetime) -> str:
    """`position 3, ETA 12 min`; `at most` where nobody who comes later can move that."""
    if place.code == Code.SCHEDULED and place.eta is not None:
        return f"in {span((place.eta - now).total_seconds())}"
    eta = "unknown" if place.eta is None else span((place.eta - now).total_seconds())
    return f"position {place.ahead + 1}, ETA {'at most ' if place.is_promised else ''}{eta}"


def held(row: dict[str, Any]) -> str:
    """`STUCK: holds 2 x h100: its pod gpu-dev-3f2a9c1e on node n1 is terminating since 12:01 UTC`."""
    what = f"holds {row['gpus_held']} x {row['gpu_type']}" if row["gpus_held"] else "is not gone"
    forced = f", released by force by {row['forced_by']}" if row["forced_at"] else ""
    return f"STUCK: {what}{forced}: {row['waits_for'] or 'nobody has looked what is left of it'}"


def story(row: dict[str, Any], place: Place | None, now: datetime) -> str:
    """One line: how it is, why, and until when."""
    shown = row["current_detailed_status"] or row["status_reason"] or ""
    if row["is_stuck"]:
        return f"{held(row)} ({row['status_reason'] or shown})"
    match row["status"]:
        case Status.PENDING | Status.QUEUED if place is not None:
            if place.code in DISK_CODES and not shown.startswith(place.code):
                # The disk has changed since the worker wrote the row's text.
                shown = f"{place.code}: disk {disk(row)}"
            return f"{shown} ({waiting(place, now)})"
        case Status.ACTIVE:
            left = (row["expires_at"] - now).total_seconds()
            ends = f"{span(left)} left" if left > 0 else "its time is over"
            return ends if row["current_detailed_status"] in {None, "", "Ready"} else f"{shown} ({ends})"
        case Status.FAILED:
            return str(row["failure_reason"] or row["status_reason"] or shown)
        case Status.CANCELLED | Status.EXPIRED:
            return str(row["status_reason"] or shown)
        case _:
            return str(shown)
