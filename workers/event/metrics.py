"""What is counted of deliveries, for Prometheus."""

from prometheus_client import Counter, Gauge

from pgfleet.workers.clients.webhooks.posting import Answer

DELIVERIES = Counter("pgfleet_event_deliveries_total", "Tries to deliver events, by what became of them", ["outcome"])
UNDELIVERED = Gauge(
    "pgfleet_events_undelivered_age_seconds", "Age of the oldest event that somebody has not taken yet; 0 for none"
)


def count(answer: Answer) -> None:
    """One try: taken, gone (410), refused (any other answer), or unanswered."""
    if answer.status is None:
        outcome = "unanswered"
    elif answer.is_taken:
        outcome = "taken"
    else:
        outcome = "gone" if answer.is_gone else "refused"
    DELIVERIES.labels(outcome).inc()
