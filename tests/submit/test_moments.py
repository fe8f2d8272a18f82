"""`--at`: times as people type them."""

from datetime import UTC, datetime

import pytest

from pgfleet.producers.moments import moment
from pgfleet.schema.errors import FleetError

# A Sunday.
NOW = datetime(2026, 11, 29, 14, 30)  # noqa: DTZ001  # as a clock on a wall shows it


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tomorrow 9:00", "2026-11-30 09:00"),
        ("Tomorrow at 09:00", "2026-11-30 09:00"),
        ("today 17:00", "2026-11-29 17:00"),
        ("17:00", "2026-11-29 17:00"),
        ("9:00", "2026-11-30 09:00"),
        ("sunday 9:00", "2026-12-06 09:00"),
        ("tue 9:00", "2026-12-01 09:00"),
        ("in 3 h", "2026-11-29 17:30"),
        ("in 90min", "2026-11-29 16:00"),
        ("2026-12-01 09:00", "2026-12-01 09:00"),
    ],
)
def test_a_time_is_of_the_clock_on_the_wall(text: str, meant: str) -> None:
    assert moment(text, NOW) == datetime.fromisoformat(meant).astimezone()


def test_a_time_with_its_zone_is_what_it_says() -> None:
    assert moment("2026-12-01T09:00Z", NOW) == datetime(2026, 12, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "25:00", "someday 9:00", "9"),
        *("in 99999999 d", "in 99999999999999999999 h", "0001-01-01 00:00"),
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(FleetError, match="is no time"):
        moment(text, NOW)
