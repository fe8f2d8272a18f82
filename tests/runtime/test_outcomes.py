"""What becomes of a message and its row, for everything that a step may return or raise."""

import pytest

from pgfleet.schema.settings import read_settings
from pgfleet.workers.runtime.decide import backoff
from worlds.fleet import move_clock, settings_for, stop_clock, worker_on
from worlds.small.kind import Do, do, small_kind
from worlds.small.world import Small


def test_advance_moves_the_row_and_deletes_the_message(small: Small) -> None:
    small.job(1)
    msg_id = small.send(do(1))

    small.worker.run_once()

    told = small.all("select status, status_reason, status_msg_id from public.small_jobs")
    assert told == [("running", "step 0", msg_id)]
    assert small.history() == ["ready", "running"]
    assert small.queue() == []


def test_a_message_may_make_its_row(small: Small) -> None:
    small.send(do(1))

    small.worker.run_once()

    assert small.history() == ["ready"]
    assert small.queue() == []


def test_follow_ups_go_out_now_later_and_to_other_queues(small: Small) -> None:
    stop_clock(small.conn)
    small.job(1)
    small.send(do(1, "follow"))

    small.worker.run_once()

    now, later = small.queue()
    assert small.due_s(now) <= 0
    assert small.due_s(later) == 3600
    assert small.all("select message from pgmq.q_small_events") == [{"told": 1}]


def test_wait_replaces_the_message_by_a_fresh_one_with_its_past(small: Small) -> None:
    stop_clock(small.conn)
    small.job(1)
    past = {"attempts": 2, "released": 1, "sent_at": "2020-01-01T00:00:00+00:00"}
    body = {"action": "do", "job_id": 1, "script": "wait"}  # without what has a default
    first = small.send(body, {"trace": "abc", "pgfleet": past})

    small.worker.run_once()

    (fresh,) = small.queue()
    assert fresh != first
    assert small.all("select message from pgmq.q_small_jobs") == [body]
    assert small.one("select read_ct from pgmq.q_small_jobs") == 0
    assert small.headers(fresh) == {"trace": "abc", "pgfleet": {**past, "attempts": 0, "released": 0}}
    assert small.due_s(fresh) == 60


def test_wait_shows_its_values_and_moves_nothing(small: Small) -> None:
    small.job(1)
    small.send(do(1, "wait"))

    small.worker.run_once()

    assert small.all("select status, note from public.small_jobs") == [("ready", "waiting 0")]
    assert small.history() == ["ready"]


def test_failures_before_a_wait_count_no_more(small: Small) -> None:
    def break_down(_message: Do) -> None:
        raise RuntimeError("broken")

    small.job()
    small.send(do(1, "wait"))
    small.tools.during.append(break_down)
    small.worker.run_once()
    small.tools.during.clear()
    move_clock(small.conn, 600)

    small.worker.run_once()

    (fresh,) = small.queue()
    assert small.headers(fresh)["pgfleet"]["attempts"] == 0


def test_waiting_keeps_the_time_of_the_first_send(small: Small) -> None:
    small.job(1)
    first = small.send(do(1, "wait"))
    sent_at = small.one("select enqueued_at from pgmq.q_small_jobs where msg_id = %s", (first,))

    for _ in range(3):
        small.worker.run_once()
        move_clock(small.conn, 61)

    assert small.worker.claim()[0].sent_at == sent_at


def test_done_deletes_the_message_alone(small: Small) -> None:
    small.job(1)
    small.send(do(1, "done"))

    small.worker.run_once()

    assert small.queue() == []
    assert small.letters() == []
    assert small.history() == ["ready"]


def test_reject_makes_a_dead_letter_at_once_and_keeps_the_message_whole(small: Small) -> None:
    small.job(1)
    body = {"action": "do", "job_id": 1, "script": "reject"}  # as it was sent, not as it was read
    msg_id = small.send(body, {"trace": "abc"})

    small.worker.run_once()

    assert small.queue() == []
    letter = "select queue, msg_id, row_id, message, headers, reason, attempts from public.dead_letters"
    assert small.all(letter) == [("small_jobs", msg_id, "1", body, {"trace": "abc"}, "nobody can do this", 0)]
    assert small.status() == "ready"


@pytest.mark.parametrize("script", ["raise", "again", "nothing", "no_changes", "unsendable", "surrogate"])
def test_an_exception_is_tried_again_after_a_while_and_counted(small: Small, script: str) -> None:
    stop_clock(small.conn)
    small.job(1)
    msg_id = small.send(do(1, script), {"trace": "abc"})

    small.worker.run_once()

    assert small.queue() == [msg_id]
    assert small.headers(msg_id)["trace"] == "abc"
    assert small.headers(msg_id)["pgfleet"]["attempts"] == 1
    assert 3.5 < small.due_s(msg_id) < 6.5
    assert small.history() == ["ready"]


