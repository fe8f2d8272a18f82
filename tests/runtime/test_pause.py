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
    pause = Pause(Arrived(), 600)
    for _ in range(9):
        pause.wait(None)
    pause.arrived = threading.Event()
    pause.arrived.set()

    assert waited_s(pause) < 300


def test_a_bell_that_rang_before_the_claim_is_no_news() -> None:
    pause = Pause(threading.Event(), 5)
    pause.arrived.set()

    pause.clear()

    assert waited_s(pause) >= 0.009


class Ringing(Arrived):
    """Rings all the time."""

    def is_set(self) -> bool:
        return True


def test_claims_that_find_nothing_after_a_ring_are_ever_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    pause = Pause(Ringing(), 2)

    for _ in range(8):
        pause.wait(None)
    pause.active()
    pause.wait(None)

    assert slept == pytest.approx([0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25, 0])


def test_after_silence_a_ring_is_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    pause = Pause(Ringing(), 2)
    for _ in range(3):
        pause.wait(None)
    pause.arrived = Arrived()
    pause.wait(None)
    pause.arrived = Ringing()
    slept.clear()

    pause.wait(None)

    assert slept == [0]
