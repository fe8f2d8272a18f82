"""Rows that say where something outside is can't be deleted, whichever way; those that hold nothing can."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from worlds.database import Connection, fresh_database

PENDING = """
  insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)
  values ('r1', 'ada', 'pending', 'h100', 2, 1, now())
"""
ROAD = {
    "pending": (),
    "preparing": ("preparing",),
    "active": ("preparing", "active"),
    "expired": ("preparing", "active", "expired"),
}
SNAPSHOT_ROAD = {
    "pending": (),
    "completed": ("creating", "completed"),
    "deleting": ("creating", "completed", "deleting"),
    "failed": ("failed",),
}
DELETE = "delete from public.reservations"
TRUNCATE = "truncate public.reservations cascade"


@pytest.fixture(scope="module")
def keeping(server_dsn: str, template: str) -> Iterator[Connection]:
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def db(keeping: Connection) -> Iterator[Connection]:
    """One database for all, each test in a transaction that is rolled back."""
    with keeping.transaction(force_rollback=True):
        keeping.execute("set constraints all immediate")
        yield keeping


def refusal(conn: Connection, statement: str) -> psycopg.errors.Diagnostic:
    with pytest.raises(psycopg.Error) as refused, conn.transaction():
        conn.execute(statement.encode())
    assert refused.value.sqlstate == "PF006", str(refused.value)
    return refused.value.diag


def reservation(conn: Connection, status: str, **columns: Any) -> None:
    conn.execute(PENDING)
    for stop in ROAD[status]:
        conn.execute("update public.reservations set status = %s", (stop,))
    for column, value in columns.items():
        conn.execute(f"update public.reservations set {column} = %s".encode(), (value,))


def disk(conn: Connection, *road: str, holder: str | None = None, volume: str | None = None) -> Any:
    ((disk_id,),) = conn.execute(
        "insert into public.disks (disk_name, user_id) values ('data', 'ada') returning disk_id"
    ).fetchall()
    for stop in road:
        whose = holder if stop == "attached" else None
        conn.execute("update public.disks set status = %s, reservation_id = %s", (stop, whose))
    if volume:
        conn.execute("update public.disks set ebs_volume_id = %s", (volume,))
    return disk_id


@pytest.mark.parametrize("statement", [DELETE, TRUNCATE])
@pytest.mark.parametrize("status", ["preparing", "active", "expired"])
def test_a_reservation_that_holds_something_stays(db: Connection, status: str, statement: str) -> None:
    reservation(db, status, gpus_held=2)

    said = refusal(db, statement)

    assert "it holds 2 x h100, a pod" in str(said.message_primary)
    assert ("pgfleet watch r1" if status == "expired" else "pgfleet cancel r1 --user ada") in str(said.message_hint)
    assert db.execute("select held_gpus from public.gpu_types where gpu_type = 'h100'").fetchone() == (2,)


def test_a_reservation_without_gpus_stays_while_it_has_a_pod(db: Connection) -> None:
    reservation(db, "active")

    refusal(db, DELETE)


def test_a_reservation_that_was_let_go_of_stays_until_its_pod_is_gone(db: Connection) -> None:
    reservation(db, "expired", reservation_ended="2026-01-01", held_by="its pod is terminating")

    refusal(db, DELETE)
    db.execute("update public.reservations set held_by = null")
    db.execute(DELETE.encode())


def test_a_reservation_stays_while_a_disk_is_attached_to_it(db: Connection) -> None:
    reservation(db, "pending")
    disk(db, "available", "attached", holder="r1")

    assert "it holds disk data" in str(refusal(db, DELETE).message_primary)


@pytest.mark.parametrize("statement", [DELETE, TRUNCATE])
def test_a_reservation_that_holds_nothing_may_go(db: Connection, statement: str) -> None:
    reservation(db, "expired", reservation_ended="2026-01-01")

    db.execute(statement.encode())

    assert db.execute("select from public.reservations where reservation_id = 'r1'").fetchall() == []


@pytest.mark.parametrize("statement", ["delete from public.disks", "truncate public.disks cascade"])
def test_a_disk_with_a_volume_stays(db: Connection, statement: str) -> None:
    reservation(db, "pending")
    disk(db, "available", "attached", holder="r1", volume="vol-1")

    said = refusal(db, statement)

    assert "volume vol-1" in str(said.message_primary)
    assert "pgfleet cancel r1" in str(said.message_hint)


@pytest.mark.parametrize("statement", ["delete from public.disk_snapshots", "truncate public.disk_snapshots cascade"])
@pytest.mark.parametrize("status", ["pending", "completed", "deleting"])
def test_a_snapshot_that_aws_may_have_stays_and_so_does_its_disk(db: Connection, status: str, statement: str) -> None:
    of_disk = disk(db, "available", "deleted")
    db.execute("insert into public.disk_snapshots (disk_id) values (%s)", (of_disk,))
    for stop in SNAPSHOT_ROAD[status]:
        db.execute("update public.disk_snapshots set status = %s, completed_at = now()", (stop,))

    refusal(db, statement)
    assert "1 snapshots at AWS" in str(refusal(db, "delete from public.disks").message_primary)


def test_a_snapshot_that_aws_never_had_and_its_disk_may_go(db: Connection) -> None:
    db.execute("insert into public.disk_snapshots (disk_id) values (%s)", (disk(db, "available"),))
    db.execute("update public.disk_snapshots set status = 'failed'")

    db.execute("delete from public.disk_snapshots")
    db.execute("delete from public.disks")


@pytest.mark.parametrize(
    "statement",
    ["delete from public.gpu_types", "truncate public.gpu_types", "update public.gpu_types set gpu_type = 'h'"],
)
def test_a_gpu_type_stays_while_somebody_wants_or_has_it(db: Connection, statement: str) -> None:
    reservation(db, "pending")

    assert "pgfleet types disable h100" in str(refusal(db, f"{statement}{where(statement)}").message_hint)


def where(statement: str) -> str:
    return "" if statement.startswith("truncate") else " where gpu_type = 'h100'"


def test_a_gpu_type_that_nobody_has_may_go(db: Connection) -> None:
    db.execute("delete from public.gpu_types where gpu_type = 'h100'")


ASSIGNED = """
insert into hopsworks.users (id, email) values ('auth0|ada', 'ada@x');
insert into hopsworks.hopsworks_clusters (name, api_url, api_key) values ('eu', 'https://eu', 'k');
insert into hopsworks.user_hopsworks_assignments (user_id) values ('auth0|ada');
update hopsworks.user_hopsworks_assignments set status = 'creating_user', holds_seat = true,
  hopsworks_cluster_id = (select id from hopsworks.hopsworks_clusters);
update hopsworks.user_hopsworks_assignments set status = 'active', hopsworks_username = 'ada', hopsworks_user_id = 7;
"""


@pytest.mark.parametrize(
    "statement",
    [
        "delete from hopsworks.hopsworks_clusters",
        "truncate hopsworks.hopsworks_clusters cascade",
        "truncate hopsworks.users cascade",
        "truncate hopsworks.user_hopsworks_assignments",
    ],
)
def test_users_and_their_cluster_stay(db: Connection, statement: str) -> None:
    db.execute(ASSIGNED)

    refusal(db, statement)


@pytest.mark.parametrize("statement", ["delete from", "truncate"])
def test_an_account_that_is_still_to_be_closed_stays_and_may_go_once_its_cluster_is_out_of_use(
    db: Connection, statement: str
) -> None:
    db.execute(ASSIGNED)
    db.execute("update hopsworks.user_hopsworks_assignments set status = 'released'")

    refusal(db, f"{statement} hopsworks.accounts_to_close")
    db.execute("update hopsworks.hopsworks_clusters set status = 'inactive'")

    db.execute(f"{statement} hopsworks.accounts_to_close".encode())
