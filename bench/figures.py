"""What lists of measurements come down to."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any


def percentiles_ms(name: str, measured_ms: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the largest, in milliseconds."""
    ordered = sorted(measured_ms)
    return {
        f"{name}_p50_ms": round(median(ordered), 3),
        f"{name}_p99_ms": round(ordered[int(0.99 * (len(ordered) - 1))], 3),
        f"{name}_max_ms": round(ordered[-1], 3),
    }


def compared(raw_name: str, raw: Callable[[], float], pgfleet: Callable[[], float], rounds: int) -> dict[str, Any]:
    """The medians of rates that are measured in turn, so that both see the same server."""
    pairs = [(raw(), pgfleet()) for _ in range(rounds)]
    bare, ours = ([pair[side] for pair in pairs] for side in (0, 1))
    return {
        "pgfleet_per_s": round(median(ours)),
        f"{raw_name}_per_s": round(median(bare)),
        "ratio": round(median(ours) / median(bare), 2),
        "rounds": {"pgfleet": [round(rate) for rate in ours], "raw": [round(rate) for rate in bare]},
    }


def put(page: Path, begin: str, end: str, text: str) -> None:
    """Write between two marks of a page, in place of what was there.

    Raises:
        SystemExit: the page lacks one of them; nothing is written.
    """
    before, begun, rest = page.read_text("utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise SystemExit(f"{page} has no place for them: {begin}{end}")
    page.write_text(before + begin + text + end + after, "utf-8")
