"""What a pod wrote last is kept with its row, harmless and short, and nothing waits for it."""

from collections.abc import Iterator

import pytest

from pgfleet.workers.clients.kubernetes.status.logs import LOG_BYTES, last_line, last_lines
from worlds.fleet import Connection
from worlds.pods import Outside, outside
from worlds.reservations import ask, ended, letters

ODD = "\N{REPLACEMENT CHARACTER}"
TRACE = "starting\nTraceback (most recent call last):\nModuleNotFoundError: No module named 'torch'\n"


@pytest.fixture
def here(dsn: str, conn: Connection) -> Iterator[Outside]:
    with outside(dsn, conn) as cluster:
        yield cluster


def test_a_pod_that_crashed_leaves_its_last_lines(here: Outside, conn: Connection) -> None:
    row_id = here.placed()
    here.wrote(row_id, TRACE)
    here.crashes(row_id, 5, code=1)

    row = ended(conn, here.worker, row_id)

    assert row["pod_logs"] == TRACE.rstrip("\n")
    assert row["failure_reason"] == (
        "its container crashed 5 times: exit code 1 (Error); the last it wrote: "
        "ModuleNotFoundError: No module named 'torch'"
    )


def test_a_pod_that_is_lost_leaves_its_last_lines(here: Outside) -> None:
    row_id = here.active()
    here.wrote(row_id, TRACE)
    here.ends(row_id, 1)

    here.watched(row_id)
    row = here.watched(row_id, 11)

    assert row["pod_logs"] == TRACE.rstrip("\n")
    assert row["failure_reason"].startswith("POD_LOST: ENDED: its command ended with exit code 1 (Error)")


def test_a_pod_that_its_user_ends_leaves_its_last_lines(here: Outside, conn: Connection) -> None:
    row_id = here.active()
    here.wrote(row_id, "bye\n")

    ask(conn, "cancel", row_id)

    assert ended(conn, here.worker, row_id)["pod_logs"] == "bye"


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 403}, {"status": 400}, {"drop": True}], ids=str)
def test_logs_that_nobody_can_read_change_nothing(
    here: Outside, conn: Connection, fault: dict[str, int | bool]
) -> None:
    row_id = here.placed()
    here.box.fault("/log", times=20, **fault)
    here.crashes(row_id, 5)
    other = here.placed()

    row = ended(conn, here.worker, row_id)

    assert row["failure_reason"] == "its container crashed 5 times: exit code 3 (Error)"
    assert row["pod_logs"] is None
    assert letters(conn) == []
    here.look(other, "On its node")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (b"", None),
        (b"\n\n", None),
        (b"a\r\nb\n", "a\nb"),
        (b"10%\r20%\r30%\n", "10%\n20%\n30%"),
        (b"\x1b[31mred\x1b[0m\x00\x07", f"{ODD}[31mred{ODD}[0m{ODD}{ODD}"),
        (b"\xff\xfe\tx", f"{ODD}{ODD}\tx"),
        ("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n".encode(), "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n"),
    ],
)
def test_what_is_kept_moves_no_cursor(written: bytes, kept: str | None) -> None:
    assert last_lines(written) == kept


def test_the_last_lines_are_kept_and_not_the_first() -> None:
    kept = last_lines("".join(f"line {number}\n" for number in range(1000)).encode())

    assert kept is not None
    assert kept.split("\n") == [f"line {number}" for number in range(800, 1000)]


@pytest.mark.parametrize("line", ["x" * 1000, "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 1000, "\N{EURO SIGN}" * 9000])
def test_long_lines_are_cut_to_what_a_row_keeps(line: str) -> None:
    kept = last_lines(f"{line}\n".encode() * 200)

    assert kept is not None
    assert LOG_BYTES // 2 < len(kept.encode()) <= LOG_BYTES
    assert set(kept) <= {*line, "\n"}


def test_the_last_line_is_one_that_says_something() -> None:
    assert last_line("a\nthe end\n\n   \n") == "the end"
    assert last_line(None) is None
