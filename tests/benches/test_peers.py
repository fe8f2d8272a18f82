import itertools
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from bench.goals import picture
from bench.peers import installing, page
from bench.peers.listed import PEERS

SVG = "{http://www.w3.org/2000/svg}"
REPOSITORY = Path(__file__).parents[2]


def figures(**changed: Any) -> dict[str, Any]:
    return {
        "jobs": 20_000,
        "pgfleet_per_s": 8_000,
        "slow_per_s": 500,
        "quick_per_s": 2_000,
        "pgfleet_ratio": {"slow": 16.0, "quick": 4.0},
        "rounds": {"pgfleet": [7_900, 8_000, 8_100], "slow": [400, 500, 600], "quick": [2_000, 1_900, 2_100]},
        "titles": {"pgfleet": "pgfleet", "slow": "Slow & Co 1.0", "quick": "Quick 2.0", "away": "Away 3.0"},
        "settings": {"pgfleet": "4 threads", "slow": "8 threads", "quick": "asynchronous"},
        "not_measured": {"away": "needs Python 3.12"},
        "python": {"pgfleet": "3.11", "peers": "3.13"},
        "machine": "2 cores of a kind, PostgreSQL 18.1",
        "date": "2026-11-30",
        "commit": "0123456789",
        **changed,
    }


def drawn(**changed: Any) -> ET.Element:
    return ET.fromstring(picture.drawn(figures(**changed)))  # noqa: S314  # ours


def words(svg: ET.Element) -> list[str]:
    return [str(text.text) for text in svg.iter(f"{SVG}text")]


def test_the_picture_has_a_bar_for_each_as_long_as_its_rate_with_the_fastest_first() -> None:
    svg = drawn()

    bars = [(bar.get("class"), int(str(bar.get("width")))) for bar in svg.iter(f"{SVG}rect")]
    widest = bars[0][1]
    assert bars == [("ours", widest), ("peer", round(widest / 4)), ("peer", round(widest / 16))]
    assert [each for each in words(svg) if each in figures()["titles"].values()] == [
        *("pgfleet", "Quick 2.0", "Slow & Co 1.0", "Away 3.0")
    ]
    assert {"8,000", "2,000", "500"} <= set(words(svg))


def test_the_picture_says_what_was_done_and_when_and_who_was_not_measured() -> None:
    told = " ".join(words(drawn()))

    for each in (
        "history",
        "20,000 jobs",
        "median of 3",
        "2026-11-30",
        "0123456789",
        "not measured: needs Python 3.12",
    ):
        assert each in told


def test_nothing_in_the_picture_lies_outside_it_or_on_something_else() -> None:
    svg = drawn()
    wide, high = map(int, str(svg.get("viewBox")).split()[2:])

    lines = [int(str(text.get("y"))) for text in svg.iter(f"{SVG}text") if text.get("class") == "caption"]
    tops = [int(str(bar.get("y"))) for bar in svg.iter(f"{SVG}rect")]
    ends = [int(str(bar.get("x"))) + int(str(bar.get("width"))) for bar in svg.iter(f"{SVG}rect")]
    assert max(lines) < high
    assert max(ends) < wide
    assert all(later - earlier >= picture.BAR for earlier, later in itertools.pairwise(tops))
    assert all(later - earlier >= picture.LINE for earlier, later in itertools.pairwise(lines))


def test_the_picture_has_colours_for_a_dark_page() -> None:
    assert "prefers-color-scheme:dark" in picture.drawn(figures())


def test_the_table_has_a_row_for_each_with_the_fastest_first_and_who_was_not_measured_last() -> None:
    rows = [line for line in page.told(figures()).splitlines() if line.startswith("| ")][1:]

    assert rows == [
        "| pgfleet | 8,000 |  | 7,900, 8,000, 8,100 | 4 threads |",
        "| Quick 2.0 | 2,000 | 4.0 | 2,000, 1,900, 2,100 | asynchronous |",
        "| Slow & Co 1.0 | 500 | 16.0 | 400, 500, 600 | 8 threads |",
        "| Away 3.0 | not measured: needs Python 3.12 | | | |",
    ]


def test_writing_the_table_changes_only_what_is_between_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (REPOSITORY / "bench/README.md").read_text("utf-8")
    copy = tmp_path / "README.md"
    copy.write_text(text, "utf-8")
    monkeypatch.setattr(page, "PAGE", copy)

    page.write(figures(jobs=1))
    page.write(figures())

    written = copy.read_text("utf-8")
    before, after = (f"{text.partition(page.BEGIN)[0]}{page.BEGIN}", page.END + text.partition(page.END)[2])
    assert written == before + page.told(figures()) + after


def test_the_versions_that_are_told_are_those_that_are_installed() -> None:
    pinned = dict(re.findall(r"(?m)^([\w-]+)(?:\[[\w,]+\])?==([\w.]+)", installing.PINNED.read_text("utf-8")))

    told = {peer.name: re.findall(r"\d+\.[\d.]+", peer.title)[0] for peer in PEERS}

    assert told == {peer.name: pinned[peer.name.removesuffix("-pgmq")] for peer in PEERS}


def test_every_peer_does_the_same_work() -> None:
    scripts = {peer.name: (REPOSITORY / f"{peer.module.replace('.', '/')}.py").read_text("utf-8") for peer in PEERS}

    assert [
        name for name, text in scripts.items() if not re.search(r"execute\(MOVE", text) or "bench_jobs set" in text
    ] == []


def test_a_python_that_does_not_run_is_not_taken(tmp_path: Path) -> None:
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n", "utf-8")
    shim.chmod(0o755)

    assert installing.version_of(str(shim)) is None
    assert installing.version_of(sys.executable) == sys.version_info[:2]


def test_where_no_wanted_python_is_here_the_programs_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "WANTED", ((9, 9), sys.version_info[:2]))
    assert installing.newest.__wrapped__() == sys.executable

    monkeypatch.setattr(installing, "WANTED", ((9, 9),))
    assert installing.newest.__wrapped__() == sys.executable
