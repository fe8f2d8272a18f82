"""What a list of measurements comes down to."""

from collections.abc import Sequence
from statistics import median


def percentiles_ms(name: str, measured_ms: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the largest, in milliseconds."""
    ordered = sorted(measured_ms)
    return {
        f"{name}_p50_ms": round(median(ordered), 3),
        f"{name}_p99_ms": round(ordered[int(0.99 * (len(ordered) - 1))], 3),
        f"{name}_max_ms": round(ordered[-1], 3),
    }
