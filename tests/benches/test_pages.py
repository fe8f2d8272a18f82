from pathlib import Path

import pytest
from bench import steady
from bench.figures import put
from bench.goals import table
from bench.peers import page
from bench.sizing import million
from bench.sizing import page as sizing

MARKS = [
    (table.PAGE, table.BEGIN, table.END),
    (table.PAGE, table.BEGIN_LARGE, table.END_LARGE),
    (page.PAGE, page.BEGIN, page.END),
    (sizing.PAGE, sizing.BEGIN, sizing.END),
    (million.PAGE, million.BEGIN, million.END),
    (steady.PAGE, steady.BEGIN, steady.END),
]


@pytest.mark.parametrize(("of", "begin", "end"), MARKS)
def test_each_page_has_a_place_for_what_is_written_into_it(of: Path, begin: str, end: str, tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(of.read_text("utf-8"), "utf-8")
    before, _, rest = copy.read_text("utf-8").partition(begin)
    after = rest.partition(end)[2]

    put(copy, begin, end, "new\n")

    assert copy.read_text("utf-8") == f"{before}{begin}new\n{end}{after}"


def test_a_page_without_a_place_stays_as_it_is(tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text("nothing\n", "utf-8")

    with pytest.raises(SystemExit, match="has no place for them"):
        put(copy, "begin\n", "end\n", "new\n")

    assert copy.read_text("utf-8") == "nothing\n"
