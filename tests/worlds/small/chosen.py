"""Machines of hypothesis on a real server: how many examples are tried, and of how many steps."""

import os

from hypothesis import HealthCheck, settings


def chosen(examples: int, steps: int = 30) -> settings:
    """So many examples, or as many as PGFLEET_EXAMPLES says, for whoever has more time than `make test`."""
    return settings(
        max_examples=int(os.environ.get("PGFLEET_EXAMPLES", examples)),
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
