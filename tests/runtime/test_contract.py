"""What a newer version has sent waits for a newer worker: an upgrade loses nothing, in whatever order."""

import pytest

from pgfleet.producers.sending import put
from pgfleet.schema.doctor.examination import CHECKS, examine
from pgfleet.schema.messages import CONTRACT, CONTRACT_HEADER
from worlds.small.kind import QUEUE, Do, do
from worlds.small.world import Small

NEWER = {CONTRACT_HEADER: CONTRACT + 1}


def test_a_message_of_a_newer_contract_is_given_back_and_counts_as_nothing(small: Small) -> None:
    small.job()
    message = small.send({**do(1), "of_tomorrow": True}, NEWER)

    for _ in range(5):
        small.worker.run_once()
        small.conn.execute("update pgmq.q_small_jobs set vt = public.fleet_now()")

    headers = small.headers(message)
    assert small.all("select 1 from public.dead_letters") == []
    assert headers[CONTRACT_HEADER] == CONTRACT + 1
    assert (headers["pgfleet"]["attempts"], headers["pgfleet"]["waits_for"]) == (0, "WORKER_TOO_OLD")
    assert "begun" not in headers["pgfleet"]


def test_it_waits_for_a_minute_and_lets_the_others_go_on(small: Small) -> None:
    small.job(1)
    small.job(2)
    newer = small.send(do(1), NEWER)
    small.send(do(2))

    small.worker.run()

    assert (small.status(1), small.status(2)) == ("ready", "running")
    assert small.due_s(newer) > 40


def looks(small: Small, number: int) -> list[float]:
    """Let a worker look so often at what is there; for how long it was put back each time."""
    paused: list[float] = []
    for _ in range(number):
        small.worker.run_once()
        paused += small.all("select extract(epoch from vt - public.fleet_now())::float8 from pgmq.q_small_jobs")
        small.conn.execute("update pgmq.q_small_jobs set vt = public.fleet_now()")
    return paused


def test_a_stranger_who_claims_to_be_newer_is_waited_for_less_and_less_often_and_then_rejected(small: Small) -> None:
    """Else a million of such messages would be claimed every minute, for ever."""
    small.send(do(1), {**NEWER, "asked_by": "eve", "asked_role": "USER"})

    paused = looks(small, 30)

    assert len(paused) == 24
    assert paused[0] < 80 < paused[1] < 160 < paused[2]
    assert 2600 < min(paused[7:]) <= max(paused[7:]) < 4600
    assert small.all("select verdict from public.dead_letters") == ["rejection"]


@pytest.mark.parametrize("version", [CONTRACT, None, "new", -1, True, {}, 10**30])
def test_any_other_header_keeps_no_message(small: Small, version: object) -> None:
    small.job()
    small.send(do(1), {CONTRACT_HEADER: version})

    small.worker.run()

    assert small.status() == "running"


def test_the_doctor_tells_what_waits_for_newer_workers(small: Small) -> None:
    small.job()
    small.send(do(1), NEWER)
    small.worker.run_once()

    found = examine(small.conn, checks=[check for check in CHECKS if check.name == "queues"])

    assert any("WORKER_TOO_OLD" in finding.text for finding in found)


def test_our_own_producers_say_which_contract_they_know(small: Small) -> None:
    number = put(small.conn, QUEUE, Do(action="do", job_id=1))

    assert small.headers(number) == {CONTRACT_HEADER: CONTRACT}
