"""A leak is found whatever noise there is, and noise is no leak."""

from random import Random

import pytest

from soak.slopes import Bound, slope, trend, trends

BOUND = Bound("^memory", "MB", share=0.05, least=2)


def noisy(per_s: float, outliers: int = 0) -> list[tuple[float, float]]:
    """Two minutes of a hundred MB, give or take one, that grow so fast."""
    dice = Random(1)
    points = [(15.0 * number, 100 + 15.0 * number * per_s + dice.uniform(-1, 1)) for number in range(100)]
    return [(at, 5000.0) for at, _ in points[:outliers]] + points[outliers:]


@pytest.mark.parametrize("outliers", [0, 10])
def test_a_slope_is_found_among_noise(outliers: int) -> None:
    assert slope(noisy(0.01, outliers)) == pytest.approx(0.01, rel=0.3)


def test_what_grows_is_not_flat_and_what_is_noise_is() -> None:
    assert not trend("memory", noisy(0.01), BOUND).is_flat
    assert trend("memory", noisy(0), BOUND).is_flat
    assert trend("memory", noisy(-0.01), BOUND).is_flat


def test_the_first_bound_that_is_about_a_name_counts_and_what_none_is_about_is_not_judged() -> None:
    measured = {"memory of a worker": noisy(0), "memory of the sandbox": noisy(0), "rows": noisy(1)}
    bounds = [Bound("sandbox", "MB", 1, 1000), BOUND]

    assert [(each.name, each.most > 900) for each in trends(measured, bounds)] == [
        ("memory of a worker", False),
        ("memory of the sandbox", True),
    ]
