"""What a session says of itself is believed of workers and of the owner; anyone else is a person, whatever it says."""

import psycopg
import pytest
from psycopg import sql

from worlds.database import Connection

CLAIM = "set local pgfleet.actor = 'worker-7'; set local pgfleet.by_health = 'on'; set local pgfleet.reason = 'so'"
RESERVATION = """
  insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at)
  values ('r1', 'ada', 'pending', 1, now())
"""
TABLES = "public.reservations, autoscaler.nodes, clusters.clusters"


def act_as(conn: Connection, login: str) -> None:
    names = {"login": sql.Identifier(login), "tables": sql.SQL(TABLES)}
    conn.execute(sql.SQL("grant select, insert, update, delete on {tables} to {login}").format(**names))
    conn.execute(sql.SQL("set local session authorization {login}").format(**names))
    conn.execute(CLAIM)


def signatures(conn: Connection) -> list[tuple[str, str]]:
    conn.execute("reset session authorization")
    return conn.execute("select actor, reason from public.status_history order by history_id desc limit 1").fetchall()


def test_a_stranger_who_claims_to_be_a_worker_signs_with_its_own_name(db: Connection, login: str) -> None:
    db.execute(RESERVATION)
    act_as(db, login)

    db.execute("update public.reservations set status = 'cancelled', status_reason = 'forged', status_msg_id = 5")

    assert signatures(db) == [(f"{login} (by hand)", "by hand: so")]


@pytest.mark.parametrize(
    "change",
    [
        "update public.reservations set name = 'x'",
        "delete from public.reservations where reservation_id = 'r2'",
        "update autoscaler.nodes set region = 'us'",
        "update clusters.clusters set name = 'x'",
    ],
)
def test_a_stranger_who_claims_to_be_a_worker_is_audited(db: Connection, login: str, change: str) -> None:
    db.execute(RESERVATION)
    db.execute(RESERVATION.replace("'r1'", "'r2'"))
    db.execute("select clusters.create_cluster('ours')")
    db.execute("insert into autoscaler.nodes (name, region) values ('n', 'eu')")
    act_as(db, login)

    db.execute(change.encode())
    db.execute("reset session authorization")

    assert db.execute("select user_email from autoscaler.audit_logs order by id desc limit 1").fetchall() == [(login,)]


def test_a_status_that_a_stranger_sets_is_not_healths(db: Connection, login: str) -> None:
    db.execute("select clusters.create_cluster('ours')")
    act_as(db, login)

    db.execute("update clusters.clusters set status = 'maintenance'")

    assert db.execute("select operator_status from clusters.clusters").fetchall() == [(True,)]


def test_a_node_that_a_stranger_moves_was_moved_by_hand(db: Connection, login: str) -> None:
    db.execute("insert into autoscaler.nodes (name, region) values ('n', 'eu')")
    act_as(db, login)

    db.execute("update autoscaler.nodes set status = 'ACTIVE'")
    db.execute("reset session authorization")

    assert db.execute("select triggered_by from autoscaler.node_lifecycle_logs").fetchall() == [("manual",)]


@pytest.mark.parametrize("group", ["pgfleet_monitor", "pgfleet_user", "pgfleet_api", "pgfleet_worker"])
def test_only_a_worker_is_believed(db: Connection, login: str, group: str) -> None:
    db.execute("select public.create_fleet_roles()")
    db.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(login)))
    act_as(db, login)

    found = db.execute("select public.said('pgfleet.actor'), public.signed_by()").fetchone()

    believed = group == "pgfleet_worker"
    assert found == (("worker-7", "worker-7") if believed else (None, f"{login} (by hand)"))


def test_nobody_becomes_a_worker_for_a_transaction(db: Connection, login: str) -> None:
    db.execute("select public.create_fleet_roles()")
    act_as(db, login)

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("set local role pgfleet_worker")


def test_the_owner_is_believed(db: Connection) -> None:
    db.execute(CLAIM)

    assert db.execute("select public.signed_by()").fetchone() == ("worker-7",)


def test_a_reason_that_a_stranger_gives_is_cut(db: Connection, login: str) -> None:
    db.execute(RESERVATION)
    act_as(db, login)
    db.execute("select set_config('pgfleet.reason', repeat('x', 1000000), true)")

    db.execute("update public.reservations set status = 'cancelled'")

    ((_, reason),) = signatures(db)
    assert len(reason) == 1000
