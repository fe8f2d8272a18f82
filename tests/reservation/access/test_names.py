"""Names of reservations in a domain, for who writes DNS and load balancers: true to the life of the reservation."""

from collections.abc import Iterator
from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.settings import BadSettings, read_settings
from pgfleet.workers.reservation.machine import KIND
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, move_clock, row_of, settings_for, worker_on
from worlds.reservations import active, ask, ended


@pytest.fixture
def named(dsn: str, box: Box) -> Iterator[Worker]:
    with worker_on(KIND, settings_for(dsn, box, domain="gpu.example.org")) as running:
        yield running


def mappings(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute(
        "select domain_name, node_ip, node_port, reservation_id, expires_at from public.domain_mappings"
    ).fetchall()


def groups(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute("select reservation_id, purpose, domain_name, port from public.alb_target_groups").fetchall()


def mapping_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("domain_name", "node_ip", "node_port", "reservation_id", "expires_at"))


def test_an_active_one_has_a_name_that_leads_to_it(conn: Connection, named: Worker) -> None:
    row = row_of(conn, active(conn, named, name="Train GPT 2!"))

    mark = row["pod_name"].rpartition("-")[2]
    assert row["domain_name"] == f"train-gpt-2-{mark}"
    assert row["fqdn"] == f"train-gpt-2-{mark}.gpu.example.org"
    assert mappings(conn) == [mapping_of(row)]


def test_the_name_goes_in_the_commit_that_ends_it(conn: Connection, named: Worker) -> None:
    row_id = active(conn, named)

    with conn.transaction(force_rollback=True):
        conn.execute("set local pgfleet.reason = 'by hand'")
        conn.execute("update public.reservations set status = 'cancelled' where reservation_id = %s", (row_id,))
        within = mappings(conn)

    assert within == []
    assert len(mappings(conn)) == 1
    ask(conn, "cancel", row_id)
    ended(conn, named, row_id)
    assert mappings(conn) == []


def test_more_hours_are_more_hours_of_its_name(conn: Connection, named: Worker) -> None:
    row_id = active(conn, named)
    ask(conn, "extend", row_id, extension_hours=2)
    named.run()

    assert mappings(conn) == [mapping_of(row_of(conn, row_id))]


def test_a_service_on_another_port_takes_its_name_along(conn: Connection, named: Worker) -> None:
    row_id = active(conn, named)
    before = row_of(conn, row_id)
    pods = named.running.tools.pods
    pods.delete_service(f"{before['pod_name']}-ssh")
    conn.execute("update public.reservations set node_port = 32100 where reservation_id = %s", (row_id,))

    move_clock(conn, 70)
    named.run_until(lambda: row_of(conn, row_id)["warning"] is not None)

    assert mappings(conn) == [mapping_of(row_of(conn, row_id))]


def test_jupyter_has_a_group_while_it_is_on(conn: Connection, named: Worker) -> None:
    row_id = active(conn, named)
    before = groups(conn)
    ask(conn, "enable_jupyter", row_id)
    named.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is not None)
    row = row_of(conn, row_id)
    while_on = groups(conn)

    ask(conn, "disable_jupyter", row_id)
    named.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is None)

    assert (before, groups(conn)) == ([], [])
    assert while_on == [(row_id, "jupyter", f"jupyter-{row['fqdn']}", row["jupyter_port"])]


def test_jupyters_group_goes_with_the_reservation(conn: Connection, named: Worker) -> None:
    row_id = active(conn, named, jupyter_enabled=True)
    named.run_until(lambda: groups(conn) != [])
    ask(conn, "cancel", row_id)

    named.run_until(lambda: row_of(conn, row_id)["status"] == "cancelled")

    assert groups(conn) == []


def test_without_a_domain_there_is_nothing(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker, jupyter_enabled=True)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is not None)

    row = row_of(conn, row_id)
    assert (row["domain_name"], row["fqdn"]) == (None, None)
    assert mappings(conn) == []
    assert groups(conn) == []


def test_ssh_goes_by_name(conn: Connection, named: Worker, pgfleet: Pgfleet) -> None:
    row = row_of(conn, active(conn, named))

    assert f"  HostName {row['fqdn']}" in pgfleet("ssh", row["reservation_id"], "--config").out.splitlines()


@pytest.mark.parametrize("given", ["localhost", "-x.org", "a b.org", "x.org/evil", "a..org"])
def test_what_is_no_domain_is_refused(given: str) -> None:
    with pytest.raises(BadSettings, match="PGFLEET_DOMAIN"):
        read_settings(domain=given)
