"""How much one user may have of what: the narrowest policy counts, whoever asks is told the limit and what is used."""

from typing import Any

import psycopg
import pytest

from reservation.strangers.test_limits import as_worker
from worlds.fleet import Connection, Worker, move_clock, new_id, row_of
from worlds.reservations import active, ask, create, ended, letters

IMAGES = ["ghcr.io/acme/*", "docker.io/library/python:3.12"]


def policy(conn: Connection, name: str, most: float | None, user: str = "", team: str = "", **more: Any) -> None:
    applies_to = "user" if user else "team" if team else "everybody"
    conn.execute(
        "insert into public.policies (applies_to, subject, limit_name, gpu_type, most, patterns)"
        " values (%s, %s, %s, %s, %s, %s)",
        (applies_to, user or team, name, more.get("gpu_type", ""), most, more.get("patterns")),
    )


def rows_of(conn: Connection, user: str = "ada") -> int:
    found = conn.execute("select count(*) from public.reservations where user_id = %s", (user,)).fetchone()
    assert found is not None
    return int(found[0])


def test_gpus_at_once_are_limited_by_type_with_those_that_wait(conn: Connection, worker: Worker) -> None:
    policy(conn, "gpus", 4)
    policy(conn, "gpus", 2, gpu_type="t4")

    for gpu_type in ("h100", "h100", "h100", "t4", "t4"):
        create(conn, gpu_type=gpu_type)
    create(conn, gpu_type="cpu-x86", gpu_count=0)
    worker.run()

    assert sorted(letters(conn)) == [
        "ada has 2 t4 GPUs that wait or run, and may have 2; 2 more would be too many",
        "ada has 4 h100 GPUs that wait or run, and may have 4; 2 more would be too many",
    ]
    assert rows_of(conn) == 4


def test_gpus_of_what_is_over_may_be_had_again(conn: Connection, worker: Worker) -> None:
    policy(conn, "gpus", 2)
    row_id = active(conn, worker)

    ask(conn, "cancel", row_id)
    worker.run()
    active(conn, worker)

    assert letters(conn) == []


def test_the_narrowest_policy_counts_for_each_limit_alone(conn: Connection) -> None:
    conn.execute(
        "insert into hopsworks.users (id, email, account_owner_id)"
        " values ('own', 'o@x', null), ('ada', 'a@x', 'own'), ('bob', 'b@x', 'own'), ('eve', 'e@x', null)"
    )
    policy(conn, "hours", 10)
    policy(conn, "hours", 20, team="own")
    policy(conn, "hours", 30, user="ada")
    policy(conn, "gpus", 1, gpu_type="h100")
    policy(conn, "gpus", 2, team="own")
    policy(conn, "gpus", None, user="ada")

    found = conn.execute(
        "select user_id, name, most from public.limits_of('{own,ada,bob,eve}')"
        " where name = 'hours' or gpu_type = 'h100' order by name, user_id"
    ).fetchall()

    of = {name: {user: most for user, each, most in found if each == name} for name in ("gpus", "hours")}
    assert of["hours"] == {"own": 20, "ada": 30, "bob": 20, "eve": 10}
    assert of["gpus"] == {"own": 2, "ada": None, "bob": 2, "eve": 1}


def test_hours_for_one_are_limited_and_an_extension_counts(conn: Connection, worker: Worker) -> None:
    policy(conn, "hours", 6, user="ada")

    create(conn, duration_hours=7)
    row_id = active(conn, worker, duration_hours=4)
    for hours in (1.5, 1):
        ask(conn, "extend", row_id, extension_hours=hours)
        worker.run()

    told = "duration_hours: ada may have 6 hours for one reservation, not"
    assert letters(conn) == [f"{told} 7", f"{told} 6.5"]
    assert row_of(conn, row_id)["duration_hours"] == 5.5


def test_hours_of_a_week_are_those_that_ran_and_those_to_come(conn: Connection, worker: Worker) -> None:
    policy(conn, "hours_week", 10)
    short = active(conn, worker, duration_hours=8)
    move_clock(conn, 2 * 3600)
    ask(conn, "cancel", short)
    ended(conn, worker, short)

    create(conn, duration_hours=8.5)
    second = active(conn, worker, duration_hours=6)
    for hours in (3, 1):
        ask(conn, "extend", second, extension_hours=hours)
        worker.run()

    assert letters(conn) == [
        "ada has 2.0 hours of reservations in seven days, and may have 10; 8.5 more would be too many",
        "ada has 8.0 hours of reservations in seven days, and may have 10; 3 more would be too many",
    ]
    assert row_of(conn, second)["duration_hours"] == 7


