"""What an event says, whose it is, and what it never says."""

import json
from dataclasses import replace

import pytest

from pgfleet.schema.asking import Role
from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.filters import ALL, Filters, may_see
from pgfleet.schema.feed.known import known_types
from worlds.database import Connection
from worlds.feed.moves import make, move

# A row of each machine but reservations, made by hand.
EACH = """
  insert into public.disks (disk_id, disk_name, user_id) values ('00000000-0000-0000-0000-000000000001', 'd', 'bob');
  insert into public.disk_snapshots (disk_id) values ('00000000-0000-0000-0000-000000000001');
  insert into public.disk_operations (operation_id, action, user_id, disk_name)
    values ('00000000-0000-0000-0000-000000000003', 'create_disk', 'bob', 'd');
  insert into hopsworks.users (id, email) values ('auth0|bob', 'bob@example.org');
  insert into hopsworks.user_hopsworks_assignments (user_id) values ('auth0|bob');
  insert into autoscaler.nodes (name, region) values ('n', 'eu');
  insert into clusters.clusters (cluster_id, name, max_nodes, max_tenants, max_storage_gb)
    values ('cluster-aaaaaaaa-2026-01-21-12-00-00-bbbbbbbb', 'c', 3, 3, 3);
  insert into clusters.cluster_nodes (node_id, cluster_id, node_number, name)
    values ('node-aaaaaaaa-2026-01-21-1-cccccccc', 'cluster-aaaaaaaa-2026-01-21-12-00-00-bbbbbbbb', 1, 'one');
  insert into public.event_subscriptions (subscription_id, user_id, shown_url, format, delivered_to, status)
    values ('00000000-0000-0000-0000-000000000004', 'bob', 'example.org/', 'slack', '1.0.0', 'pending');
  insert into public.dead_letters (queue, msg_id, row_id, message, reason, enqueued_at) values
    ('disk_operations', 1, '00000000-0000-0000-0000-000000000001', '{"action": "advance_disk"}', 'broken', now());
  insert into public.outages (dependency, calls, queue, code, reason, retry_at)
    values ('kubernetes', 'read', 'gpu_reservations', 'KUBERNETES_UNREACHABLE', 'refused', now());
  insert into public.offline_sweeps (machine, swept_at, alive, silent, marked) values ('node', now(), 1, 0, 0);
  insert into hopsworks.hopsworks_clusters (name, api_url, api_key) values ('eu', 'https://eu.example.org', 'key');
"""
OWNERS = {
    "disk": "bob",
    "disk_snapshot": "bob",
    "disk_operation": "bob",
    "assignment": "auth0|bob",
    "node": None,
    "cluster": None,
    "cluster_node": None,
    "subscription": "bob",
    "dead_letter": "bob",
    "outage": None,
    "sweep": None,
    "hopsworks_cluster": None,
}


def events(conn: Connection, start: Cursor, filters: Filters = ALL) -> list[Event]:
    return reading.read(conn, start, filters).events


def test_an_event_is_a_cloud_event(conn: Connection) -> None:
    start = reading.end(conn)
    make(conn, "r1")

    (event,) = events(conn, start)

    told = json.loads(event.json())
    assert told["specversion"] == "1.0"
    assert (told["type"], told["subject"]) == ("fleet.reservation.pending", "r1")
    assert (told["id"], told["source"]) == (str(event.position.history_id), "/pgfleet/1")
    assert (told["data"]["from"], told["data"]["to"], told["data"]["reason"]) == ("(new)", "pending", "by hand")
    assert told["data"]["row"]["gpu_type"] == "t4"
    assert told["time"].endswith("+00:00")


def test_every_machine_has_events_with_columns_and_an_owner(conn: Connection) -> None:
    """Rows of users are theirs; nodes and clusters are nobody's."""
    start = reading.end(conn)
    conn.execute(EACH.encode())

    found = {event.machine: event for event in events(conn, start)}

    machines = {row[0] for row in conn.execute("select distinct machine from public.moves")}
    assert set(found) == set(OWNERS) == machines - {"reservation"}
    assert {machine: event.owner for machine, event in found.items()} == OWNERS
    assert all(event.row for event in found.values())


