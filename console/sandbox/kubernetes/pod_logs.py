"""What a simulated container has printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object

ANNOTATION = "sandbox.pgfleet/log"
STARTED = ("running", "terminated")


def log_of(pod: Object) -> str:
    """The annotation's text, or one line. Raises `RefusedError` (400) while the container hasn't started."""
    statuses = pod["status"].get("containerStatuses") or ()
    if not any(state in status["state"] for status in statuses for state in STARTED):
        name = pod["metadata"]["name"]
        container = pod["spec"]["containers"][0]["name"]
        raise RefusedError(400, f'container "{container}" in pod "{name}" is waiting to start')
    printed: str = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "sandbox: the container runs")
    return printed.rstrip("\n") + "\n"
