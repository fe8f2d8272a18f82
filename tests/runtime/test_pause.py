"""How long an idle consumer pauses, and what ends a pause."""

import threading
import time

import pytest

from pgfleet.workers.runtime.wake import Pause


def waited_s(pause: Pause, due_s: float | None = None) -> float:
    started = time.monotonic()
    pause.wait(due_s)
    return time.monotonic() - started


class Arrived(threading.Event):
    """Notes how long it was waited for, without waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return self.is_set()


def test_a_pause_grows_from_10_ms_to_the_longest_and_starts_again_after_activity() -> None:
    arrived = Arrived()
    pause = Pause(arrived, 2)

    for _ in range(6):
        pause.wait(None)
    pause.active()
    pause.wait(None)

    assert arrived.waits == pytest.approx([0.01, 0.04, 0.16, 0.64, 2, 2, 0.01])


def test_a_message_that_is_due_ends_a_pause() -> None:
    arrived = Arrived()
    pause = Pause(arrived, 2)
    for _ in range(6):
        pause.wait(None)
    arrived.waits.clear()

    for due_s in (0.5, 60, 0, -3):
        pause.wait(due_s)

    assert arrived.waits == [0.5, 2, 0.001, 0.001]


def test_the_bell_ends_a_pause() -> None:
    pause = Pause(threading.Event(), 5)
    for _ in range(2):
        waited_s(pause)
    pause.arrived.set()

    assert waited_s(pause) < 0.1


def test_a_bell_that_rang_before_the_claim_is_no_news() -> None:
    pause = Pause(threading.Event(), 5)
    pause.arrived.set()

    pause.clear()

    assert waited_s(pause) >= 0.009
