"""Servers for the tests of recovery, and the table of what they have measured."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.servers import prepared
from worlds.database import temporary_folder

TITLES = ("way", "messages run again after (s)", "an idle worker wakes up in (ms)", "lost", "doubled")
WRITTEN = Path(__file__).parents[2] / "build" / "recovery.md"


@pytest.fixture(scope="session")
def prepared_data() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield prepared(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and write it down."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    rows = [found for report in reports for name, found in report.user_properties if name == "row"]
    if not rows:
        return
    lines = [f"| {' | '.join(row)} |" for row in (TITLES, ["---"] * len(TITLES), *sorted(rows))]
    WRITTEN.parent.mkdir(exist_ok=True)
    WRITTEN.write_text("\n".join(lines) + "\n", encoding="utf-8")
    terminalreporter.write_line("")
    for line in lines:
        terminalreporter.write_line(line)
