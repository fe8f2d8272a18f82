"""Containers that can't be made or started, or end: and what their pod's restart policy makes of it.

running ----> ended ----> running      the first time at once
                |  ^
                v  |
         CrashLoopBackOff              then after 10 s, 20 s, ... 5 min
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.pulls import quick, started
from pgfleet.console.sandbox.kubernetes.recorder import Notice
from pgfleet.console.sandbox.kubernetes.situations import Step, nothing, pauses, spelt
from pgfleet.console.sandbox.kubernetes.statuses import (
    COMPLETED,
    ERROR,
    OOM_KILLED,
    Ending,
    backing_off,
    ended,
    exited,
    pod_mark,
    restarted,
    running,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.situations import Situation

TIMED_OUT = "context deadline exceeded"
NO_SUCH_FILE = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed:"
    ' unable to start container process: error during container init: exec: "/bin/nowhere": stat /bin/nowhere: no such'
    " file or directory"
)
NEVER_BEGAN = Ending(128, "StartError", NO_SUCH_FILE, began=False)


def ends_for_good(pod: Object, ending: Ending) -> bool:
    policy = pod["spec"].get("restartPolicy", "Always")
    return policy == "Never" or (policy == "OnFailure" and ending.exit_code == 0)


def ending(at: Situation, how: Ending, *, times: int | None = None) -> Iterator[Step]:
    """A running pod whose containers end so, `times` times or for ever."""
    if ends_for_good(at.pod, how):
        yield Step(0, partial(ended, ending=how))
        return
    yield Step(0, partial(exited, ending=how))
    yield Step(0, restarted, started(at))
    for count, pause_s in enumerate(pauses(), 2):
        if times is not None and count > times:
            return
        yield Step(at.delay_s, partial(exited, ending=how))
        yield Step(0, partial(backing_off, ending=how, pause=spelt(pause_s)), _backed_off(at))
        yield Step(pause_s * at.second_s, restarted, started(at))


def ends_after_start(at: Situation, how: Ending, *, times: int | None = None) -> Iterator[Step]:
    """It is never ready before it ends."""
    yield Step(at.delay_s, partial(running, ready=False), started(at))
    yield Step(at.delay_s, nothing)
    for step in ending(at, how, times=times):
        yield Step(step.delay_s, _unready(step), step.notices) if times is None else step


def crash(at: Situation) -> Iterator[Step]:
    yield from ending(at, ERROR, times=1)


def succeed(at: Situation) -> Iterator[Step]:
    yield from ending(at, COMPLETED, times=1)


def run_out_of_memory(at: Situation) -> Iterator[Step]:
    yield from ending(at, OOM_KILLED, times=1)


def crash_for_ever(at: Situation) -> Iterator[Step]:
    yield from ending(at, ERROR)


def cannot_run(at: Situation) -> Iterator[Step]:
    """RunContainerError, then the same as a container that crashes for ever."""
    error = Notice("Warning", "Failed", f"Error: {NO_SUCH_FILE}")
    yield Step(at.delay_s, partial(waiting, reason="RunContainerError", message=NO_SUCH_FILE), (error,))
    if ends_for_good(at.pod, NEVER_BEGAN):
        yield Step(at.delay_s, partial(ended, ending=NEVER_BEGAN))
        return
    for pause_s in pauses():
        apply = partial(backing_off, ending=NEVER_BEGAN, pause=spelt(pause_s))
        yield Step(at.delay_s, apply, _backed_off(at))
        yield Step(pause_s * at.second_s, _count_restart, (error,))


def cannot_create(at: Situation) -> Iterator[Step]:
    """CreateContainerError for as long as the trouble lasts."""
    error = Notice("Warning", "Failed", f"Error: {TIMED_OUT}")
    yield Step(at.delay_s, partial(waiting, reason="CreateContainerError", message=TIMED_OUT), (error,))
    if at.trouble_s is not None:
        yield Step(at.trouble_s, nothing)
        yield from quick(at)


def _unready(step: Step) -> partial[None] | None:
    """What restarts is not ready: it ends before its probe is asked."""
    return partial(restarted, ready=False) if step.apply is restarted else step.apply  # type: ignore[return-value]


def _backed_off(at: Situation) -> tuple[Notice, ...]:
    where = pod_mark(at.pod)
    return tuple(
        Notice("Warning", "BackOff", f"Back-off restarting failed container {name} in pod {where}") for name in at.names
    )


def _count_restart(pod: Object, _now: str) -> None:
    for status in pod["status"].get("containerStatuses") or ():
        status["restartCount"] += 1
