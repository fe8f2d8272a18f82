"""`pgfleet simulate reservations`: waits as they were, as the simulation has them, and with another fleet."""

from datetime import timedelta

import psycopg
import pytest

from pgfleet.console.simulate.line.engine import Arrival, Fleet
from pgfleet.console.simulate.line.outcome import waits_of
from pgfleet.schema.line.unit import Unit
from worlds.commands import Pgfleet
from worlds.fleet import Connection
from worlds.lines.simulated import BEGIN, Promising, arrival, simulated

# As workers would have left them: who came so many hours ago waited, had GPUs, and gave them back.
ENDED = """
insert into public.reservations (reservation_id, user_id, gpu_type, gpu_count, duration_hours, status, created_at,
  waiting_since, admitted_at, launched_at, expires_at, reservation_ended, status_since, total_nodes,
  master_reservation_id, node_index, is_multinode)
select case when n.nodes > 1 then format('%%s-n%%s', n.name, i) else n.name end,
  'ada', 'h100', %(gpus)s, %(hours)s::float8,
  'expired', c.at, c.at, s.at, s.at, e.at, e.at, e.at, n.nodes,
  case when n.nodes > 1 then format('%%s-n0', n.name) end, case when n.nodes > 1 then i end, n.nodes > 1
from (select %(name)s::text as name, %(nodes)s::int as nodes) n
cross join lateral generate_series(0, n.nodes - 1) i
cross join lateral (select public.fleet_now() - make_interval(secs => %(ago_h)s * 3600) as at) c
cross join lateral (select c.at + make_interval(secs => %(waited_h)s * 3600) as at) s
cross join lateral (select s.at + make_interval(secs => %(hours)s * 3600) as at) e
"""


def was(conn: Connection, name: str, **known: float) -> None:
    """Known are ago_h, waited_h and hours; gpus and nodes, unless they are 8 and 1."""
    with conn.transaction():
        conn.execute("set local session_replication_role = replica")
        conn.execute(ENDED, {"name": name, "gpus": 8, "nodes": 1, **known})


def a_line_of(conn: Connection, number: int) -> None:
    """Every hour somebody came who had all eight GPUs for two hours: each waited an hour more than the one before."""
    conn.execute("update public.gpu_types set total_cluster_gpus = 8, max_per_node = 8 where gpu_type = 'h100'")
    for each in range(number):
        was(conn, f"r{each:02}", ago_h=60 - each, waited_h=each, hours=2)


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    monkeypatch.setenv("PGFLEET_EXPIRY_GRACE_S", "0")
    return Pgfleet(dsn, monkeypatch, capsys)


def test_with_twice_the_gpus_nobody_of_them_would_have_waited(pgfleet: Pgfleet, conn: Connection) -> None:
    a_line_of(conn, 24)

    told = pgfleet("simulate", "reservations", "--gpus", "h100=+8", "--days", "3", "--json").json["h100"]

    assert told["was"]["all"] == {
        "number": 24,
        "p50_s": 11 * 3600,
        "p95_s": 22 * 3600,
        "max_s": 23 * 3600,
        "without": 0,
    }
    assert told["simulated"]["all"] == pytest.approx(told["was"]["all"], abs=120)
    assert told["changed"]["all"]["max_s"] == pytest.approx(0, abs=120)
    assert told["was"]["utilisation"] == pytest.approx(48 / 72, abs=0.001)
    assert told["simulated"]["utilisation"] == pytest.approx(48 / 72, abs=0.001)
    assert told["changed"]["utilisation"] == pytest.approx(24 / 72, abs=0.001)
    assert told["changed"]["gpus"] == 16


