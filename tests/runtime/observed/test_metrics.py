"""How long messages last is counted from when they are due, each once."""

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from pgfleet.workers.runtime.metrics import MESSAGE_BOUNDS_S, observe_all
from worlds.fleet import move_clock, stop_clock
from worlds.small.kind import QUEUE, do
from worlds.small.world import Small

NAME = "pgfleet_message_seconds"


def lasted(small: Small, *bounds: float) -> list[float]:
    """How many messages were settled within each of these, once what is due has been answered."""

    def counted() -> list[float]:
        values = [
            REGISTRY.get_sample_value(f"{NAME}_bucket", {"queue": QUEUE, "le": str(float(bound))}) for bound in bounds
        ]
        return [value or 0 for value in values]

    before = counted()
    small.worker.run()
    return [after - value for after, value in zip(counted(), before, strict=True)]


def test_a_message_has_lasted_since_it_was_due(small: Small) -> None:
    small.job()
    stop_clock(small.conn)
    small.send(do(1, "advance"), delay_s=-100)

    assert lasted(small, 60, 300) == [0, 1]


def test_a_timer_has_lasted_since_its_time(small: Small) -> None:
    small.job()
    stop_clock(small.conn)
    small.send(do(1, "advance"), delay_s=3600)
    move_clock(small.conn, 3600 + 20)

    assert lasted(small, 10, 300) == [0, 1]


def test_what_is_put_back_has_not_come_to_its_end(small: Small) -> None:
    small.job()
    small.send(do(1, "again"))

    assert lasted(small, float("inf")) == [0]


@pytest.mark.parametrize("values", [[], [0.01], [0.0, 0.01, 0.011, 5, 7, 1800, 1801, 1e9], [3.0] * 50])
def test_many_are_counted_as_each_would_be(values: list[float]) -> None:
    counted = []
    for at_once in (True, False):
        registry = CollectorRegistry()
        histogram = Histogram("h", "of a test", ["queue"], buckets=MESSAGE_BOUNDS_S, registry=registry).labels("q")
        if at_once:
            observe_all(histogram, MESSAGE_BOUNDS_S, list(values))
        for value in [] if at_once else values:
            histogram.observe(value)
        (family,) = registry.collect()
        counted.append([(s.name, s.labels, s.value) for s in family.samples if not s.name.endswith("_created")])

    assert counted[0] == counted[1]
