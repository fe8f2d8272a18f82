from dataclasses import replace

from bench.steady import Look, _part, _parts, told

FIRST = Look(0, 0, 0, 0, 0, 10, 24, 0, 80, 1, 2, 1_000_000)


def test_each_part_begins_where_the_one_before_ends() -> None:
    looks = [replace(FIRST, at=5.0 * number) for number in range(61)]

    parts = _parts(looks)

    assert [(part[0].at, part[-1].at) for part in parts] == [(50.0 * n, 50.0 * (n + 1)) for n in range(6)]


def test_a_part_says_what_was_seen_in_it() -> None:
    looks = [
        FIRST,
        replace(FIRST, at=5, sent=25_000, taken=24_000, waiting=1_000, lag_s=0.3, old_rows=7),
        replace(
            FIRST,
            at=10,
            sent=50_000,
            taken=50_000,
            lag_s=0.1,
            queue_mb=12.2,
            days=20,
            worker_s=9,
            server_s=12,
            wal_bytes=161_000_000,
        ),
    ]

    part = _part(looks)
    page = told({"sent": 50_000, "parts": [part]}, 5_000, 10 / 60, "a machine")

    assert (part["sent_per_s"], part["taken_per_s"], part["days_dropped"], part["old_rows_max"]) == (
        5_000,
        5_000,
        4,
        7,
    )
    assert (part["lag_p50_s"], part["lag_max_s"], part["waiting_max"]) == (0.1, 0.3, 1_000)
    assert (part["worker_cores"], part["server_cores"], part["wal_mb_per_s"]) == (0.8, 1.0, 16.0)
    assert "| 0.2 | 5,000 | 5,000 | 0.1 | 0.3 | 12 | 4 | 7 | 80 | 0.8 | 1.0 | 16.0 |" in page
