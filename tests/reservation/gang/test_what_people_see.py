"""Gangs at the prompt: asked for, listed, watched, ended and asked for again."""

import json

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.producers import reservation as producer
from pgfleet.schema.gang.nodes import gang_ids
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.reservation import retried_id
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker
from worlds.reservations import all_are, all_ended, gang, letters, moments, rows_of


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def test_submit_asks_for_nodes(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    wanted = ("--gpu-type", "h100", "--gpus", "4", "--nodes", "2", "--github-user", "ada", "--name", "llama")
    sent = pgfleet("submit", "reservation", *wanted)

    rows = all_are(conn, worker, gang_ids(sent.out.strip(), 2), "active")

    assert [row["gpu_count"] for row in rows] == [4, 4]


def test_submit_names_the_option_that_is_wrong(pgfleet: Pgfleet) -> None:
    refused = pgfleet("submit", "reservation", "--gpu-type", "h100", "--nodes", "5")

    assert refused.code != 0
    assert "--nodes" in refused.err


def test_a_producer_in_python_asks_for_nodes(conn: Connection, worker: Worker) -> None:
    fields = {"user_id": "ada", "github_user": "ada", "gpu_type": "h100", "gpu_count": 4}
    row_id = producer.create_reservation(conn, **fields, total_nodes=2)  # type: ignore[arg-type]

    all_are(conn, worker, gang_ids(row_id, 2), "active")
    with pytest.raises(BadMessage, match="total_nodes"):
        producer.create_reservation(conn, **fields, total_nodes=5)  # type: ignore[arg-type]


def test_ls_lists_the_nodes_of_a_gang_in_their_order(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    for name in ("one", "two"):
        all_are(conn, worker, gang(conn, 2, name=name, gpu_count=1), "active")

    listed = json.loads(pgfleet("ls", "--json").out)

    assert [row["name"] for row in listed] == [
        "two - node 1/2",
        "two - node 2/2",
        "one - node 1/2",
        "one - node 2/2",
    ]


@pytest.mark.parametrize("asked", [0, 1])
def test_watch_shows_all_nodes_whichever_is_asked_for(
    pgfleet: Pgfleet, conn: Connection, worker: Worker, asked: int
) -> None:
    ids = gang(conn)
    rows = all_are(conn, worker, ids, "active")

    shown = pgfleet("watch", ids[asked], "--once").out
    as_json = json.loads(pgfleet("watch", ids[asked], "--once", "--json").out)

    assert all(row["ssh_command"] in shown and row["pod_node"] in shown for row in rows)
    assert [(row["node_index"], row["status"]) for row in as_json["gang"]] == [(0, "active"), (1, "active")]


def test_cancel_and_retry_of_any_node_are_of_the_gang(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    ids = gang(conn)
    all_are(conn, worker, ids, "active")
    assert pgfleet("cancel", ids[1]).code == 0
    all_ended(conn, worker, ids)

    new = pgfleet("retry", ids[1]).out.strip()

    assert new == retried_id(ids[0])
    all_are(conn, worker, gang_ids(new, 2), "active")
    assert letters(conn) == []


def test_a_gang_that_has_failed_is_in_line_again_as_a_whole_when_its_letter_is_replayed(
    pgfleet: Pgfleet, conn: Connection, worker: Worker, box: Box
) -> None:
    box.rule("policy", image="forbidden")
    ids = gang(conn, dockerimage="example.org/forbidden:1")
    all_ended(conn, worker, ids)
    assert {row["status"] for row in rows_of(conn, ids)} == {"failed"}
    box.clear_rules()

    (letter,) = json.loads(pgfleet("dead", "ls", "--json").out)
    assert pgfleet("dead", "replay", str(letter["dead_letter_id"])).code == 0
    rows = all_are(conn, worker, ids, "active")

    assert moments(conn, ids)["pending"] == 2
    assert len({row["waiting_since"] for row in rows}) == 1
