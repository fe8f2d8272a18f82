"""A small fleet whose worker is killed twice, and once away for longer than the limit: only its dead are OFFLINE."""

from bench.fleet import Plan, play
from bench.fleet.check import broken

from worlds.fleet import Connection

LIMIT_S = 6.0
NODES = 200
PLAN = Plan(
    nodes=NODES,
    interval_s=1,
    span_s=22,
    offline_s=LIMIT_S,
    kills_at=(3, 15),
    away_at=5,
    away_s=7,
    flags=("--dying=0.025", "--flapping=0.025"),
    settings={"PGFLEET_LEASE_S": "2"},
    sweep=True,
)


def test_a_fleet_whose_worker_is_killed_and_away_loses_no_node_but_the_dead(dsn: str, conn: Connection) -> None:
    found = play(dsn, PLAN)

    assert broken(found) == {}
    assert (found["died"], found["flapped"]) == (5, 5)
    assert found["events"]["FIRST_SEEN"] == NODES
    assert found["events"]["WENT_OFFLINE"] >= found["died"]
    # Nobody is silent because the worker was.
    assert found["lag_max_s"] > LIMIT_S
    assert found["counted"] > 3000
    assert conn.execute("select count(*) from public.heartbeat_ids").fetchone() == (found["counted"],)
