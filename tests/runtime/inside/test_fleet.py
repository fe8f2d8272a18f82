"""A worker whose settings name another fleet than its database is of does not work."""

import psycopg
import pytest

from pgfleet.workers.runtime.inside.rights import WrongFleet, check_fleet
from worlds.fleet import Connection

NAMED = "select name from public.fleet_name"


@pytest.fixture(params=["a pod", "a disk", "a snapshot"])
def outside(request: pytest.FixtureRequest, conn: Connection) -> Connection:
    """A database that has made something outside, and whose workers knew no names yet."""
    conn.execute("set session_replication_role = replica")
    match request.param:
        case "a pod":
            conn.execute(
                "insert into public.reservations (reservation_id, user_id, github_user, status, duration_hours,"
                " gpu_type, gpu_count, created_at) values ('r', 'ada', 'ada', 'cancelled', 1, 'h100', 1, now())"
            )
        case "a disk":
            conn.execute("insert into public.disks (user_id, disk_name, status) values ('ada', 'data', 'attached')")
        case _:
            conn.execute(
                "with made as (insert into public.disks (user_id, disk_name, status)"
                " values ('ada', 'data', 'available') returning disk_id)"
                " insert into public.disk_snapshots (disk_id, kind, status)"
                " select disk_id, 'manual', 'completed' from made"
            )
    conn.execute("reset session_replication_role")
    return conn


def name(conn: Connection) -> list[str]:
    return [row[0] for row in conn.execute(NAMED)]


@pytest.mark.parametrize("mine", ["", "east"])
def test_the_name_that_the_first_worker_brings_is_kept(conn: Connection, mine: str) -> None:
    check_fleet(conn, mine)
    check_fleet(conn, mine)

    assert name(conn) == [mine]


@pytest.mark.parametrize(
    ("known", "mine", "said"),
    [
        (
            "east",
            "west",
            "PGFLEET_FLEET is west, but this database is of the fleet east. Each fleet has a database of its own.",
        ),
        ("east", "", "PGFLEET_FLEET is not set, but this database is of the fleet east. Each"),
        ("", "west", "PGFLEET_FLEET is west, but this database is of a fleet without a name. Each"),
    ],
)
def test_a_worker_with_another_name_is_refused(conn: Connection, known: str, mine: str, said: str) -> None:
    check_fleet(conn, known)

    with pytest.raises(WrongFleet) as refused:
        check_fleet(conn, mine)

    assert str(refused.value).startswith(said)
    assert name(conn) == [known]


def test_what_was_made_before_there_were_names_keeps_having_none(outside: Connection) -> None:
    with pytest.raises(WrongFleet) as refused:
        check_fleet(outside, "east")

    assert str(refused.value) == (
        "PGFLEET_FLEET is east, but pods, volumes or snapshots are outside that this fleet without a name made. Its"
        " name stays empty until all of them are gone. Each fleet has a database of its own."
    )
    check_fleet(outside, "")
    assert name(outside) == [""]


def test_a_fleet_is_renamed_while_nothing_is_outside(conn: Connection) -> None:
    check_fleet(conn, "east")

    conn.execute("update public.fleet_name set name = 'west'")

    check_fleet(conn, "west")


@pytest.mark.parametrize("change", ["update public.fleet_name set name = 'west'", "delete from public.fleet_name"])
def test_a_fleet_keeps_its_name_while_something_is_outside(outside: Connection, change: str) -> None:
    outside.execute("alter table public.fleet_name disable trigger keep_name")
    outside.execute("insert into public.fleet_name (name) values ('east')")
    outside.execute("alter table public.fleet_name enable trigger keep_name")

    with pytest.raises(psycopg.DatabaseError) as refused:
        outside.execute(change.encode())

    assert refused.value.sqlstate == "PF006"
    assert name(outside) == ["east"]
