"""The table of the day, printed and written down."""

import pytest

from worlds.fleet import REPOSITORY

WRITTEN = REPOSITORY / "build" / "day.md"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    lines = [line for report in reports for name, found in report.user_properties if name == "day" for line in found]
    if not lines:
        return
    WRITTEN.parent.mkdir(exist_ok=True)
    WRITTEN.write_text("\n".join(lines) + "\n", encoding="utf-8")
    terminalreporter.write_line("")
    for line in lines:
        terminalreporter.write_line(line)
