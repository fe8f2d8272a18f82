"""What a worker counts of itself, for Prometheus; what is counted of the whole fleet, `pgfleet serve` shows."""

from bisect import bisect_right
from collections.abc import Sequence
from math import inf

from prometheus_client import Counter, Gauge, Histogram

CLAIMED = Counter("pgfleet_claimed_total", "Messages claimed", ["queue"])
SETTLED = Counter("pgfleet_settled_total", "Messages settled, by outcome", ["queue", "outcome"])
LEASES_LOST = Counter("pgfleet_leases_lost_total", "Messages whose lease ended before they were settled", ["queue"])
STALE = Counter("pgfleet_stale_total", "Decisions made again because the row had changed", ["queue"])
SETTLE_SECONDS = Histogram(
    "pgfleet_settle_seconds",
    "Time to settle one batch, commit included",
    ["queue"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
STEP_SECONDS = Histogram(
    "pgfleet_step_seconds",
    "Time of one step with its effects",
    ["queue"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60),
)
# From a message that is waited for to a timer that comes when it can.
MESSAGE_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
MESSAGE_SECONDS = Histogram(
    "pgfleet_message_seconds",
    "From when a message was due to when it was settled for good",
    ["queue"],
    buckets=MESSAGE_BOUNDS_S,
)
READY = Gauge("pgfleet_ready", "1 while this process takes messages of the queue", ["queue"])
IN_HAND = Gauge("pgfleet_in_hand", "Messages that this process has claimed and not settled", ["queue"])
OUTAGE = Gauge("pgfleet_outage", "1 while a dependency does not answer these calls", ["dependency", "calls"])
ALIVE = Gauge("pgfleet_nodes_alive", "Nodes that are neither offline nor new, at the last sweep", ["machine"])
HELD_BACK = Gauge(
    "pgfleet_offline_sweep_held_back", "1 while silent nodes are not marked offline, for a reason", ["machine"]
)
BELIEVED_AT = Gauge(
    "pgfleet_offline_believed_timestamp_seconds",
    "When nodes were last marked offline although most were silent at once; 0 for never",
    ["machine"],
)

WATCH_CONNECTED = Gauge("pgfleet_watch_connected", "1 while what happens in the cluster is seen at once", ["resource"])


def observe_all(histogram: Histogram, bounds: Sequence[float], values: list[float]) -> None:
    """Observe many values at once, for a tenth of what it costs to observe each; `histogram` has its labels."""
    values.sort()
    seen = 0
    for place, bound in enumerate((*bounds, inf)):
        upto = bisect_right(values, bound)
        if upto > seen:
            histogram._buckets[place].inc(upto - seen)  # noqa: SLF001  # the library observes one value at a time
            seen = upto
    histogram._sum.inc(sum(values))  # noqa: SLF001  # same
