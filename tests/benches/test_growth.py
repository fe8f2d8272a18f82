import xml.etree.ElementTree as ET

from bench.goals import growth, lines

SVG = "{http://www.w3.org/2000/svg}"
FIGURES = {
    "waiting_per_s": {"0": 12_000, "100000": 11_500, "10000000": 6_000},
    "history_per_s": {"0": 9_600, "100000000": 9_500},
    "workers_per_s": {"1": 9_000, "64": 4_500},
    "heartbeats_per_s": {"1000000": 7_800, "100000000": 7_700},
    "heartbeat_wal_bytes": {"1000000": 4_100, "100000000": 4_200},
}


def test_each_rate_has_a_dot_as_high_as_it_is_and_says_of_how_much() -> None:
    svg = ET.fromstring(lines.drawn(FIGURES, "2026-12-01"))  # noqa: S314  # ours

    waiting, *others = svg.iter(f"{SVG}g")
    base = float(str(next(waiting.iter(f"{SVG}line")).get("y1")))
    highest, _, half = (base - float(str(dot.get("cy"))) for dot in waiting.iter(f"{SVG}circle"))
    assert abs(highest - 2 * half) <= 1
    assert [text.text for text in waiting.iter(f"{SVG}text")] == [
        *("Transitions a second", "12,000", "0", "11,500", "100k", "6,000", "10M", "messages that wait behind them")
    ]
    assert [len(list(panel.iter(f"{SVG}circle"))) for panel in others] == [2, 2, 2]


def test_the_table_has_a_column_for_each_that_was_measured() -> None:
    told = "\n".join(growth.table(FIGURES))

    for row in (
        "| messages that wait | 0 | 100,000 | 10,000,000 |",
        "| transitions a second | 9,600 | 9,500 |",
        "| bytes of WAL a heartbeat | 4,100 | 4,200 |",
    ):
        assert row in told
