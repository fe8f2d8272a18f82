"""What hangs: it keeps nothing from others, it is told, and the process ends in its time all the same."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pgfleet.workers.runtime.inside.hangs import HangWatch
from pgfleet.workers.runtime.inside.life import Life
from pgfleet.workers.runtime.inside.threads import LeftBehindError, Threads
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.work import work
from worlds.fleet import PATIENCE_S, until, worker_process
from worlds.small.kind import STUCK, UNSTUCK, do, small_kind
from worlds.small.world import Small

TESTS = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def unstuck() -> Iterator[None]:
    """Whatever a test lets hang goes on when it has ended."""
    STUCK.clear()
    UNSTUCK.clear()
    yield
    UNSTUCK.set()


class Hanging:
    """A claim that is answered in a thread of its own, and who looks after it; a lease lasts 0.3 s."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.running.leases.lease_s = 0.3
        self.claims = Threads(1, "claim")
        self.watch = HangWatch([self.running], self.claims)

    def begin(self, small: Small) -> None:
        tasks = small.worker.claim()
        self.future = self.claims.submit(work, self.running, tasks)
        assert STUCK.wait(PATIENCE_S)

    def is_left_behind(self) -> bool:
        self.watch.look()
        return self.future.done() and isinstance(self.future.exception(), LeftBehindError)

    def is_let_go(self) -> bool:
        self.watch.look()
        return bool(self.running.progress.hanging())


@pytest.fixture
def hanging(small: Small) -> Iterator[Hanging]:
    hanging = Hanging(small.worker.running)
    yield hanging
    UNSTUCK.set()
    until(lambda: not hanging.running.progress.in_hand(), within_s=10)
    hanging.claims.stop()


def due(small: Small) -> list[int]:
    return small.all("select msg_id from pgmq.q_small_jobs where vt <= public.fleet_now() order by msg_id")


def test_while_a_step_hangs_what_nobody_has_begun_is_given_back(small: Small, hanging: Hanging) -> None:
    before, stuck, after = (small.send(do(small.job(n), "hang" if n == 2 else "advance")) for n in (1, 2, 3))
    hanging.begin(small)

    until(lambda: hanging.is_left_behind() and due(small), within_s=10)

    assert due(small) == [before, after]
    assert [token.msg_id for token in hanging.running.leases.tokens()] == [stuck]
    assert (small.headers(after)["pgfleet"]["released"], small.headers(after)["pgfleet"]["attempts"]) == (1, 0)


def test_a_claim_whose_step_hangs_leaves_its_place_to_others(small: Small, hanging: Hanging) -> None:
    small.send(do(small.job(1), "hang"))
    hanging.begin(small)
    until(hanging.is_left_behind, within_s=10)
    small.send(do(small.job(2)))

    hanging.claims.submit(work, hanging.running, small.worker.claim()).result(PATIENCE_S)

    assert small.status(2) == "running"


def test_a_step_that_lasts_for_several_leases_is_let_go_and_told_with_its_stack(small: Small, hanging: Hanging) -> None:
    msg_id = small.send(do(small.job(1), "hang"))
    hanging.begin(small)

    with capture_logs() as logs:
        until(hanging.is_let_go, within_s=10)
        hanging.watch.look()

    (told,) = (line for line in logs if line["event"] == "step.hangs")
    assert (told["log_level"], told["msg_id"], told["row"], told["kind"]) == ("error", msg_id, "1", "small_job")
    assert any("_hang" in line for line in told["where"])
    assert hanging.running.leases.tokens() == []


def test_what_a_step_comes_to_after_it_was_let_go_changes_nothing(small: Small, hanging: Hanging) -> None:
    small.send(do(small.job(1), "hang"))
    hanging.begin(small)
    until(hanging.is_let_go, within_s=10)
    small.conn.execute("update pgmq.q_small_jobs set vt = public.fleet_now(), read_ct = read_ct + 1")

    UNSTUCK.set()
    until(lambda: not hanging.running.progress.in_hand(), within_s=10)

    assert small.status() == "ready"
    assert len(small.queue()) == 1


def test_an_effect_that_hangs_keeps_nobody_from_the_other_threads(small: Small) -> None:
    running = replace(
        small.worker.running, kind=small_kind(small.tools, effects=True), threads=Threads(1, "small-effect")
    )
    hanging = Hanging(running)
    small.send(do(small.job(1), "hang"))
    hanging.begin(small)
    until(hanging.is_let_go, within_s=10)
    small.send(do(small.job(2)))

    hanging.claims.submit(work, running, small.worker.claim()).result(PATIENCE_S)

    assert small.status(2) == "running"
    assert small.status(1) == "ready"


def test_a_process_in_which_a_step_hangs_is_not_live_until_it_goes_on(small: Small, hanging: Hanging) -> None:
    msg_id = small.send(do(small.job(1), "hang"))
    life = Life([hanging.running], [], {})
    hanging.begin(small)
    before = life.problems()
    until(hanging.is_let_go, within_s=10)
    meanwhile = life.problems()
    UNSTUCK.set()
    until(lambda: not hanging.running.progress.in_hand(), within_s=10)

    assert (before, life.problems()) == ([], [])
    (problem,) = meanwhile
    assert problem.startswith("small_job: a thread has hung since 2")
    assert problem.endswith(f"at message {msg_id}, row 1")


def test_a_loop_that_does_not_come_round_is_no_life(small: Small) -> None:
    running = small.worker.running
    life = Life([running], [], {})
    running.pulse.at = time.monotonic() - 1000

    assert life.problems() == ["the consumer of small_jobs has not come round for 1000 s"]


def test_a_thread_that_has_ended_with_an_exception_is_told_and_no_life(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    thread = threading.Thread(target=fail, name="listener")
    life = Life([small.worker.running], [thread], {})
    monkeypatch.setattr(threading, "excepthook", life.note_death)
    with capture_logs() as logs:
        thread.start()
        thread.join()

    assert life.problems() == ["the thread listener has ended with ZeroDivisionError"]
    assert [(line["event"], line["thread"]) for line in logs] == [("thread.died", "listener")]


def test_threads_do_in_order_what_is_submitted_and_say_what_it_came_to() -> None:
    threads = Threads(2, "work")

    numbers = [threads.submit(divmod, number, 2) for number in range(10)]
    broken = threads.submit(divmod, 1, 0)

    assert [future.result(PATIENCE_S) for future in numbers] == [divmod(number, 2) for number in range(10)]
    assert isinstance(broken.exception(PATIENCE_S), ZeroDivisionError)
    threads.stop()


@pytest.mark.parametrize("number", [1, 3])
def test_a_worker_that_hangs_ends_in_its_time_and_gives_back_what_it_has_not_begun(
    small: Small, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    small.send(do(small.job(1), "hang"))
    others = [small.send(do(small.job(job_id))) for job_id in range(2, number + 1)]
    module = "worlds.small.worker"
    with worker_process(small.dsn, None, module, threads=1, drain_s=2) as process:
        until(lambda: small.one("select min(read_ct) from pgmq.q_small_jobs") == 1, within_s=30)
        process.terminate()
        began = time.monotonic()
        until(lambda: due(small) == others, within_s=20)

        assert process.wait(PATIENCE_S) == 70
        assert time.monotonic() - began < 28, "not as long as it may drain where nobody says so"
