"""Why a pod's containers wait, how often they crashed, and how they ended: the words of a kubelet, sorted by kind."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pgfleet.schema.printable import cut, printable

LONGEST = 1000
BACK_OFF = "CrashLoopBackOff"
NEVER = frozenset({"InvalidImageName", "ErrImageNeverPull"})
IMAGE = frozenset(
    {"ErrImagePull", "ImageInspectError", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed"}
)
ON_ITS_WAY = frozenset({"", "ContainerCreating", "PodInitializing", "Pulling"})
# A registry's own words are all that a kubelet passes on: what the registry does not have, or does not give to us.
MISSING = (
    "not found",
    "notfound",
    "manifest unknown",
    "name unknown",
    "does not exist",
    "denied",
    "unauthorized",
    "forbidden",
)
BUSY = ("toomanyrequests", "too many requests", "service unavailable", "timeout", "timed out", "deadline exceeded")


class Waiting(StrEnum):
    """What a container waits for, by what time does to it."""

    PULLING = "pulling"  # its image, or what is made before it
    IMAGE = "image"  # a registry that does not give the image now
    IMAGE_MISSING = "image_missing"  # an image that the registry does not know, or not for us
    STARTING = "starting"  # something that may heal: a container that could not be made this time
    NEVER = "never"  # nothing: no time will heal it


@dataclass(frozen=True, slots=True)
class Waits:
    kind: Waiting
    reason: str
    message: str

    @property
    def text(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container, or the pod, ended; without a code where no container ran."""

    code: int | None
    reason: str
    message: str

    @property
    def text(self) -> str:
        """`exit code 3 (Error)`, with the message if there is one."""
        code = None if self.code is None else f"exit code {self.code}"
        known = [f"{code} ({self.reason})" if code and self.reason else code or self.reason or "no reason given"]
        return ": ".join([*known, self.message] if self.message else known)


@dataclass(frozen=True, slots=True)
class Crashes:
    """How often the container that crashed most did so, and how it ended the last time."""

    number: int
    last: Exit


def waits_of(statuses: list[Any]) -> Waits | None:
    """The first container that waits for more than its turn, else the first that waits; a crash is no wait."""
    waits = [_waits(waiting) for waiting in _waiting(statuses)]
    return next((each for each in waits if each.kind is not Waiting.PULLING), waits[0] if waits else None)


def _waiting(statuses: list[Any]) -> Iterator[Any]:
    for status in statuses:
        waiting = status.state.waiting if status.state else None
        if waiting is not None and waiting.reason != BACK_OFF:
            yield waiting


def _waits(waiting: Any) -> Waits:
    reason, message = waiting.reason or "", words(waiting.message)
    return Waits(_kind(reason, message.lower()), reason, message)


def _kind(reason: str, message: str) -> Waiting:
    if reason in ON_ITS_WAY:
        return Waiting.PULLING
    if reason in NEVER:
        return Waiting.NEVER
    if reason not in IMAGE:
        return Waiting.STARTING
    missing = any(word in message for word in MISSING) and not any(word in message for word in BUSY)
    return Waiting.IMAGE_MISSING if missing else Waiting.IMAGE


def crashes_of(statuses: list[Any]) -> Crashes | None:
    """None where no container has failed yet."""
    crashed = [found for status in statuses if (found := _crashes(status)) is not None]
    return max(crashed, key=lambda found: found.number, default=None)


def _crashes(status: Any) -> Crashes | None:
    now, before = status.state, status.last_state
    waits = bool(now and now.waiting and now.waiting.reason == BACK_OFF)
    ended = (now.terminated if now else None) or (before.terminated if before else None)
    failed = bool(ended is not None and ended.exit_code)
    # The kubelet counts restarts, which come after the crash: the last one may still be missing.
    number = (status.restart_count or 0) + int(waits or bool(now and now.terminated and now.terminated.exit_code))
    if not number or not (failed or waits):
        return None
    return Crashes(number, Exit(None, BACK_OFF, "") if ended is None else exit_of(ended))


def exit_of(terminated: Any) -> Exit:
    return Exit(terminated.exit_code, terminated.reason or "", words(terminated.message))


def exits_of(statuses: list[Any]) -> Iterator[Any]:
    """The containers that have ended, failed ones first."""
    ended = [status.state.terminated for status in statuses if status.state and status.state.terminated]
    return iter(sorted(ended, key=lambda each: not each.exit_code))


def runs(statuses: list[Any]) -> bool:
    """Whether all containers are running, ready or not."""
    return bool(statuses) and all(status.state and status.state.running for status in statuses)


def has_run(statuses: list[Any]) -> bool:
    """Whether any container ever did. One that never did is called terminated, too, when its pod is given up."""
    return any(_ran(status.state) or _ran(status.last_state) for status in statuses)


def _ran(state: Any) -> bool:
    if state is None:
        return False
    return bool(state.running or (state.terminated and (state.terminated.started_at or state.terminated.container_id)))


def oom_kills(statuses: list[Any]) -> tuple[tuple[datetime, str], ...]:
    kills = {
        (state.terminated.finished_at, status.name)
        for status in statuses
        for state in (status.state, status.last_state)
        if state and state.terminated and state.terminated.reason == "OOMKilled" and state.terminated.finished_at
    }
    return tuple(sorted(kills))


def words(text: str | None) -> str:
    """What others wrote, on one line that is not cut within a word."""
    return cut(printable(text), LONGEST)