def test_at_the_limit_the_message_is_a_dead_letter_and_the_row_failed_in_one_transaction(small: Small) -> None:
    small.job(1)
    small.send(do(1, "raise"))

    for _ in range(3):
        small.worker.run_once()
        move_clock(small.conn, 80)

    assert small.queue() == []
    assert small.letters() == ["RuntimeError: broken"]
    assert small.one("select attempts from public.dead_letters") == 3
    assert small.all("select status, status_reason from public.small_jobs") == [("failed", "RuntimeError: broken")]
    together = "select l.xmin = j.xmin and l.xmin = h.xmin from public.dead_letters l, public.small_jobs j"
    assert small.one(f"{together}, public.status_history h where h.to_status = 'failed'") is True


def test_never_is_a_dead_letter_at_once(small: Small) -> None:
    small.job(1)
    small.send(do(1, "never"))

    small.worker.run_once()

    assert small.letters() == ["the outside never will"]
    assert small.status() == "failed"


def test_being_asked_to_wait_is_no_failure(small: Small) -> None:
    small.job(1)
    msg_id = small.send(do(1, "again_after"))

    for _ in range(10):
        small.worker.run_once()
        move_clock(small.conn, 31)

    assert small.queue() == [msg_id]
    assert small.headers(msg_id)["pgfleet"]["attempts"] == 0
    assert small.worker.claim()[0].deaths == 0


def test_a_lost_lease_writes_nothing(small: Small) -> None:
    small.job(1)
    small.send(do(1, "lease_lost"), {"trace": "abc"})
    before = small.all("select * from pgmq.q_small_jobs"), small.all("select * from public.small_jobs")
    tasks = small.worker.claim()
    claimed = small.all("select * from pgmq.q_small_jobs")

    small.worker.running.leases.drop(task.token for task in tasks)
    small.worker.run_once()

    assert small.all("select * from public.small_jobs") == before[1]
    assert small.all("select * from pgmq.q_small_jobs") == claimed
    assert small.letters() == []


def test_the_step_that_lost_its_lease_leaves_the_message_as_it_was_claimed(small: Small) -> None:
    stop_clock(small.conn)
    small.job(1)
    msg_id = small.send(do(1, "lease_lost"))

    small.worker.run_once()

    assert list(small.headers(msg_id)["pgfleet"]) == ["claim"]
    assert small.due_s(msg_id) == 90
    assert small.history() == ["ready"]


def test_the_same_message_twice_in_a_row_in_one_claim_is_one_where_the_kind_says_so(small: Small) -> None:
    small.job(1)
    for _ in range(3):
        small.send(do(1))

    small.worker.run_once()

    assert small.status() == "running"
    assert small.queue() == []
    assert small.tools.seen == [(1, "ready")]


def test_messages_of_one_row_are_stepped_in_order_each_on_the_row_as_left_by_the_one_before(small: Small) -> None:
    small.job(1)
    small.job(2)
    for n in (1, 2, 3):
        small.send(do(1, n=n))
    small.send(do(2, n=1))

    small.worker.run_once()

    assert small.tools.seen == [(1, "ready"), (2, "ready"), (1, "running"), (1, "done")]
    reasons = "select reason from public.status_history where row_id = '1' order by history_id"
    assert small.all(reasons)[1:] == ["step 1", "step 2"]


def test_backoff_doubles_up_to_its_cap_with_a_quarter_of_jitter() -> None:
    settings = read_settings(backoff_s=5, backoff_cap_s=60)

    for failed, middle_s in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (10**6, 60)]:
        waits = {backoff(failed, settings).total_seconds() for _ in range(200)}
        assert min(waits) >= middle_s * 0.75
        assert max(waits) <= middle_s * 1.25
        assert max(waits) - min(waits) > middle_s * 0.3


def test_a_kind_without_a_limit_never_gives_up(small: Small) -> None:
    small.job(1)
    msg_id = small.send(do(1, "never"))
    unlimited = small_kind(limit=lambda _message, _view, _settings: None)

    with worker_on(unlimited, settings_for(small.dsn)) as worker:
        for _ in range(8):
            worker.run_once()
            move_clock(small.conn, 80)

    assert small.headers(msg_id)["pgfleet"]["attempts"] == 8
    assert small.letters() == []
