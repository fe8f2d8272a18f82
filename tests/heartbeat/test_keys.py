"""Keys that last: no repeat takes a number, and a heartbeat is counted once by its id, whatever its node's clock."""

from typing import Any

import pytest

from worlds.fleet import move_clock
from worlds.heartbeats import Heart, pool
from worlds.house import only, tidy

DAY_S = 86_400
# Keys that an integer could run out of: of what is written by machines, with a sequence or leading to one.
NARROW = """
select format('%s.%s', a.attrelid::regclass, a.attname)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters')
  and c.relkind in ('r', 'p') and not c.relispartition
  and a.atttypid = 'integer'::regtype and pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) is not null
order by 1
"""
# A row of each is made by a person, and a timeline by whoever restores a server.
BY_HAND = [
    "api_keys.key_id",
    "api_users.user_id",
    "autoscaler.nodes.id",
    "autoscaler.schedules.id",
    "autoscaler.users.id",
    "status_history.timeline",
]


def keep_house(heart: Heart) -> None:
    only(heart.conn, "public.heartbeat_ids")
    assert tidy(heart.conn) == ["public.heartbeat_ids"]


def numbers_taken(heart: Heart, sequence: str) -> int:
    return int(heart.one(f"select case when is_called then last_value else 0 end from autoscaler.{sequence}"))


def test_a_pool_that_is_told_of_again_takes_no_number(heart: Heart) -> None:
    node = heart.node()
    heart.hear(node, pools=[pool("a"), pool("b")])
    before = numbers_taken(heart, "pools_id_seq")

    for number in range(50):
        heart.hear(node, pools=[pool("a", number), pool("b", number)])
    heart.hear(node, pools=[pool("a"), pool("new")])

    assert numbers_taken(heart, "pools_id_seq") == before + 1
    assert len(heart.analytics("a")) == 52


def test_a_minute_that_is_written_already_takes_no_number(heart: Heart) -> None:
    heart.roll_up()
    before = numbers_taken(heart, "system_analytics_id_seq")

    for _ in range(20):
        heart.roll_up()

    minutes = heart.one("select count(*) from autoscaler.system_analytics")
    assert numbers_taken(heart, "system_analytics_id_seq") == before + minutes - 1


def test_only_what_people_make_by_hand_is_counted_by_an_integer(heart: Heart) -> None:
    assert heart.all(NARROW) == BY_HAND
    refers = (
        "select format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass and attname = 'pool_id'"
    )
    assert [heart.one(refers, (table,)) for table in ("autoscaler.metrics", "autoscaler.pool_analytics")] == [
        "bigint"
    ] * 2


def test_a_pool_beyond_the_integers_is_taken(heart: Heart) -> None:
    heart.one("select setval('autoscaler.pools_id_seq', 3000000000)")
    node = heart.node()

    heart.hear(node, pools=[pool("far")])
    heart.hear(node, pools=[pool("far", 7)])

    assert heart.pool("far")["id"] == 3_000_000_001
    assert heart.analytics("far") == [2, 7]


SENT_AT = [0, 20 * 60, -20 * 60, 300 * DAY_S, -50 * 365 * DAY_S]


@pytest.mark.parametrize("ahead_s", SENT_AT)
@pytest.mark.parametrize("days", [0, 1, 2])
def test_a_heartbeat_that_comes_again_days_later_is_counted_once(heart: Heart, ahead_s: float, days: int) -> None:
    node, cluster_node = heart.node(), heart.cluster_node()
    first = [heart.beat(node, ahead_s), heart.beat(cluster_node, ahead_s)]
    keep_house(heart)
    heart.tell(*first)

    move_clock(heart.conn, days * DAY_S)
    keep_house(heart)
    heart.tell(*first, *first)

    assert heart.kept(node) == [first[0]["id"]]
    assert heart.one("select count(*) from clusters.cluster_metrics where node_id = %s", (cluster_node,)) == 1
    assert heart.letters() == []


@pytest.mark.parametrize("sent_at", ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_time_that_can_not_be_is_counted_once_and_goes_with_its_day(heart: Heart, sent_at: str) -> None:
    node = heart.node()
    body = {**heart.beat(node), "sent_at": sent_at}
    keep_house(heart)
    heart.tell(body)
    heart.tell(body)
    counted = ids(heart)

    move_clock(heart.conn, 4 * DAY_S)
    keep_house(heart)

    assert (heart.kept(node), counted, ids(heart)) == ([body["id"]], [body["id"]], [])


def ids(heart: Heart) -> list[Any]:
    return heart.all("select id::text from public.heartbeat_ids")


def test_ids_of_a_day_that_was_analyzed_while_it_was_empty_are_not_read_as_a_whole(heart: Heart) -> None:
    keep_house(heart)
    heart.conn.execute("vacuum (analyze, truncate off) public.heartbeat_ids")
    heart.conn.execute(
        "insert into public.heartbeat_ids (id, sent_at) select gen_random_uuid(), now() from generate_series(1, 20000)"
    )
    node = heart.node()

    scanned = "select coalesce(sum(seq_scan), 0) from pg_stat_xact_user_tables where relname ~ '^heartbeat_ids'"
    with heart.conn.transaction():
        heart.conn.execute("select pg_stat_clear_snapshot()")
        before = heart.one(scanned)
        heart.conn.execute(
            "select * from autoscaler.take_heartbeats(jsonb_build_array(jsonb_build_object('id', gen_random_uuid(),"
            " 'node_id', %s::int, 'sent_at', now(), 'status', 'ok')))",
            (node,),
        )
        after = heart.one(scanned)

    assert after == before
