"""On a narrow terminal nothing is cut, no column goes, and what is to be copied stays in one piece."""

from io import StringIO

import pytest
from rich.console import Console, RenderableType

from pgfleet.console.pictures.parts import cell, facts, table
from worlds.fleet import new_id

WIDTHS = pytest.mark.parametrize("width", [60, 80, 100, 120])
REASON = "gpu_type: h1000 is not known; did you mean h100? There are h100, h200, a100 and others"


def shown(what: RenderableType, width: int) -> str:
    written = StringIO()
    Console(file=written, width=width).print(what)
    return written.getvalue()


@WIDTHS
def test_a_table_shows_all_of_each_row(width: int) -> None:
    row = (new_id(), "ada", "gpu_reservations", "create_reservation", "rejection", REASON)
    made = table("ID", "USER", "QUEUE", "ACTION", "VERDICT", "REASON", fold=("REASON",))
    made.add_row(*map(cell, row))

    written = shown(made, width)

    assert "…" not in written
    for value in row[:-1]:
        assert value in written
    assert all(word in written.split() for word in REASON.split())
    assert all(heading in written for heading in ("ID", "USER", "QUEUE", "ACTION", "VERDICT", "REASON"))
    assert max(map(len, written.splitlines())) <= width


@WIDTHS
def test_rows_that_stand_upright_are_apart(width: int) -> None:
    made = table("ID", "OTHER", "THIRD")
    for _ in range(2):
        made.add_row(*map(cell, (new_id(), new_id(), new_id())))

    written = shown(made, width)

    assert written.count("OTHER") == (1 if width >= 112 else 2)


@WIDTHS
def test_what_is_to_be_typed_stays_in_one_line(width: int) -> None:
    row_id = new_id()

    written = shown(facts([("again", f"pgfleet retry {row_id}"), ("ssh", "ssh -p 30123 dev@10.0.0.17")]), width)

    assert f"pgfleet retry {row_id}" in written
    assert "ssh -p 30123 dev@10.0.0.17" in written
