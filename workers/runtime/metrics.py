"""What a worker counts of itself, for Prometheus; what is counted of the whole fleet, `pgfleet serve` shows."""

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
