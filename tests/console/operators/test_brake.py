"""`pgfleet pause` and `resume`, `pgfleet nodes cordon`: what an operator holds back is shown wherever people look."""

import pytest

from worlds.commands import Pgfleet
from worlds.fleet import Connection


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def test_a_paused_kind_is_shown_with_who_why_and_what_ends_it(pgfleet: Pgfleet) -> None:
    pgfleet("pause", "disk", "--reason", "AWS moves")

    queues, doctor = pgfleet("queues").out, pgfleet("doctor").out
    ended = pgfleet("resume", "disk")

    for shown in (queues, doctor):
        assert "disk" in shown
        assert "by ada" in shown
        assert "AWS moves" in shown
        assert "pgfleet resume disk" in shown
    assert ended.out == "disk: goes on\n"
    assert "paused" not in pgfleet("queues").out.lower()


def test_queues_as_json_say_what_is_paused(pgfleet: Pgfleet) -> None:
    pgfleet("pause", "disk")
    pgfleet("pause", "--deletes")

    rows = {row["queue"]: row for row in pgfleet("queues", "--json").json}

    assert rows["disk_operations"]["paused"]["by_whom"] == "ada"
    assert rows["gpu_reservations"]["paused"] is None
    assert rows["gpu_reservations"]["deletes_paused"]["by_whom"] == "ada"


def test_pausing_twice_keeps_who_did_it_first(pgfleet: Pgfleet) -> None:
    pgfleet("pause", "--deletes", "--reason", "first")

    again = pgfleet("pause", "--deletes", "--reason", "second")

    assert again.out == "deletes: paused already\n"
    assert "first" in pgfleet("queues").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pause",), "Give a kind, or --deletes."),
        (("pause", "disk", "--deletes"), "Give a kind, or --deletes."),
        (("pause", "disks"), "There is no kind 'disks'. Did you mean disk? Known are"),
        (("resume", "x"), "There is no kind 'x'."),
        (("nodes", "cordon", "gpu-1", "--until", "soon"), "is no time"),
        (("nodes", "cordon", "gpu-1", "--until", "2001-01-01"), "is over"),
        (("nodes", "cordon", "gpu-1", "--until", "2999-01-31T18:00"), "is more than 90 days from now"),
        (("nodes", "cordon", "gpu-1", "--until", "1h"), "No node 'gpu-1' of the cluster was seen."),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(pgfleet: Pgfleet, arguments: tuple[str, ...], said: str) -> None:
    ended = pgfleet(*arguments)

    assert ended.code != 0
    assert said in ended.err


@pytest.mark.parametrize("until", ["23:59", "90m", "2d"])
def test_a_node_is_cordoned_until_a_time_and_taken_back(pgfleet: Pgfleet, conn: Connection, until: str) -> None:
    conn.execute(
        "insert into public.gpu_nodes (node_name, gpu_type, gpus, is_ready, is_cordoned, resource_version)"
        " values ('gpu-1', 'h100', 8, true, false, '1')"
    )

    cordoned = pgfleet("nodes", "cordon", "gpu-1", "--until", until, "--reason", "new memory")
    room = conn.execute("select problem, gpus_free from public.gpu_node_room").fetchone()
    doctor = pgfleet("doctor").out
    back = pgfleet("nodes", "uncordon", "gpu-1")

    assert "on it: 0 reservations" in cordoned.out
    assert room is not None
    assert room[0].startswith("is cordoned by ada until ")
    assert room[1] == 0
    assert "new memory" in doctor
    assert back.out == "gpu-1 takes reservations again\n"
    assert conn.execute("select gpus_free from public.gpu_node_room").fetchone() == (8,)


def test_who_sends_to_a_paused_kind_is_told(pgfleet: Pgfleet) -> None:
    pgfleet("pause", "reservation", "--reason", "the cluster moves")

    sent = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--gpus", "1")
    waited = pgfleet(
        "submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--gpus", "1", "--wait", "--timeout", "0"
    )

    assert sent.code == 0
    assert "It waits: reservation is paused by ada since" in sent.err
    assert "paused by ada" in waited.err
    assert "the cluster moves" in waited.err
    assert "is one running?" not in waited.err
