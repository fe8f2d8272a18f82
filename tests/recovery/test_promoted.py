"""A standby without the last commits is promoted: what is lost is known, its effects are set aside and told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from kubernetes import client

from pgfleet.console.sandbox import server as sandbox
from pgfleet.schema.doctor import nodes as doctor
from pgfleet.schema.doctor.findings import LIMITS
from recovery.by_hand import die
from recovery.measured import Span
from recovery.servers import copied
from recovery.world import by_two_hosts
from worlds.database import Connection, temporary_folder
from worlds.fleet import assert_sound, send, until, worker_process
from worlds.outside.kubernetes import NS, connected
from worlds.reservations import QUEUE, ask, create, letters, statuses

KEPT, LOST = 4, 5
QUICK: dict[str, Any] = {"pod_poll_s": 0.1, "teardown_poll_s": 0.1, "watch_s": 1}


def test_what_an_asynchronous_standby_lacks_is_told_and_its_pods_are_set_aside(
    prepared_data: Path, record_property: Callable[[str, object], None]
) -> None:
    with (
        temporary_folder() as folder,
        sandbox.spawned(["h100:4x8"], ready_delay_s=0.05, termination_delay_s=0.05) as box,
        connected(box) as api,
    ):
        primary = copied(prepared_data, folder / "primary")
        standby = primary.copy_to(folder / "standby", "-R")
        try:
            standby.start()
            with worker_process(by_two_hosts(primary, standby), box, **QUICK):
                with primary.connect() as conn:
                    kept = made(conn, KEPT)
                    until(lambda: knows(standby.dsn, kept), what="a standby that knows what is kept")
                    standby.stop()
                    lost = made(conn, LOST)
                    ask(conn, "cancel", kept[0])
                    until(lambda: statuses(conn, kept[:1]) == ["cancelled"], what="the end of the first")
                die(primary)
                standby.start()
                standby.promote()
                with standby.connect() as conn:
                    again = Span.of(lambda: made(conn, 1))
                    rows = conn.execute("select reservation_id from public.reservations").fetchall()
                    missing = [each for each in (*kept, *lost) if (each,) not in rows]

                    conn.execute("update public.periodic set done_at = null")
                    send(conn, QUEUE, {"action": "sweep_pods"})
                    until(lambda: len(set_aside(conn)) == len(missing), what="pods that are set aside")
                    (told,) = [each.text for each in doctor.nodes(conn, LIMITS) if "accounts for" in each.text]
                    # Whose end is lost is live again, and ends when it is asked for again.
                    for each in conn.execute("select reservation_id from public.reservations").fetchall():
                        ask(conn, "cancel", each[0])
                    until(lambda: not unended(conn), what="the end of all that is kept")

                    pods = {str(pod.metadata.name) for pod in listed(api)}
                    aside = dict(set_aside(conn))
                    assert_sound(conn)
                    assert letters(conn) == []
        finally:
            primary.end()
            standby.end()

    orphaned = pods ^ aside.keys()
    record_property(
        "way",
        (
            "primary killed, a standby without its last commits promoted (asynchronous, two hosts)",
            f"{len(missing)} of {KEPT + LOST}, all told",
            "0",
            str(len(orphaned)),
            f"{again.seconds:.1f}",
            *("–",) * 3,
        ),
    )
    assert sorted(missing) == sorted(lost)
    assert sorted(aside.values()) == sorted(lost)
    assert orphaned == set()
    assert all(each in told for each in lost)
    assert again.seconds <= 20


def made(conn: Connection, number: int) -> list[str]:
    """So many reservations that are active."""
    ids = [create(conn, gpu_count=1) for _ in range(number)]
    until(lambda: statuses(conn, ids) == ["active"] * number, what="active reservations")
    return ids


def knows(dsn: str, ids: list[str]) -> bool:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return statuses(conn, ids) == ["active"] * len(ids)


def listed(api: client.ApiClient) -> Any:
    return client.CoreV1Api(api).list_namespaced_pod(NS).items


def set_aside(conn: Connection) -> list[tuple[str, str]]:
    return conn.execute("select pod_name, reservation_id from public.pod_quarantine where gone_at is null").fetchall()


def unended(conn: Connection) -> bool:
    return conn.execute("select from public.reservations where reservation_ended is null").fetchone() is not None
