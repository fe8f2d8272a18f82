"""`pgfleet queues` says what outside is in trouble, and since when."""

import pytest

from worlds.commands import Pgfleet
from worlds.database import Connection
from worlds.outside.hopsworks import HARMLESS, HOSTILE, hopsworks, open_breaker
from worlds.trouble.outages import held, out


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    monkeypatch.setenv("COLUMNS", "200")
    return Pgfleet(dsn, monkeypatch, capsys)


def test_open_outages_come_first_with_what_waits_for_them(pgfleet: Pgfleet, conn: Connection) -> None:
    out(conn, "kubernetes", "make", "KUBERNETES_UNREACHABLE", "Kubernetes answered 500", since_s=180)
    held(conn, "kubernetes", 14)
    held(conn, "ssh_keys", 1)

    first = pgfleet("queues").out.splitlines()[0]

    assert first.startswith("OUTAGE kubernetes make since ")
    assert first.endswith("(3 min): KUBERNETES_UNREACHABLE: Kubernetes answered 500; 14 messages wait")


def test_where_reads_are_not_answered_nothing_is_and_a_cluster_has_its_name(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = hopsworks(conn, "eu-1")
    open_breaker(conn, cluster, reason="no answer")
    held(conn, f"hopsworks:{cluster}", 1, "cluster_assignments")

    first = pgfleet("queues").out.splitlines()[0]

    assert first.startswith("OUTAGE hopsworks eu-1 since ")
    assert first.endswith("CLUSTER_UNREACHABLE: no answer; 1 message waits")


def test_those_that_have_ended_are_told_for_a_day(pgfleet: Pgfleet, conn: Connection) -> None:
    for hours in (*range(1, 8), 30):
        out(conn, "ssh_keys", "read", "SSH_KEYS_UNREACHABLE", f"{hours} ago", since_s=hours * 3600 + 600)
        conn.execute("update public.outages set ended_at = began_at + interval '10 minutes' where ended_at is null")

    told = pgfleet("queues").out

    lines = [line for line in told.splitlines() if line.startswith("ended: ssh_keys ")]
    assert [line.rpartition(": ")[2] for line in lines] == ["1 ago", "2 ago", "3 ago", "4 ago", "5 ago"]
    assert "and 2 more outages that have ended within a day" in told
    assert "(10 min)" in lines[0]


def test_each_queue_has_its_outages_in_json(pgfleet: Pgfleet, conn: Connection) -> None:
    out(conn, "kubernetes", "read", "KUBERNETES_UNREACHABLE", "away", since_s=5)
    held(conn, "kubernetes", 2)

    queues = {row["queue"]: row["outages"] for row in pgfleet("queues", "--json").json}

    (outage,) = queues.pop("gpu_reservations")
    assert (outage["dependency"], outage["calls"], outage["waiting"]) == ("kubernetes", "read", 2)
    assert outage["ended_at"] is None
    assert set(map(tuple, queues.values())) == {()}


def test_what_others_have_written_is_shown_harmlessly(pgfleet: Pgfleet, conn: Connection) -> None:
    open_breaker(conn, hopsworks(conn, HOSTILE), reason=HOSTILE)

    told = pgfleet("queues").out

    assert told.count(HARMLESS) == 2
    assert not set("\x1b\x07\u202e") & set(told)
