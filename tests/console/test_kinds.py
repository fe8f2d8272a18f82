"""A kind that only these tests know: `pgfleet submit` sends its messages, and `up` and `demo` start its worker."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import psycopg
import pytest
from pydantic import Field

from pgfleet.console.local import children
from pgfleet.console.local.children import Children
from pgfleet.producers.submit import app
from pgfleet.schema.kinds import Contract, contracts
from pgfleet.schema.messages import Message, Name, Uuid
from worlds.commands import Pgfleet
from worlds.fleet import PATIENCE_S

SETTINGS = {"PGFLEET_KUBECONFIG": "sandbox"}
ID = "3f2a9c1e-5d0b-4b7e-8a34-0c9f2b6d7e11"


class Take(Message):
    action: Literal["take"] = "take"
    lease_id: Uuid
    holder: Name
    minutes: Annotated[int, Field(ge=1)] = 60
    tags: list[str] | None = None


class Drop(Message):
    action: Literal["drop"] = "drop"
    lease_id: Uuid


LEASE = Contract("lease", "leases", {"take": Take, "drop": Drop})


@pytest.fixture
def pgfleet(
    dsn: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Pgfleet:
    conn.execute("select public.create_queue('leases')")
    monkeypatch.setattr(app, "contracts", lambda: {**contracts(), "lease": LEASE})
    return Pgfleet(dsn, monkeypatch, capsys)


def bodies(conn: psycopg.Connection) -> list[object]:
    return [row[0] for row in conn.execute("select message from pgmq.q_leases order by msg_id")]


def test_a_kind_without_a_command_is_sent_by_its_fields(pgfleet: Pgfleet, conn: psycopg.Connection) -> None:
    end = pgfleet("submit", "lease", "take", f"lease_id={ID.upper()}", "holder=007", "minutes=5", 'tags=["a", "b"]')

    assert (end.code, end.out) == (0, "1\n")
    assert "sent take to leases as message 1" in end.err
    assert bodies(conn) == [
        {"action": "take", "lease_id": ID, "holder": "007", "minutes": 5, "tags": ["a", "b"]},
    ]


def test_json_is_the_message_and_its_number(pgfleet: Pgfleet) -> None:
    end = pgfleet("submit", "lease", "drop", f"lease_id={ID}", "--json")

    assert end.json == {"queue": "leases", "msg_id": 1, "message": {"action": "drop", "lease_id": ID}}


def test_its_help_names_actions_and_fields_with_an_example(pgfleet: Pgfleet) -> None:
    end = pgfleet("submit", "lease", "--help")

    assert end.code == 0
    assert "take: lease_id, holder; optional: minutes, tags" in end.out
    assert "drop: lease_id" in end.out
    assert "Example: pgfleet submit lease take lease_id=... holder=..." in end.out


def test_every_kind_is_among_what_can_be_sent(pgfleet: Pgfleet) -> None:
    end = pgfleet("submit", "--help")

    assert all(name in end.out for name in (*contracts(), "lease"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("lend",), "lend is no action of lease. Known are take, drop."),
        (("take", "holder"), "Fields are NAME=VALUE, not 'holder'."),
        (("take", "colour=red"), "take has no field colour. Known are lease_id, holder, minutes, tags."),
        (("take", "action=drop"), "take has no field action."),
        (("take", f"lease_id={ID}"), "holder: is missing"),
        (("take", "lease_id=7", "holder=ada"), "lease_id: must be a UUID"),
        (("take", f"lease_id={ID}", "holder=ada", "minutes=0"), "minutes: must be at least 1, not 0"),
        (("take", f"lease_id={ID}", "holder=ada", "minutes=soon"), "minutes: must be a whole number"),
    ],
)
def test_what_makes_no_message_is_named_and_not_sent(
    pgfleet: Pgfleet, conn: psycopg.Connection, given: tuple[str, ...], said: str
) -> None:
    end = pgfleet("submit", "lease", *given)

    assert (end.code, end.out) == (2, "")
    assert said in end.err
    assert bodies(conn) == []


# --- its worker


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Kind and number of each worker that would be started; there is a kind that only this test knows."""
    found: list[tuple[str, int]] = []

    def start(_: Children, kind: str, settings: Mapping[str, str], number: int) -> None:
        assert settings == SETTINGS
        found.append((kind, number))

    monkeypatch.setattr(children, "kinds", lambda: ["disk", "lease", "reservation"])
    monkeypatch.setattr(Children, "worker", start)
    return found


def test_every_kind_that_is_found_has_a_worker(started: list[tuple[str, int]], tmp_path: Path) -> None:
    Children(tmp_path, {}).all_workers(SETTINGS, reservation=2)

    assert started == [("disk", 1), ("lease", 1), ("reservation", 1), ("reservation", 2)]


def test_a_kind_that_can_not_work_here_has_none(started: list[tuple[str, int]], tmp_path: Path) -> None:
    Children(tmp_path, {}).all_workers(SETTINGS, reservation=1, without=("disk",))

    assert started == [("lease", 1), ("reservation", 1)]


def test_nothing_in_the_folder_where_it_is_called_is_imported_by_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    for name in ("workers", "schema", "typer", "h2"):
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(here)
    started = Children(tmp_path, os.environ)

    started.worker("nothing", {}, 1)
    (child,) = started.workers
    child.process.wait(PATIENCE_S)

    assert "nothing is no kind of worker" in child.end_of_log()
