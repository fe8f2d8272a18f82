"""What the database does for whoever speaks SQL does not depend on the settings of their session."""

import pytest

from worlds.clusters import add, create
from worlds.database import Connection
from worlds.trouble.odd import OF_THE_DATABASE


@pytest.fixture
def odd(conn: Connection) -> Connection:
    """The session of a client that is not ours; but the test reads text, sees views and fires triggers."""
    for name, value in OF_THE_DATABASE.items():
        if name not in {"client_encoding", "restrict_nonsystem_relation_kind", "session_replication_role"}:
            conn.execute("select set_config(%s, %s, false)", (name, value))
    return conn


def test_an_error_that_a_node_reports_is_one_whatever_a_backslash_means(odd: Connection) -> None:
    told = "select autoscaler.tells_error('disk failure', null), autoscaler.tells_error('no failure', null)"

    assert odd.execute(told).fetchone() == (True, False)


def test_a_node_is_named_after_its_cluster_whatever_a_backslash_means(odd: Connection) -> None:
    cluster = create(odd)

    node = add(odd, cluster)

    assert node.startswith(f"node-{cluster.removeprefix('cluster-')[:19]}-")


def test_partitions_are_made_and_dropped_whatever_dates_look_like(odd: Connection) -> None:
    odd.execute("update public.retention set next_at = public.fleet_now() where by_day")
    old = "create table clusters.cluster_metrics_p20200101 partition of clusters.cluster_metrics for values from"
    odd.execute(f"{old} ('2020-01-01 00:00:00+00') to ('2020-01-02 00:00:00+00')")

    while odd.execute("select public.keep_house()").fetchone() != (None,):
        pass

    left = odd.execute(
        "select count(*) filter (where inhrelid::regclass::text like '%20200101%'), count(*) from pg_inherits"
        " where inhparent = 'clusters.cluster_metrics'::regclass"
    ).fetchone()
    assert left is not None
    assert left[0] == 0
    assert left[1] >= 4


@pytest.mark.parametrize("style", ["German, DMY", "SQL, DMY", "Postgres, MDY"])
def test_why_a_sweep_holds_back_reads_the_same_for_everybody(conn: Connection, style: str) -> None:
    asked = (
        "select public.why_unwatched(jsonb_populate_record(null::public.offline_sweeps,"
        """ '{"watching_since": "2026-02-03T04:05:06Z"}'), '20 years')"""
    )
    usual = conn.execute(asked).fetchone()

    conn.execute("select set_config('DateStyle', %s, false), set_config('TimeZone', 'Asia/Tokyo', false)", (style,))

    assert conn.execute(asked).fetchone() == usual