def test_the_types_that_are_published_are_those_of_the_database(conn: Connection) -> None:
    """States and notices, each once."""
    told = conn.execute(
        "select format('fleet.%s.%s', machine, to_status) from public.moves"
        " union select format('fleet.%s.%s', machine, notice) from public.notices"
    ).fetchall()

    assert known_types() == sorted(each for (each,) in told)


def test_no_event_shows_a_secret_column(conn: Connection) -> None:
    """Of the views of all machines, by the one list of what is secret."""
    start = reading.end(conn)
    make(conn)
    conn.execute(EACH.encode())

    shown = {(event.machine, column) for event in events(conn, start) for column in event.row}

    for machine, column in shown:
        secret = conn.execute("select public.is_secret(%s, %s)", (f"{machine}s", column)).fetchone()
        assert secret == (False,), (machine, column)


def test_filters_narrow_by_machine_state_user_and_row(conn: Connection) -> None:
    start = reading.end(conn)
    make(conn, "a", "ada")
    make(conn, "b", "bob")
    move(conn, "b", "queued")
    conn.execute(EACH.partition(";")[0].encode())

    def told(filters: Filters) -> list[str]:
        return [f"{event.row_id[:1]} {event.to_status}" for event in events(conn, start, filters)]

    assert told(Filters(machines=frozenset({"disk"}))) == ["0 creating"]
    assert told(Filters(states=frozenset({"queued"}))) == ["b queued"]
    assert told(Filters(user="bob")) == ["b pending", "b queued", "0 creating"]
    assert told(Filters(row_id="a")) == ["a pending"]
    assert told(Filters(row_id="b", states=frozenset({"queued"}), user="ada")) == []
    assert told(Filters(machines=frozenset(), user="ada")) == []


def test_what_is_filtered_out_moves_the_position_on(conn: Connection) -> None:
    start = reading.end(conn)
    for _ in range(5):
        make(conn, user="bob")

    page = reading.read(conn, start, Filters(user="ada"), limit=3)

    rest = reading.read(conn, page.cursor, limit=10)
    assert page.events == []
    assert len(rest.events) == 2


def test_an_entry_by_hand_with_any_id_stops_nobody(conn: Connection) -> None:
    start = reading.end(conn)
    conn.execute(
        "insert into public.status_history (machine, row_id, from_status, to_status, reason, actor)"
        " select m, id, 'a', 'b', 'by hand', 'me' from unnest(array['disk', 'node', 'nothing', '''; drop']) m,"
        " unnest(array['x', '', '99999999999', '------------------------------------']) id"
    )

    found = events(conn, start)

    assert len(found) == 16
    assert {event.owner for event in found} == {None}


@pytest.mark.parametrize(
    ("role", "name", "owner", "sees"),
    [
        (Role.USER, "ada", "ada", True),
        (Role.USER, "ada", "bob", False),
        (Role.USER, "ada", None, False),
        (Role.USER, "", "", False),
        (Role.DEVOPS, "eve", "ada", True),
        (Role.ADMIN, "eve", None, True),
        (Role.NODE, "ada", "ada", False),
        (Role.SERVICE, "ada", "ada", False),
    ],
)
def test_who_may_see_an_event(conn: Connection, role: Role, name: str, owner: str | None, *, sees: bool) -> None:
    start = reading.end(conn)
    make(conn, user=owner or "nobody")
    (event,) = events(conn, start)
    of_owner = event if owner else replace(event, owner=owner)

    assert may_see(role, name, of_owner) is sees


def test_the_public_columns_of_each_machine_are_columns_of_its_rows(conn: Connection) -> None:
    """The views name them as texts, so PostgreSQL refuses no wrong one."""
    named = conn.execute(
        r"""select v.viewname, array_agg(n.name) filter (where c.column_name is null), count(*)
        from pg_views v cross join unnest(substring(v.definition from $$'(\{.*\})'$$)::text[]) n (name)
        left join (
          select distinct u.view_name, c.column_name
          from information_schema.view_table_usage u
          join information_schema.columns c using (table_schema, table_name)) c
          on c.view_name = v.viewname and c.column_name = n.name
        where v.viewname like 'event\_of\_%' group by v.viewname"""
    ).fetchall()

    machines = conn.execute("select count(distinct machine) from public.moves").fetchone()
    assert machines == (len(named),)
    assert [(view, wrong) for view, wrong, _ in named if wrong] == []
    assert min(count for _, _, count in named) > 4
