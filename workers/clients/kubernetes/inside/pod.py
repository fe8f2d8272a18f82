"""Commands in a reservation's pod: the files that warn its user, and how busy its GPUs are.

What runs in a pod is a stranger's: a command of ours there has a deadline and a length, and what it writes is believed
only as numbers. That it can't be run says nothing about the reservation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from pgfleet.workers.clients.kubernetes.exec import Bounds, Commands
from pgfleet.workers.clients.kubernetes.inside.commands import USE_BYTES, USE_OF_GPUS, clearing, use_in, warning
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

# For what nothing depends on.
SHORT_S = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Inside:
    """The inside of one namespace's pods. Every command has a timeout well under a lease, and none raises."""

    commands: Commands

    def warn(self, pod: str, minutes: int, text: str) -> None:
        """Write the file that says that the end is so near, in place of those before it."""
        self._run(pod, warning(minutes, text))

    def clear_warnings(self, pod: str) -> None:
        self._run(pod, clearing())

    def use_of_gpus(self, pod: str, gpus: int) -> tuple[int, ...] | None:
        """How busy each of the pod's GPUs is, in percent; None where that can't be read."""
        written = self._run(pod, USE_OF_GPUS, USE_BYTES)
        return None if written is None else use_in(written, gpus)

    def _run(self, pod: str, command: Sequence[str], size_bytes: int = 1024) -> bytes | None:
        """What it wrote; None where it could not be run, which is only told."""
        try:
            return self.commands.run(pod, command, Bounds(SHORT_S, size_bytes))
        except (TryAgainError, NeverError) as error:
            log.warning("pod.command_failed", pod=pod, command=command[0], reason=str(error))
            return None
