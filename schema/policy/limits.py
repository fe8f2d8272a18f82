"""Why somebody can't have more: what they have of what is limited, and the most of it. Refusals name both."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Protocol, TypeAlias

from pgfleet.schema.rows.row import Row

# By user, limit, and GPU type where it is of one: how much is used, and the most. What is not limited is not in it.
Limits: TypeAlias = Mapping[tuple[str, str, str], Row]


class Wanted(Protocol):
    """What is asked for, by a message."""

    @property
    def user_id(self) -> str: ...
    @property
    def gpu_type(self) -> str: ...
    @property
    def gpu_count(self) -> int: ...
    @property
    def duration_hours(self) -> float: ...
    @property
    def dockerimage(self) -> str | None: ...
    @property
    def idle_minutes(self) -> int | None: ...
    @property
    def nodes(self) -> int: ...


def limits_in(rows: Iterable[Row]) -> Limits:
    return {(row["user_id"], row["name"], row["gpu_type"]): row for row in rows}


def beyond(limits: Limits, user_id: str, **more: float) -> str | None:
    """Why a user can't have so many more of these; None if they can."""
    return next(filter(None, (_beyond(limits.get((user_id, name, "")), each) for name, each in more.items())), None)


def refused(limits: Limits, wanted: Wanted) -> str | None:
    """Why a reservation is not for this user, whatever the cluster has; None if it is."""
    return (
        too_long(limits, wanted.user_id, wanted.duration_hours)
        or _image(limits.get((wanted.user_id, "images", "")), wanted)
        or _too_idle(limits.get((wanted.user_id, "idle_minutes", "")), wanted)
        or _beyond(limits.get((wanted.user_id, "gpus", wanted.gpu_type)), wanted.gpu_count * wanted.nodes)
        or beyond(limits, wanted.user_id, hours_week=wanted.duration_hours * wanted.nodes)
    )


def too_long(limits: Limits, user_id: str, hours: float) -> str | None:
    """Why one reservation can't last so long, extensions and all."""
    limit = limits.get((user_id, "hours", ""))
    if limit is None or limit.most is None or hours <= limit.most:
        return None
    return f"duration_hours: {user_id} may have {limit.most:g} {limit.counts}, not {hours:g}"


def idle_minutes(limits: Limits, wanted: Wanted) -> int | None:
    """After how many minutes without use it ends: as it asks, else as the policy says; a cpu type never."""
    limit = limits.get((wanted.user_id, "idle_minutes", ""))
    by_policy = None if limit is None or limit.most is None or not wanted.gpu_count else max(int(limit.most), 1)
    return wanted.idle_minutes or by_policy


def _beyond(limit: Row | None, number: float) -> str | None:
    if limit is None or limit.most is None or limit.used + number <= limit.most:
        return None
    extra = f"; {number:g} more would be too many" if number > 1 and limit.used <= limit.most else ""
    return f"{limit.user_id} has {_used(limit)} {limit.counts}, and may have {_number(limit.most)}{extra}"


def _used(limit: Row) -> str:
    """What is beyond a limit is not counted to its end."""
    return _number(limit.used) if limit.used <= limit.most else f"more than {_number(limit.most)}"


def _number(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:.1f}"


def _image(limit: Row | None, wanted: Wanted) -> str | None:
    """The image of the fleet itself is everybody's."""
    if limit is None or limit.patterns is None or wanted.dockerimage is None:
        return None
    if any(_is_like(wanted.dockerimage, pattern) for pattern in limit.patterns):
        return None
    return f"dockerimage: {wanted.user_id} may have {' or '.join(limit.patterns)}, not {wanted.dockerimage}"


def _is_like(image: str, pattern: str) -> bool:
    """Only `*` stands for others: brackets and question marks are themselves."""
    return fnmatchcase(image, pattern.replace("[", "[[]").replace("?", "[?]"))


def _too_idle(limit: Row | None, wanted: Wanted) -> str | None:
    if limit is None or limit.most is None or (wanted.idle_minutes or 0) <= max(limit.most, 1):
        return None
    return f"idle_minutes: {wanted.user_id} may have {limit.most:g} {limit.counts}, not {wanted.idle_minutes}"
