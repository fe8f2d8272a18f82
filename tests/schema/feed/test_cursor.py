"""Positions in the feed are written and read back, and nothing else is taken for one."""

import pytest

from pgfleet.schema.feed.cursor import BEGINNING, BadCursor, Cursor


@pytest.mark.parametrize("cursor", [BEGINNING, Cursor(1, 774, 12), Cursor(2**31 - 1, 2**64 - 1, 2**63 - 2)])
def test_a_position_is_read_back_as_it_was_written(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.2", "1.2.3.4", "a.b.c", "1.2.-3", "1.2.3 ", " 1.2.3", "1.2.3\n", "1..3", "+1.2.3", "1e3.2.3"),
        *("\u0661.\u0662.\u0663", "1.2.3;drop table x", f"{2**31}.1.1", f"1.{2**64}.1", f"1.1.{2**63}", "9" * 5000),
    ],
)
def test_nonsense_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(BadCursor) as refused:
        Cursor.parse(text)

    assert not text.strip() or len(text) < 3 or text not in str(refused.value)


def test_positions_are_in_the_order_of_reading() -> None:
    assert Cursor(1, 9, 9) < Cursor(1, 10, 1) < Cursor(1, 10, 2) < Cursor(2, 1, 1)
