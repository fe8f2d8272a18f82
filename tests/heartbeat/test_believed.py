"""`pgfleet nodes believe` and `pgfleet clusters believe`: a person knows that most are gone, and it is on record."""

from collections.abc import Iterator

import pytest

from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import Finding
from worlds.clusters import create
from worlds.commands import Pgfleet
from worlds.database import fresh_database
from worlds.fleet import move_clock
from worlds.heartbeats import Heart, heart_in


@pytest.fixture
def heart(server_dsn: str, template: str) -> Iterator[Heart]:
    with fresh_database(server_dsn, template) as dsn, heart_in(dsn) as running:
        yield running


@pytest.fixture
def pgfleet(heart: Heart, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    monkeypatch.setenv("PGFLEET_USER", "ada")
    return Pgfleet(heart.dsn, monkeypatch, capsys)


def told(heart: Heart) -> list[Finding]:
    return [finding for finding in examine(heart.conn) if finding.check == "silence"]


def test_most_nodes_are_marked_when_a_person_says_that_they_are_gone(heart: Heart, pgfleet: Pgfleet) -> None:
    alive, *dead = [heart.node() for _ in range(5)]
    heart.tell(*(heart.beat(node) for node in (alive, *dead)))
    move_clock(heart.conn, 310)
    heart.hear(alive)
    heart.sweep()
    move_clock(heart.conn, 65)
    heart.sweep_again()
    (held,) = told(heart)

    heart.sweep()
    end = pgfleet("nodes", "believe")

    assert (end.code, end.out.strip()) == (0, "4 of 4 silent nodes were marked offline.")
    assert [heart.status(node) for node in (alive, *dead)] == ["ACTIVE"] + ["OFFLINE"] * 4
    reason = "Heartbeat timeout after 5 minutes, believed by ada"
    assert heart.history(dead[0])[-1] == ("ACTIVE", "OFFLINE", reason)
    actors = heart.all("select distinct actor from public.status_history where to_status = 'OFFLINE'")
    logged = heart.all("select distinct triggered_by from autoscaler.node_lifecycle_logs where new_status = 'OFFLINE'")
    assert (actors, logged) == (["console:ada"], ["manual"])
    assert held.remedy is not None
    assert "4 of 5 nodes are silent" in held.text
    assert held.remedy.endswith("pgfleet nodes believe")
    (now,) = told(heart)
    assert "4 nodes were marked offline at" in now.text
    assert now.text.endswith("believed by ada")


def test_nodes_of_clusters_are_believed_gone_by_their_own_command(heart: Heart, pgfleet: Pgfleet) -> None:
    cluster = create(heart.conn)
    nodes = [heart.cluster_node(cluster) for _ in range(3)]
    heart.tell(*(heart.beat(node) for node in nodes))
    move_clock(heart.conn, 100)
    heart.sweep()
    before = {heart.status(node) for node in nodes}

    end = pgfleet("clusters", "believe", "--json")

    assert (before, end.json["marked"]) == ({"online"}, 3)
    assert heart.history(nodes[0])[-1][2] == "Heartbeat timeout after 90 seconds, believed by ada"


def test_what_nobody_can_know_better_is_refused_with_its_reason(heart: Heart, pgfleet: Pgfleet) -> None:
    nodes = [heart.node() for _ in range(3)]
    heart.tell(*(heart.beat(node) for node in nodes))
    move_clock(heart.conn, 400)

    end = pgfleet("nodes", "believe")

    assert end.code == 1
    assert "No node was marked: nobody looked before " in end.err
    assert {heart.status(node) for node in nodes} == {"ACTIVE"}


def test_where_nobody_is_silent_that_is_said(heart: Heart, pgfleet: Pgfleet) -> None:
    heart.hear(heart.node())

    assert pgfleet("nodes", "believe").out.strip() == "None of 1 nodes is silent."