def test_hours_of_a_week_ago_count_no_more(conn: Connection, worker: Worker) -> None:
    policy(conn, "hours_week", 4)
    row_id = active(conn, worker)
    move_clock(conn, 5 * 3600)
    ended(conn, worker, row_id)

    move_clock(conn, 7 * 24 * 3600)
    active(conn, worker)

    assert letters(conn) == []


def test_only_images_of_the_patterns_are_allowed_and_the_fleets_own(conn: Connection, worker: Worker) -> None:
    policy(conn, "images", None, patterns=IMAGES)

    active(conn, worker, gpu_count=1)
    active(conn, worker, gpu_count=1, dockerimage="ghcr.io/acme/dev:1")
    create(conn, dockerimage="ghcr.io/acme2/dev:1")
    create(conn, dockerimage="docker.io/library/python:3.13")
    worker.run()

    allowed = "dockerimage: ada may have ghcr.io/acme/* or docker.io/library/python:3.12, not"
    assert sorted(letters(conn)) == [f"{allowed} docker.io/library/python:3.13", f"{allowed} ghcr.io/acme2/dev:1"]


def test_idle_minutes_of_the_policy_are_the_rows_unless_it_asks_for_less(conn: Connection, worker: Worker) -> None:
    policy(conn, "idle_minutes", 60)

    of_policy = active(conn, worker, gpu_count=1)
    less = active(conn, worker, gpu_count=1, idle_minutes=20)
    cpu = active(conn, worker, gpu_type="cpu-x86", gpu_count=0)
    create(conn, idle_minutes=600)
    worker.run()

    assert [row_of(conn, row_id)["idle_minutes"] for row_id in (of_policy, less, cpu)] == [60, 20, None]
    assert letters(conn) == ["idle_minutes: ada may have 60 minutes without use of its GPUs, not 600"]


def test_two_who_make_rows_at_once_dont_pass_a_limit_of_gpus(conn: Connection, dsn: str) -> None:
    policy(conn, "gpus", 3, gpu_type="h100")
    insert = (
        "insert into public.reservations"
        " (reservation_id, user_id, github_user, status, gpu_type, gpu_count, duration_hours, created_at)"
        " values (%s, 'ada', 'ada', 'pending', %s, 2, 1, now())"
    )
    with as_worker(dsn) as first, as_worker(dsn, autocommit=True) as second:
        first.execute(insert, (new_id(), "h100"))

        second.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute(insert, (new_id(), "h100"))
        first.commit()
        with pytest.raises(psycopg.Error, match="ada would have more than 3 h100 GPUs that wait or run") as refused:
            second.execute(insert, (new_id(), "h100"))
        second.execute(insert, (new_id(), "t4"))

    assert refused.value.sqlstate == "PF409"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("'somebody', 'ada', 'gpus', '', 1, null", "applies_to"),
        ("'user', '', 'gpus', '', 1, null", "subject"),
        ("'everybody', 'ada', 'gpus', '', 1, null", "subject"),
        ("'user', 'ada', 'hours', 'h100', 1, null", "gpu_type"),
        ("'user', 'ada', 'gpus', '', -1, null", "most"),
        ("'user', 'ada', 'gpus', '', 1.5, null", "most"),
        ("'user', 'ada', 'gpus', '', 'NaN', null", "most"),
        ("'user', 'ada', 'images', '', 1, null", "most"),
        ("'user', 'ada', 'images', '', null, '{}'", "patterns"),
        ("'user', 'ada', 'gpus', '', null, '{a}'", "patterns"),
    ],
)
def test_the_database_refuses_a_policy_that_makes_no_sense(conn: Connection, values: str, says: str) -> None:
    insert = "insert into public.policies (applies_to, subject, limit_name, gpu_type, most, patterns) values"

    with pytest.raises(psycopg.Error, match=says) as refused:
        conn.execute(f"{insert} ({values})".encode())

    assert refused.value.sqlstate == "PF004"
