"""Names that may have been meant."""

from pgfleet.schema.nearest import LONGEST, nearest


def test_a_name_that_is_much_like_a_known_one_is_found() -> None:
    assert nearest("hours", ["duration_hours", "gpu_type"]) == ["duration_hours"]


def test_what_is_too_long_for_a_slip_is_compared_with_nothing() -> None:
    """Whoever sends 200,000 characters for the name of an action has seconds of a worker's time else."""
    long = "_".join(["hours"] * LONGEST)

    assert nearest(long, ["duration_hours", "gpu_type"]) == []
