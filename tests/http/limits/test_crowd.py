"""A line before the threads is bounded, in length and in time, and whoever is sent away is told to come back."""

import asyncio
import threading

from starlette.responses import Response

from pgfleet.producers.http.limits.crowd import Crowd
from worlds.fleet import PATIENCE_S


def status_of(answer: object) -> int:
    return answer.status_code if isinstance(answer, Response) else 200


def test_who_comes_when_the_line_is_full_is_sent_away_at_once() -> None:
    """One is answered, two wait, and the other seven hold nothing."""
    let_go = threading.Event()

    async def all_at_once() -> list[int]:
        crowd = Crowd(threads=1, most_waiting=2)
        asked = [asyncio.create_task(crowd.in_thread(lambda: let_go.wait(PATIENCE_S))) for _ in range(10)]
        done, waiting = await asyncio.wait(asked, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 7:
            more, waiting = await asyncio.wait(waiting, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        let_go.set()
        return sorted([status_of(await each) for each in asked])

    assert asyncio.run(all_at_once()) == [200] * 3 + [503] * 7


def test_who_has_waited_for_too_long_is_not_answered_late() -> None:
    """Nobody listens any more; the next one in line is answered instead."""
    now = [0.0]
    called: list[int] = []

    async def one_after_another() -> list[object]:
        crowd = Crowd(threads=1, longest_s=10, clock=lambda: now[0])

        def slow() -> None:
            now[0] += 11

        return list(await asyncio.gather(crowd.in_thread(slow), crowd.in_thread(lambda: called.append(1))))

    answers = asyncio.run(one_after_another())

    assert [status_of(each) for each in answers] == [200, 503]
    assert called == []


def test_what_a_call_raises_is_raised_where_it_is_waited_for_and_threads_end_with_the_crowd() -> None:
    names: list[str] = []

    def fails() -> None:
        names.append(threading.current_thread().name)
        raise ZeroDivisionError

    async def asked(crowd: Crowd) -> list[object]:
        calls = [crowd.in_thread(fails) for _ in range(5)]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    crowd = Crowd(threads=2)
    before = set(threading.enumerate())
    found = asyncio.run(asked(crowd))
    own = set(threading.enumerate()) - before
    crowd.close()

    assert [type(each) for each in found] == [ZeroDivisionError] * 5
    assert set(names) <= {each.name for each in own}
    for each in own:
        each.join(PATIENCE_S)
    assert [each.name for each in own if each.is_alive()] == []
