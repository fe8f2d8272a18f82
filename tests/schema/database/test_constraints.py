"""What the database refuses, whoever asks: a user too many, a second owner, a wrong word, a loss for good."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import psycopg
import pytest

from worlds.database import Connection, fresh_database
from worlds.fleet import lose_row

RESERVATION = """
  insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at)
  values (%s, 'ada', 'pending', 1, now())
"""


@pytest.fixture(scope="module")
def refusing(server_dsn: str, template: str) -> Iterator[Connection]:
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def db(refusing: Connection) -> Iterator[Connection]:
    """One database for all, each test in a transaction that is rolled back."""
    with refusing.transaction(force_rollback=True):
        yield refusing


def refusal(conn: Connection, statement: str, parameters: Any = None) -> str | None:
    with pytest.raises(psycopg.Error) as refused, conn.transaction():
        conn.execute(statement.encode(), parameters)
    return refused.value.sqlstate


def hopsworks_cluster(conn: Connection, users: int, seats: int = 100, status: str = "active") -> Any:
    return conn.execute(
        "insert into hopsworks.hopsworks_clusters (name, api_url, api_key, current_users, max_users, status)"
        " values ('prod', 'https://x', 'secret', %s, %s, %s) returning id",
        (users, seats, status),
    ).fetchall()[0][0]


def seats(conn: Connection, cluster: Any) -> tuple[Any, ...]:
    query = "select current_users, status from hopsworks.hopsworks_clusters where id = %s"
    return conn.execute(query, (cluster,)).fetchall()[0]


def assign(conn: Connection, cluster: Any, *, seat: bool = True) -> Any:
    user = f"auth0|{uuid.uuid4().hex}"
    conn.execute("insert into hopsworks.users (id, email) values (%s, %s)", (user, user))
    return conn.execute(
        "insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id, holds_seat)"
        " values (%s, %s, %s) returning id",
        (user, cluster, seat),
    ).fetchall()[0][0]


def disk(conn: Connection, status: str = "available", reservation: str | None = None) -> Any:
    ((disk_id,),) = conn.execute(
        "insert into public.disks (disk_name, user_id) values (gen_random_uuid()::text, 'ada') returning disk_id"
    ).fetchall()
    road = {"available": ["available"], "attached": ["available", "attached"], "deleted": ["available", "deleted"]}
    for stop in road[status]:
        owner = reservation if stop == "attached" else None
        conn.execute(
            "update public.disks set status = %s, reservation_id = %s where disk_id = %s", (stop, owner, disk_id)
        )
    return disk_id


def snapshot(conn: Connection, of_disk: Any, *road: str) -> Any:
    ((snapshot_id,),) = conn.execute(
        "insert into public.disk_snapshots (disk_id) values (%s) returning snapshot_id", (of_disk,)
    ).fetchall()
    for stop in road:
        move_snapshot(conn, snapshot_id, stop)
    return snapshot_id


def move_snapshot(conn: Connection, snapshot_id: Any, to: str) -> None:
    conn.execute(
        "update public.disk_snapshots set status = %s, completed_at = case when %s = 'completed' then now() end"
        " where snapshot_id = %s",
        (to, to, snapshot_id),
    )


def test_the_hundredth_user_fills_a_cluster_and_one_more_is_refused(db: Connection) -> None:
    cluster = hopsworks_cluster(db, 99)

    assign(db, cluster)

    assert seats(db, cluster) == (100, "full")
    with pytest.raises(psycopg.Error, match="all seats of Hopsworks cluster prod are taken") as refused:
        assign(db, cluster)
    assert refused.value.sqlstate == "PF409"


def test_a_seat_that_comes_back_makes_a_full_cluster_active(db: Connection) -> None:
    cluster = hopsworks_cluster(db, 99)
    assignment = assign(db, cluster)

    db.execute(
        "update hopsworks.user_hopsworks_assignments set status = 'failed', holds_seat = false where id = %s",
        (assignment,),
    )

    assert seats(db, cluster) == (99, "active")


@pytest.mark.parametrize("word", ["maintenance", "inactive"])
def test_what_an_operator_says_of_a_cluster_is_never_overridden(db: Connection, word: str) -> None:
    cluster = hopsworks_cluster(db, 99, status=word)

    db.execute("select hopsworks.increment_cluster_users(%s)", (cluster,))
    assert seats(db, cluster) == (100, word)
    db.execute("select hopsworks.decrement_cluster_users(%s)", (cluster,))
    assert seats(db, cluster) == (99, word)


def test_a_smaller_cluster_still_lets_people_leave(db: Connection) -> None:
    cluster = hopsworks_cluster(db, 50)
    db.execute("update hopsworks.hopsworks_clusters set max_users = 10 where id = %s", (cluster,))

    db.execute("select hopsworks.decrement_cluster_users(%s)", (cluster,))

    assert seats(db, cluster) == (49, "full")
    assert refusal(db, "select hopsworks.increment_cluster_users(%s)", (cluster,)) == "PF409"


def test_seats_never_fall_below_none(db: Connection) -> None:
    cluster = hopsworks_cluster(db, 1)

    for _ in range(3):
        db.execute("select hopsworks.decrement_cluster_users(%s)", (cluster,))

    assert seats(db, cluster) == (0, "active")


def test_thirty_at_once_take_ten_seats(server_dsn: str, template: str) -> None:
    def one_more(number: int) -> str | None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            try:
                assign(conn, clusters[number % 2])
            except psycopg.Error as error:
                return error.sqlstate
        return "assigned"

    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        clusters = [hopsworks_cluster(conn, 0, 5), hopsworks_cluster(conn, 0, 5)]
        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(one_more, range(30)))

        assert sorted(map(str, answers)) == ["PF409"] * 20 + ["assigned"] * 10
        assert [seats(conn, cluster) for cluster in clusters] == [(5, "full")] * 2


def test_a_seat_is_counted_as_long_as_it_is_held(db: Connection) -> None:
    clusters = [hopsworks_cluster(db, 0), hopsworks_cluster(db, 0)]
    dice = Random(7)
    assignments = [assign(db, dice.choice(clusters), seat=dice.random() < 0.5) for _ in range(20)]

    for _ in range(40):
        chosen = dice.sample(assignments, 5)
        db.execute(
            "update hopsworks.user_hopsworks_assignments set holds_seat = not holds_seat, hopsworks_cluster_id = %s"
            " where id = any(%s)",
            (dice.choice(clusters), chosen),
        )
        wrong = db.execute(
            "select c.id from hopsworks.hopsworks_clusters c"
            " left join hopsworks.user_hopsworks_assignments a on a.hopsworks_cluster_id = c.id and a.holds_seat"
            " group by c.id having c.current_users <> count(a.id)"
        ).fetchall()
        assert wrong == []


def test_an_assignment_stays(db: Connection) -> None:
    assign(db, hopsworks_cluster(db, 0))

    assert refusal(db, "delete from hopsworks.user_hopsworks_assignments") == "PF006"


def test_a_disk_that_is_held_passes_to_nobody(db: Connection) -> None:
    for reservation in ("r1", "r2"):
        db.execute(RESERVATION, (reservation,))
    held = disk(db, "attached", "r1")

    assert refusal(db, "update public.disks set reservation_id = 'r2' where disk_id = %s", (held,)) == "PF005"
    db.execute("update public.disks set status = 'available', reservation_id = null where disk_id = %s", (held,))
    db.execute("update public.disks set status = 'attached', reservation_id = 'r2' where disk_id = %s", (held,))


def test_a_disk_whose_reservation_is_gone_is_nobodys_until_it_is_released(db: Connection) -> None:
    for reservation in ("r1", "r2"):
        db.execute(RESERVATION, (reservation,))
    held = disk(db, "attached", "r1")
    lose_row(db, "r1")

    assert refusal(db, "update public.disks set reservation_id = 'r2' where disk_id = %s", (held,)) == "PF005"


def test_a_disk_is_held_only_while_it_is_attached(db: Connection) -> None:
    db.execute(RESERVATION, ("r1",))

    assert refusal(db, "update public.disks set reservation_id = 'r1' where disk_id = %s", (disk(db),)) == "PF004"


def test_the_last_completed_snapshot_of_a_disk_stays(db: Connection) -> None:
    kept = disk(db)
    first, last = (snapshot(db, kept, "creating", "completed") for _ in range(2))

    move_snapshot(db, first, "deleting")

    with pytest.raises(psycopg.Error, match="the last completed snapshot") as refused, db.transaction():
        move_snapshot(db, last, "deleting")
    assert refused.value.sqlstate == "PF006"
    assert refusal(db, "delete from public.disk_snapshots where snapshot_id = %s", (last,)) == "PF006"


def test_a_deleted_disks_last_snapshot_may_go(db: Connection) -> None:
    gone = disk(db)
    last = snapshot(db, gone, "creating", "completed")
    db.execute("update public.disks set status = 'deleted' where disk_id = %s", (gone,))

    move_snapshot(db, last, "deleting")

    assert db.execute("select snapshot_count from public.disks where disk_id = %s", (gone,)).fetchone() == (0,)


def test_counters_of_snapshots_are_true_after_every_statement(db: Connection) -> None:
    dice = Random(11)
    disks = [disk(db) for _ in range(3)]
    ways = {
        "pending": "creating failed",
        "creating": "completed failed",
        "completed": "deleting",
        "deleting": "deleted",
    }
    state: dict[Any, str] = {}
    for _ in range(120):
        live = [snapshot_id for snapshot_id, status in state.items() if status in ways]
        if not live or dice.random() < 0.3:
            state[snapshot(db, dice.choice(disks))] = "pending"
        else:
            chosen = dice.choice(live)
            to = dice.choice(ways[state[chosen]].split())
            try:
                with db.transaction():
                    move_snapshot(db, chosen, to)
                state[chosen] = to
            except psycopg.Error as error:
                assert error.sqlstate == "PF006"  # noqa: PT017 - of many moves, some may be refused
        wrong = db.execute(
            "select d.disk_id from public.disks d left join public.disk_snapshots s using (disk_id) group by d.disk_id"
            " having d.snapshot_count <> count(*) filter (where s.status = 'completed')"
            " or d.pending_snapshot_count <> count(*) filter (where s.status in ('pending', 'creating'))"
            " or d.is_backing_up <> (count(*) filter (where s.status in ('pending', 'creating')) > 0)"
        ).fetchall()
        assert wrong == []


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("insert into autoscaler.nodes (name, region, status) values ('n', 'eu', 'BROKEN')", "22P02"),
        ("insert into autoscaler.users (email, full_name, role) values ('x', 'X', 'GOD')", "22P02"),
        ("insert into autoscaler.audit_logs (action, category) values ('X', 'OTHER')", "PF004"),
        ("insert into hopsworks.users (id, email) values ('', 'x')", "PF004"),
        ("insert into hopsworks.users (id, email, account_owner_id) values ('a', 'x', 'a')", "PF004"),
        ("insert into hopsworks.users (id, email, login_count) values ('a', 'x', -1)", "PF004"),
        ("update hopsworks.billing_rates set price = -1", "PF004"),
        ("insert into hopsworks.usage_daily (date, gpu_hours) values (now(), -1)", "PF004"),
        ("insert into hopsworks.hopsworks_clusters (name, api_url, api_key, status) values ('', '', '', 'x')", "PF004"),
        ("insert into public.disks (disk_name, user_id, size_gb) values ('d', 'ada', 0)", "PF004"),
        ("insert into public.disks (disk_name, user_id, snapshot_count) values ('d', 'ada', -1)", "PF004"),
        ("insert into public.disks (disk_name, user_id, in_use) values ('d', 'ada', true)", "428C9"),
        ("update clusters.cluster_config_templates set max_nodes = 0", "PF004"),
        ("update public.retention set keep = '1 hour'", "PF004"),
    ],
)
def test_a_value_out_of_its_range_is_refused(db: Connection, statement: str, sqlstate: str) -> None:
    assert refusal(db, statement) == sqlstate