def test_the_table_has_each_size_as_it_was_and_as_it_would_have_been(pgfleet: Pgfleet, conn: Connection) -> None:
    a_line_of(conn, 24)
    was(conn, "gang", ago_h=10, waited_h=0, hours=1, gpus=4, nodes=2)

    ended = pgfleet("simulate", "reservations", "--gpus", "h100=+8", "--days", "3")

    lines = [line.split() for line in ended.out.splitlines()]
    assert ["8", "as", "it", "was", "24", "11:00", "22:00", "23:00", "0"] in lines
    assert ["with", "16", "GPUs", "24", "0:00", "0:00", "0:00", "0"] in lines
    assert ["2", "x", "4", "as", "it", "was", "1", "0:00", "0:00", "0:00", "0"] in lines


def test_a_history_that_is_too_short_says_so_and_how_short(pgfleet: Pgfleet, conn: Connection) -> None:
    a_line_of(conn, 3)

    ended = pgfleet("simulate", "reservations", "--gpus", "h100=+8", "--json")

    assert ended.code == 1
    assert ended.error.startswith("The history of h100 is too short to say anything: 3 reservations got GPUs, in 60 h.")


@pytest.mark.parametrize(
    ("option", "given", "problem"),
    [
        ("--gpus", "h100", "--gpus takes TYPE=+16"),
        ("--gpus", "h100=-8", "h100 would have 0 GPUs"),
        ("--nodes", "h100=8", "--nodes takes TYPE=3x8"),
        ("--gpus", "h900=+8", "there is no GPU type h900"),
    ],
)
def test_what_can_t_be_read_is_told(pgfleet: Pgfleet, conn: Connection, option: str, given: str, problem: str) -> None:
    a_line_of(conn, 24)

    ended = pgfleet("simulate", "reservations", option, given)

    assert ended.code == 2
    assert problem in ended.err


def test_who_left_the_line_leaves_it_in_the_simulation_too(pgfleet: Pgfleet, conn: Connection) -> None:
    a_line_of(conn, 24)
    was(conn, "gone", ago_h=30, waited_h=0, hours=0.5)
    with conn.transaction():
        conn.execute("set local session_replication_role = replica")
        conn.execute(
            "update public.reservations set status = 'cancelled', admitted_at = null, launched_at = null"
            " where reservation_id = 'gone'"
        )

    told = pgfleet("simulate", "reservations", "--gpus", "h100=+8", "--days", "3", "--json").json["h100"]

    assert [told[name]["all"]["without"] for name in ("was", "simulated", "changed")] == [1, 1, 0]


def test_large_ones_wait_for_whole_nodes(pgfleet: Pgfleet, conn: Connection) -> None:
    a_line_of(conn, 24)

    told = pgfleet("simulate", "reservations", "--nodes", "h100=4x4", "--days", "3", "--json").json["h100"]

    assert told["changed"]["all"]["without"] == 24


def test_a_booking_that_would_not_hold_is_refused() -> None:
    line = simulated({"a": 8}, 8)

    line.run([arrival(0, Unit("long", 8, 9)), arrival(1, Unit("booked", 8, 1), booked_in_h=2)])

    assert line.refused == {"booked"}


def test_who_has_waited_for_a_day_is_passed_by_nobody() -> None:
    line = Promising(Fleet("h100", 8), BEGIN)
    for key, gpus, at_h in (("a", 4, 0), ("large", 8, 1), ("small", 4, 26)):
        line.come(Arrival(BEGIN + timedelta(hours=at_h), Unit(key, gpus, 30), timedelta(hours=30)))
    line.now = BEGIN + timedelta(hours=26)

    assert [unit.is_starving for unit in line.standing().line] == [True, True, False]


def test_a_quantile_is_one_of_those_that_were() -> None:
    found = waits_of([float(each) for each in range(1, 101)])

    assert (found.p50_s, found.p95_s, found.max_s) == (50, 95, 100)
    assert waits_of([7.0]).p95_s == 7


def test_nothing_is_written(pgfleet: Pgfleet, conn: Connection, dsn: str) -> None:
    a_line_of(conn, 24)
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("alter database " + other.info.dbname + " set default_transaction_read_only = on")

    assert pgfleet("simulate", "reservations", "--days", "3").code == 0
