"""A hundred thousand messages that are no good, in a row: those that are good are hardly slower for them."""

import random
import time
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pgfleet.console import sandbox
from worlds.assignments import QUEUE, add_cluster
from worlds.database import Connection
from worlds.fleet import until, worker_process
from worlds.strangers import stranger_on

GOOD, BAD, AT_ONCE = 300, 100_000, 5_000
ROUNDS = 2
SETTINGS: dict[str, Any] = {"threads": 4, "effect_threads": 4}
ACTIVE = "select count(*) from hopsworks.user_hopsworks_assignments where status = 'active'"
BURIED = "select count(*) from public.dead_letters"


def bad(dice: random.Random) -> Any:
    """What the door lets in, as its action is known: no user or a strange one, a strange field, a reason of no text."""
    word = "".join(dice.choices("abcdefghijklmnopqrstuvwxyz_", k=dice.randrange(1, 90)))
    return dice.choice(
        (
            {"action": "assign"},
            {"action": "assign", "user_id": {word: [1, 2]}},
            {"action": "assign", "user_id": "auth0|1", word: word},
            {"action": "assign", "user_id": "auth0|1", "resaon": word},
            {"action": "release", "user_id": "auth0|1", "reason": 17.5},
            {"action": "assign", "user_id": ""},
        )
    )


def count(conn: Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def add_users(conn: Connection, round_: int) -> list[str]:
    conn.execute(
        "insert into hopsworks.users (id, email, name) select u, u || '@example.com', u"
        " from (select %s || n as u from generate_series(1, %s) n) s",
        (f"r{round_}-", GOOD),
    )
    return [f"r{round_}-{number}" for number in range(1, GOOD + 1)]


def seconds(conn: Connection, round_: int) -> float:
    """How long the good ones take, from their commit until all are active."""
    bodies = [Jsonb({"action": "assign", "user_id": user}) for user in add_users(conn, round_)]
    before, begin = count(conn, ACTIVE), time.monotonic()
    conn.execute("select pgmq.send_batch(%s, %s::jsonb[])", (QUEUE, bodies))
    until(lambda: count(conn, ACTIVE) == before + GOOD, within_s=300, what="all good ones")
    return time.monotonic() - begin


def send_bad(conn: psycopg.Connection[Any], dice: random.Random) -> None:
    for _ in range(BAD // AT_ONCE):
        bodies = [Jsonb(bad(dice)) for _ in range(AT_ONCE)]
        conn.execute(
            "insert into pgmq.q_cluster_assignments (vt, message) select now(), unnest(%s::jsonb[])", (bodies,)
        )


def test_what_is_no_good_does_not_keep_what_is_waiting(dsn: str, conn: Connection) -> None:
    with (
        sandbox.spawned() as box,
        stranger_on(dsn, queues=[QUEUE]) as stranger,
        worker_process(dsn, None, "pgfleet.workers.assignment", **SETTINGS),
    ):
        add_cluster(conn, box, "cluster-0", seats=10_000)
        seconds(conn, 0)
        alone = min(seconds(conn, 1 + n) for n in range(ROUNDS))
        send_bad(stranger, random.Random(3))
        beside = min(seconds(conn, 10 + n) for n in range(ROUNDS))
        left = BAD - count(conn, BURIED)

    print(f"\n{GOOD} in {alone:.2f} s, beside {BAD} bad ones in {beside:.2f} s; {left} of them were left")  # noqa: T201  # figures
    assert left > 0
    assert beside <= 1.2 * alone + 0.2
