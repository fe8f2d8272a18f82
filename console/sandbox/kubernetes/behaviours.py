"""What a simulated pod does on its node: how it starts, chosen by its image or by an order, and what it does when told.

An image `sandbox/<start>`, such as `sandbox/throttled` or `sandbox/slow-pull:90` (for 90 seconds), starts so. A command
that is `true`, `false` or `exit 3` ends so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes import pulls, restarts
from pgfleet.console.sandbox.kubernetes.evictions import evicted_for, shut_down
from pgfleet.console.sandbox.kubernetes.recorder import Notice
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.rejections import MESSAGES
from pgfleet.console.sandbox.kubernetes.situations import Step
from pgfleet.console.sandbox.kubernetes.statuses import COMPLETED, ERROR, OOM_KILLED, Ending, running, unready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.situations import Script, Situation

IMAGE = re.compile(r"(?:^|/)sandbox/([a-z-]+)(?::(\d+(?:\.\d+)?))?$")
COMMAND = re.compile(r"^(?:true|false|exit (\d+))$")
HANG, READY = "hang", "ready"


@dataclass(frozen=True, slots=True)
class Start:
    """How a pod starts; its trouble lasts for `trouble_s` unless another time is asked for, or for ever."""

    script: Script
    trouble_s: float | None = None


def _ready_at_once(_: Situation) -> Iterator[Step]:
    yield Step(0, running, (Notice("Normal", "Started", "Started container main"),))


def _never_ready(at: Situation) -> Iterator[Step]:
    yield Step(at.delay_s, unready, pulls.started(at))


def _unready_at_once(_: Situation) -> Iterator[Step]:
    yield Step(0, unready)


def _vanish(_: Situation) -> Iterator[Step]:
    yield Step(0, None)


def _nothing(_: Situation) -> Iterator[Step]:
    yield from ()


STARTS = {
    READY: Start(pulls.quick),
    "never-ready": Start(_never_ready),
    "slow-pull": Start(pulls.slow, 20),
    "throttled": Start(partial(pulls.refused, words=pulls.THROTTLED), 40),
    "registry-down": Start(partial(pulls.refused, words=pulls.AWAY), 40),
    "missing": Start(partial(pulls.refused, words=pulls.MISSING)),
    "manifest-unknown": Start(partial(pulls.refused, words=pulls.UNKNOWN)),
    "denied": Start(partial(pulls.refused, words=pulls.DENIED)),
    "bad-image-name": Start(pulls.badly_named),
    "never-pull": Start(pulls.never_pulled),
    "create-timeout": Start(restarts.cannot_create, 40),
    "run-error": Start(restarts.cannot_run),
    "crash-once": Start(partial(restarts.ends_after_start, how=ERROR, times=1)),
    "crash-loop": Start(partial(restarts.ends_after_start, how=ERROR)),
    "oom-loop": Start(partial(restarts.ends_after_start, how=OOM_KILLED)),
    "completes": Start(partial(restarts.ends_after_start, how=COMPLETED)),
}
# Besides these a pod may be rejected by its node: a start of the name of the reason.
REJECTIONS = tuple(MESSAGES)
LIVE: dict[str, Script] = {
    "never-ready": _unready_at_once,
    "crash": restarts.crash,
    "crash-loop": restarts.crash_for_ever,
    "oom": restarts.run_out_of_memory,
    "succeed": restarts.succeed,
    "vanish": _vanish,
    "evict": partial(evicted_for, resource="memory"),
    "evict-storage": partial(evicted_for, resource="ephemeral-storage"),
    "shutdown": shut_down,
    HANG: _nothing,
    READY: _ready_at_once,
}


def start_named(name: str) -> Start:
    """Raises `RefusedError` (400) for one that there is not."""
    if name not in STARTS:
        raise RefusedError(400, f"unknown start {name!r}: one of {', '.join((*STARTS, *REJECTIONS))} was expected")
    return STARTS[name]


def start_of(pod: Object) -> Start:
    """What images and commands say: an image with `missing` in its name is not found."""
    for container in pod["spec"]["containers"]:
        asked = IMAGE.search(container["image"])
        if asked and asked[1] in STARTS:
            start = STARTS[asked[1]]
            return Start(start.script, float(asked[2])) if asked[2] else start
        if "missing" in container["image"]:
            return STARTS["missing"]
        code = _code_of(container)
        if code is not None:
            how = Ending(code, "Error") if code else COMPLETED
            return Start(partial(restarts.ends_after_start, how=how))
    return STARTS[READY]


def _code_of(container: Object) -> int | None:
    """The exit code of a command that does nothing but end."""
    words = container.get("args") or container.get("command") or [""]
    found = COMMAND.match(str(words[-1]).strip())
    if found is None:
        return None
    return int(found[1]) if found[1] else int(found[0] == "false")


def live(behaviour: str) -> Script:
    """What a live pod does at once. Raises `RefusedError` (400) for an unknown behaviour."""
    if behaviour not in LIVE:
        raise RefusedError(400, f"unknown behaviour {behaviour!r}: one of {', '.join(LIVE)} was expected")
    return LIVE[behaviour]
