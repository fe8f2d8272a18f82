"""How often one may ask: no more than a burst at once, no more than the rate in the long run, whoever asks how."""

import re
import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfleet.producers.http.limits.buckets import Buckets, Policy, Taken


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def buckets(per_s: float = 2, burst: int = 3, most: int = 10_000) -> tuple[Buckets, Clock]:
    clock = Clock()
    return Buckets(Policy("principal", per_s, burst), clock, most), clock


def allowed(taken: Taken) -> bool:
    return taken.allowed


def test_a_burst_is_taken_and_no_more() -> None:
    full, _ = buckets(burst=3)

    taken = [full.take("ada").allowed for _ in range(5)]

    assert taken == [True, True, True, False, False]


def test_one_who_is_refused_may_ask_when_it_said() -> None:
    full, clock = buckets(per_s=0.25, burst=1)
    full.take("ada")

    refused = full.take("ada")
    clock.now += refused.retry_after_s - 0.5
    too_early = full.take("ada")
    clock.now += 0.5
    in_time = full.take("ada")

    assert (refused.retry_after_s, allowed(refused), allowed(too_early), allowed(in_time)) == (4, False, False, True)


def test_nobody_pays_for_another() -> None:
    full, _ = buckets(burst=1)
    full.take("ada")

    assert not full.take("ada").allowed
    assert full.take("bob").allowed


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    full, clock = buckets(burst=2)
    full.take("ada")
    clock.now -= 500

    assert [full.take("ada").allowed for _ in range(2)] == [True, False]


@given(
    per_s=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 20), min_size=1, max_size=200),
)
def test_in_no_time_more_is_taken_than_burst_and_rate_allow(per_s: float, burst: int, pauses: list[float]) -> None:
    full, clock = buckets(per_s, burst)
    began, taken = clock.now, 0

    for pause in pauses:
        clock.now += pause
        taken += full.take("ada").allowed

        assert taken <= burst + (clock.now - began) * per_s + 1e-6


def test_ten_thousand_are_remembered_and_the_one_who_asked_last_stays() -> None:
    full, _ = buckets(burst=1, most=10_000)
    for number in range(10_000):
        full.take(str(number))
    full.take("0")

    full.take("one more")

    assert len(full) == 10_000
    assert not full.take("0").allowed
    assert full.take("1").allowed, "the one who had asked longest ago is forgotten"


def test_threads_that_ask_at_once_share_a_burst() -> None:
    full, _ = buckets(per_s=0.001, burst=100)
    taken: list[bool] = []

    def ask() -> None:
        taken.extend(full.take("ada").allowed for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(taken), sum(taken)) == (400, 100)


def test_every_answer_says_what_is_left() -> None:
    full, _ = buckets(per_s=2, burst=3)

    headers = full.take("ada").headers

    assert headers == {"RateLimit-Policy": '"principal";q=3;w=2', "RateLimit": '"principal";r=2'}


def test_an_empty_bucket_says_how_long_and_agrees_with_retry_after() -> None:
    full, _ = buckets(per_s=0.1, burst=1)

    last = full.take("ada")
    refused = full.take("ada")

    assert last.headers["RateLimit"] == '"principal";r=0;t=10'
    assert "Retry-After" not in last.headers
    assert refused.headers["RateLimit"] == '"principal";r=0;t=10'
    assert refused.headers["Retry-After"] == "10"


@pytest.mark.parametrize(("per_s", "burst"), [(1000.0, 1), (0.3, 7), (20.0, 100), (1e-3, 1)])
def test_the_fields_are_integers_of_structured_fields(per_s: float, burst: int) -> None:
    full, _ = buckets(per_s, burst)

    headers = [full.take("ada").headers for _ in range(burst + 1)]

    for each in headers:
        assert re.fullmatch(r'"principal";q=[0-9]{1,15};w=[1-9][0-9]{0,14}', each["RateLimit-Policy"])
        assert re.fullmatch(r'"principal";r=[0-9]{1,15}(;t=[1-9][0-9]{0,14})?', each["RateLimit"])


def test_a_refusal_is_a_problem_document_and_nothing_else_is_one() -> None:
    full, _ = buckets(burst=1)

    first = full.take("ada").refusal()
    second = full.take("ada").refusal()

    assert first is None
    assert second is not None
    assert (second.status_code, second.headers["retry-after"], second.media_type) == (
        429,
        "1",
        "application/problem+json",
    )
    assert b'"violated-policies": ["principal"]' in bytes(second.body)
