"""Messages, headers and kinds that nobody expected: each fails alone, and within its limit."""

from dataclasses import replace
from typing import Any

import pytest

from pgfleet.workers.runtime.work import work
from worlds.fleet import move_clock, settings_for, worker_on
from worlds.small.kind import do, small_kind
from worlds.small.world import Small

# Everything that someone else may have left in the headers, our own part included.
HEADERS: list[Any] = [
    None,
    7,
    "text",
    [1],
    {},
    {"pgfleet": None},
    {"pgfleet": "text"},
    {"pgfleet": {"attempts": "x", "released": [], "sent_at": 7}},
    {"pgfleet": {"attempts": -5, "released": -5, "sent_at": ""}},
    {"pgfleet": {"attempts": 10**30, "released": 1e300, "sent_at": "never"}},
    {"pgfleet": {"attempts": True, "released": False, "sent_at": "2020-01-01"}},
]


def test_being_asked_to_wait_for_ages_is_waiting_for_as_long_as_a_backoff_may_be(small: Small) -> None:
    small.job(1)
    small.job(2)
    msg_id = small.send(do(1, "again_after_ages"))
    small.send(do(2))

    small.worker.run_once()

    assert small.headers(msg_id)["pgfleet"]["attempts"] == 0
    assert small.status(2) == "running"
    move_clock(small.conn, small.worker.running.settings.backoff_cap_s + 1)
    assert small.worker.run_once() == 1


BODIES: list[Any] = [None, 7, "do", [1], {}, {"action": "drop"}, {"action": "do"}, {"action": "do", "job_id": [1]}]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_body_that_cant_be_read_is_a_dead_letter_at_once(small: Small, body: Any) -> None:
    small.send(body)

    small.worker.run_once()

    assert small.queue() == []
    assert small.all("select message, row_id from public.dead_letters") == [(body, None)]


@pytest.mark.parametrize(
    "text",
    ["[" * 3000 + "]" * 3000, '{"action": "do", "job_id": 1' + "0" * 5000 + "}", '{"x": ' * 3000 + "1" + "}" * 3000],
    ids=["nested lists", "5,000 digits", "nested objects"],
)
def test_json_that_python_cant_read_is_a_dead_letter_and_holds_nobody_up(small: Small, text: str) -> None:
    small.conn.execute("insert into pgmq.q_small_jobs (vt, message) values (public.fleet_now(), %s::jsonb)", (text,))
    small.job(1)
    small.send(do(1))

    small.worker.run()

    assert small.queue() == []
    assert small.status() == "running"
    assert small.all("select message = %s::jsonb from public.dead_letters", (text,)) == [True]


def test_headers_that_python_cant_read_count_as_none(small: Small) -> None:
    small.job(1)
    headers = "[" * 3000 + "]" * 3000
    small.conn.execute(
        "insert into pgmq.q_small_jobs (vt, message, headers) values (public.fleet_now(), %s::jsonb, %s::jsonb)",
        ('{"action": "do", "job_id": 1}', headers),
    )

    small.worker.run()

    assert small.status() == "running"


@pytest.mark.parametrize("part", ["read", "key", "load", "limit", "fail"])
def test_a_kind_that_raises_where_it_should_not_holds_no_other_message_up(small: Small, part: str) -> None:
    kind = small_kind()
    original = getattr(kind, part)

    def broken(*args: Any) -> Any:
        if "never" in repr(args):
            raise KeyError(part)
        return original(*args)

    small.job(1)
    small.job(2)
    msg_id = small.send(do(1, "never"))
    small.send(do(2))
    changed: dict[str, Any] = {part: broken}
    with worker_on(replace(kind, **changed), settings_for(small.dsn, backoff_s=5)) as worker:
        for _ in range(3):
            worker.run_once()
            move_clock(small.conn, 80)

    assert small.status(2) == "running"
    assert small.queue() == []
    assert small.all("select msg_id from public.dead_letters") == [msg_id]


def test_a_row_that_cant_fail_does_not_keep_its_message_from_the_dead_letters(small: Small) -> None:
    small.job(1, "done")
    small.send(do(1, "never"))

    small.worker.run_once()

    assert small.letters() == ["the outside never will"]
    assert small.status() == "done"
    assert small.queue() == []


def test_an_error_that_quotes_unwritable_text_is_a_reason_all_the_same(small: Small) -> None:
    small.job(1)
    small.send(do(1, "unwritable"))

    small.worker.run_once()

    assert small.letters() == ["bytes  and ?"]
    assert small.status() == "failed"


@pytest.mark.parametrize("script", ["wait", "raise", "again_after", "reject"])
@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_headers_of_any_shape_break_nothing(small: Small, headers: Any, script: str) -> None:
    small.job(1)
    small.send(do(1, script), headers)

    (task,) = small.worker.claim()
    work(small.worker.running, [task])

    assert task.sent_at == task.claimed.enqueued_at
    assert len(small.queue()) + len(small.letters()) == 1
    for ours in small.all("select headers->'pgfleet' from pgmq.q_small_jobs"):
        assert ours["attempts"] in {0, 1}
        assert ours["released"] in {0, 1}
