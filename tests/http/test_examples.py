"""The examples of the page about the API, run as they are printed there, where the machine has the language's tool."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pgfleet.producers.http.openapi.publish import PAGE
from pgfleet.schema.feed import reading
from worlds.api.server import Api
from worlds.feed.moves import make
from worlds.fleet import PATIENCE_S

EXAMPLE = re.compile(r"<!-- example: (\w+), (\w+) -->\n```\w+\n(.*?)```", re.DOTALL)
EXAMPLES = {(about, tool): text for about, tool, text in EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))}
# How each is run, and the name of its file. TypeScript without annotations of types is JavaScript, which any Node runs.
TOOLS = {
    "curl": ("bash", "example.sh"),
    "python": (sys.executable, "example.py"),
    "typescript": ("node", "example.mjs"),
    "go": ("go run", "main.go"),
}
ALWAYS = {"curl", "python"}


def here() -> list[str]:
    return [tool for tool, (program, _) in TOOLS.items() if shutil.which(program.split()[0])]


def run(about: str, tool: str, api: Api, folder: Path, **environment: str) -> str:
    program, name = TOOLS[tool]
    (folder / name).write_text(EXAMPLES[about, tool], encoding="utf-8")
    known = {"PGFLEET_URL": api.url, "PGFLEET_KEY": api.key_of("ada"), **environment}
    ended = subprocess.run(
        [*program.split(), name],
        cwd=folder,
        env={**os.environ, **known},
        text=True,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@contextmanager
def starting(dsn: str) -> Iterator[None]:
    """Whoever waits for GPUs gets them, as a worker would see to."""
    ending = threading.Event()

    def work() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not ending.wait(0.05):
                for before, after in (("preparing", "active"), ("pending", "preparing")):
                    conn.execute("update public.reservations set status = %s where status = %s", (after, before))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def test_there_is_an_example_of_each_in_each_language() -> None:
    assert set(EXAMPLES) == {(about, tool) for about in ("make", "follow") for tool in TOOLS}


def test_what_must_be_here_is_here(record_property: Callable[[str, object], None]) -> None:
    """`curl` and Python always; which of the others were run stands in the report and in the output."""
    found = here()
    record_property("examples_run", ", ".join(found))
    sys.stderr.write(
        f"examples run: {', '.join(found)}; not here: {', '.join(sorted({*TOOLS} - {*found})) or 'none'}\n"
    )

    assert set(found) >= ALWAYS


@pytest.mark.parametrize("tool", here())
def test_the_example_makes_a_reservation_and_waits_until_it_is_active(
    api: Api, dsn: str, tmp_path: Path, tool: str
) -> None:
    with starting(dsn):
        said = run("make", tool, api, tmp_path)

    rows = api.conn.execute("select '/v1/reservations/' || reservation_id || ' is ' || status from public.reservations")
    assert [said.strip()] == [row[0] for row in rows]
    assert said.strip().endswith(" is active")


@pytest.mark.parametrize("tool", here())
def test_the_example_follows_events(api: Api, dsn: str, tmp_path: Path, tool: str) -> None:
    """From a position that came before the event."""
    start = reading.end(api.conn)
    make(api.conn, "r1", "ada")

    event = json.loads(run("follow", tool, api, tmp_path, LAST_EVENT_ID=str(start)))

    assert (event["type"], event["subject"]) == ("fleet.reservation.pending", "r1")
