"""Servers for the tests of recovery, and the tables of what they have measured."""

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from recovery.servers import prepared
from recovery.table import WRITTEN, lines, write_into_page
from worlds.database import temporary_folder
from worlds.fleet import REPOSITORY

SHARED = "RECOVERY_SHARED"


def pytest_configure(config: pytest.Config) -> None:
    """One folder for all processes of a run, which the first one makes.

    Workers are forked from a process that finds the tests' modules by the environment alone.
    """
    paths = (str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", ""))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if SHARED not in os.environ:
        stack = ExitStack()
        os.environ[SHARED] = str(stack.enter_context(temporary_folder()))
        config.add_cleanup(stack.close)


@pytest.fixture(scope="session")
def prepared_data() -> Path:
    """Whichever process comes first prepares it."""
    folder = Path(os.environ[SHARED])
    done = folder / "done"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            prepared(folder)
            done.touch()
    return folder / "prepared"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables, and write them down; into the page, too, with WRITE=1, if nothing has failed."""
    passed, failed = terminalreporter.getreports("passed"), terminalreporter.getreports("failed")
    found = [each for report in (*passed, *failed) for each in report.user_properties]
    ways = [row for name, row in found if name == "way"]
    if not ways:
        return
    written = lines(ways, [row for name, row in found if name == "scenario"])
    WRITTEN.parent.mkdir(exist_ok=True)
    WRITTEN.write_text("\n".join(written) + "\n", encoding="utf-8")
    if os.environ.get("WRITE") and not failed:
        write_into_page(written)
    terminalreporter.write_line("")
    for line in written:
        terminalreporter.write_line(line)
