"""Runs tests on Debian's PostgreSQL 15: `python tests/postgres15/run.py`, or `make postgres15-test`.

The tests are those of the SQL: what migrations make, what claims, settles and moves rows. None of them is
changed for it: they get the server's URL as from anybody who has a server.
tests/schema/database/test_descriptions.py is left out, because one test here says it all at once: the schema is that of
the embedded server.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from pgfleet.console.local.pginstall import Programs, find_programs
from worlds.database import configure, temporary_folder

FOLDER = Path("/usr/lib/postgresql/15/bin")
TESTS = (
    "tests/postgres15",
    "tests/schema/database/test_migrate.py",
    "tests/schema/documents/test_columns.py",
    "tests/console/test_diagram.py",
    "tests/schema/queue/test_claim.py",
    "tests/runtime/test_settle.py",
    "tests/reservation/test_machine.py",
    "tests/reservation/test_steps.py",
    "tests/schema/doctor/test_doctor.py",
    "tests/disk/test_machine.py",
    "tests/disk/test_sweeps.py",
)


@contextmanager
def postgres15() -> Iterator[str]:
    """A server of that version that is gone afterwards."""
    with temporary_folder() as folder:
        programs = Programs(FOLDER, find_programs(folder).account)
        data = folder / "data15"
        data.mkdir()
        programs.own(data)
        programs.run(
            *("initdb", "-D", str(data), "--username=postgres", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"),
        )
        settings = f"-k {data} -c listen_addresses= -c max_connections=200 -c timezone=UTC"
        programs.run("pg_ctl", "start", "-D", str(data), "-l", str(data / "server.log"), "-w", "-o", settings)
        url = f"postgresql://postgres@/postgres?host={quote(str(data), safe='')}"
        configure(url, "off")
        try:
            yield url
        finally:
            programs.run("pg_ctl", "stop", "-D", str(data), "-m", "immediate", "-w")


def main() -> int:
    with postgres15() as url:
        return pytest.main(["-n", "2", "--dist", "loadfile", f"--postgres={url}", *TESTS, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
