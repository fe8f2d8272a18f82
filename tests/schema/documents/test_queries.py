"""Every query and call that the five documents print runs as it stands, on a migrated database and its search_path."""

from collections.abc import Iterator

import pytest

from worlds.database import Connection
from worlds.documented import CLUSTER, documented_database, rows, with_ids


@pytest.fixture(scope="module")
def documented(server_dsn: str) -> Iterator[Connection]:
    with documented_database(server_dsn) as conn:
        yield conn


@pytest.fixture
def db(documented: Connection) -> Iterator[Connection]:
    """The documented database, in a transaction that is rolled back."""
    with documented.transaction(force_rollback=True):
        yield documented


QUERIES = {
    "000 available clusters": (
        """SELECT * FROM hopsworks_clusters
           WHERE status = 'active'
           AND current_users < max_users
           ORDER BY current_users ASC;""",
        2,
    ),
    "000 user's assignment": (
        """SELECT
             u.email,
             c.name as cluster_name,
             a.assigned_at,
             a.hopsworks_username
           FROM user_hopsworks_assignments a
           JOIN users u ON a.user_id = u.id
           JOIN hopsworks_clusters c ON a.hopsworks_cluster_id = c.id
           WHERE u.id = 'auth0|123';""",
        1,
    ),
    "000 recent assignments": (
        """SELECT
             u.email,
             c.name as cluster,
             a.assigned_at,
             a.assigned_by
           FROM user_hopsworks_assignments a
           JOIN users u ON a.user_id = u.id
           JOIN hopsworks_clusters c ON a.hopsworks_cluster_id = c.id
           WHERE a.assigned_at > NOW() - INTERVAL '7 days'
           ORDER BY a.assigned_at DESC;""",
        2,
    ),
    "001 by email": ("SELECT * FROM users WHERE email = 'user@example.com';", 1),
    "001 user with cluster": (
        """SELECT u.*, c.name as cluster_name, a.hopsworks_username
           FROM users u
           LEFT JOIN user_hopsworks_assignments a ON u.id = a.user_id
           LEFT JOIN hopsworks_clusters c ON a.hopsworks_cluster_id = c.id
           WHERE u.id = 'USER_ID';""",
        1,
    ),
    "001 admins": ("SELECT * FROM users WHERE is_admin = true;", 1),
    "001 daily breakdown": (
        """SELECT date, cpu_hours, gpu_hours, storage_gb_months, total_cost
           FROM usage_daily
           WHERE user_id = 'USER_ID'
           ORDER BY date DESC
           LIMIT 30;""",
        2,
    ),
    "003 gpu types": ("SELECT gpu_type, instance_type FROM gpu_types ORDER BY gpu_type;", 10),
    "004 cluster information": ("SELECT get_cluster_info('cluster-a1b2c3d4-...');", 1),
    "004 debugging events": (
        """SELECT * FROM cluster_events
           WHERE cluster_id = 'cluster-id'
           ORDER BY created_at DESC
           LIMIT 100;""",
        None,
    ),
    "004 debugging metrics": (
        """SELECT * FROM cluster_metrics
           WHERE cluster_id = 'cluster-id'
           AND timestamp > NOW() - INTERVAL '1 hour';""",
        1,
    ),
    "004 health of one": ("SELECT get_cluster_health_summary('cluster-a1b2c3d4-...');", 1),
    "004 health of all": ("SELECT get_cluster_health_summary();", 1),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_printed_query_runs_and_finds_its_rows(db: Connection, name: str) -> None:
    printed, number = QUERIES[name]

    found = rows(db, with_ids(db, printed))

    assert found
    assert number is None or len(found) == number


def test_capacity_is_told_in_percent(db: Connection) -> None:
    found = rows(
        db,
        """SELECT
             name,
             current_users,
             max_users,
             ROUND((current_users::numeric / max_users) * 100, 2) as capacity_percent
           FROM hopsworks_clusters
           WHERE status = 'active';""",
    )

    assert [(row[0], row[1], row[2], str(row[3])) for row in sorted(found)] == [
        ("a-lighter-one", 0, 100, "0.00"),
        ("us-east-1-prod", 2, 3, "66.67"),
    ]


def test_the_users_of_a_cluster_are_owners_and_members(db: Connection) -> None:
    found = rows(
        db,
        """SELECT
             u.email,
             u.name,
             a.assigned_at,
             CASE
               WHEN u.account_owner_id IS NULL THEN 'owner'
               ELSE 'member'
             END as user_type
           FROM user_hopsworks_assignments a
           JOIN users u ON a.user_id = u.id
           WHERE a.hopsworks_cluster_id = '123e4567-e89b-12d3-a456-426614174000'
           ORDER BY a.assigned_at DESC;""",
    )

    assert [(row[0], row[3]) for row in found] == [("bob@example.com", "member"), ("user@example.com", "owner")]


def test_a_team_is_on_its_owners_cluster(db: Connection) -> None:
    found = rows(
        db,
        """SELECT
             owner.email as owner_email,
             member.email as member_email,
             c.name as cluster_name
           FROM users owner
           JOIN users member ON member.account_owner_id = owner.id
           JOIN user_hopsworks_assignments a ON member.id = a.user_id
           JOIN hopsworks_clusters c ON a.hopsworks_cluster_id = c.id
           WHERE owner.id = 'auth0|123';""",
    )

    assert found == [("user@example.com", "bob@example.com", "us-east-1-prod")]


def test_the_month_is_summed_up(db: Connection) -> None:
    ((total,),) = rows(
        db,
        """SELECT SUM(total_cost) as monthly_total
           FROM usage_daily
           WHERE user_id = 'auth0|123'
           AND date >= date_trunc('month', CURRENT_DATE);""",
    )

    assert float(total) == 2.5


@pytest.mark.parametrize(("off_by", "verdict"), [(0, "OK"), (1, "MISMATCH")])
def test_a_seat_without_an_assignment_is_a_mismatch(db: Connection, off_by: int, verdict: str) -> None:
    db.execute("update hopsworks_clusters set current_users = current_users + %s where id = %s", (off_by, CLUSTER))

    found = rows(
        db,
        """SELECT
             c.name,
             c.status,
             c.current_users,
             c.max_users,
             COUNT(a.user_id) as actual_assignments,
             CASE
               WHEN c.current_users != COUNT(a.user_id)
               THEN 'MISMATCH'
               ELSE 'OK'
             END as count_status
           FROM hopsworks_clusters c
           LEFT JOIN user_hopsworks_assignments a ON c.id = a.hopsworks_cluster_id
           GROUP BY c.id;""",
    )

    assert {row[0]: row[5] for row in found} == {"us-east-1-prod": verdict, "a-lighter-one": "OK"}


def test_the_utilization_counts_assigned_users(db: Connection) -> None:
    found = rows(
        db,
        """SELECT
             c.name,
             c.current_users,
             c.max_users,
             COUNT(a.user_id) as assigned_users
           FROM hopsworks_clusters c
           LEFT JOIN user_hopsworks_assignments a ON c.id = a.hopsworks_cluster_id
           GROUP BY c.id;""",
    )

    assert sorted(found) == [("a-lighter-one", 0, 100, 0), ("us-east-1-prod", 2, 3, 2)]


def test_the_tables_of_document_003_are_listed_in_public_with_their_owner(db: Connection) -> None:
    # What psql's \dt asks.
    found = rows(
        db,
        """select n.nspname, c.relname, pg_get_userbyid(c.relowner) = current_user
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
             and pg_table_is_visible(c.oid)""",
    )

    expected = {("public", name, True) for name in ("api_keys", "api_users", "disks", "gpu_types", "reservations")}
    assert expected <= set(found)


def test_a_session_of_the_database_finds_all_four_schemas_and_is_in_utc(db: Connection) -> None:
    assert rows(db, "show search_path") == [("public, hopsworks, autoscaler, clusters",)]
    assert rows(db, "show timezone") == [("UTC",)]
