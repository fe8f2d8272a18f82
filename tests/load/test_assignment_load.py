"""A thousand users for 900 seats, two workers that are killed again and again: nothing is given twice (I11, I12)."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from subprocess import Popen
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.assignment.machine import KIND
from worlds.assignments import QUEUE, add_cluster, assert_sound, outage
from worlds.fleet import Connection, kill, settings_for, until, worker_on, worker_process

USERS, CLUSTERS, SEATS, LEAVING = 1000, 10, 90, 50
SEATED = CLUSTERS * SEATS
# Everybody is pending once; who gets a seat, creating_user and active.
MOVES = USERS + 2 * SEATED
KILLS = 7
ENABLED, DISABLED = 2, 3
SETTINGS: dict[str, Any] = {
    "threads": 4,
    "effect_threads": 4,
    "lease_s": 2,
    "backoff_s": 0.2,
    "breaker_open_s": 1,
    "seat_recheck_s": 3,
    # A message may have the bad luck to be in hand at every kill, which is no reason to give it up.
    "attempts": KILLS + 5,
}
# On each cluster. Twice a POST is carried out and nobody told; the others are refused. As often as this, no user fails.
FAULTS: list[dict[str, Any]] = [
    {"drop": True, "after": True},
    {"drop": True, "after": True},
    {"status": 500},
    {"status": 500},
    {"status": 429, "retry_after": 1},
]

# At every commit, whoever commits: the seats counted are those of the rows, and no more than there are.
WATCH = """
create table public.wrong_seats (cluster text, counted integer, held bigint, most integer);
create function public.note_wrong_seats() returns trigger language plpgsql security definer as $$
begin
  insert into public.wrong_seats
  select c.name, c.current_users, held.seats, c.max_users
  from hopsworks.hopsworks_clusters c
  cross join lateral (
    select count(*) as seats from hopsworks.user_hopsworks_assignments a
    where a.hopsworks_cluster_id = c.id and a.holds_seat) held
  where c.id::text in (to_jsonb(old) ->> tg_argv[0], to_jsonb(new) ->> tg_argv[0])
    and (c.current_users <> held.seats or c.current_users > c.max_users);
  return null;
end
$$;
create constraint trigger note_wrong_seats after update on hopsworks.hopsworks_clusters
  deferrable initially deferred for each row execute function public.note_wrong_seats('id');
create constraint trigger note_wrong_seats after insert or update on hopsworks.user_hopsworks_assignments
  deferrable initially deferred for each row execute function public.note_wrong_seats('hopsworks_cluster_id');
"""


def test_a_thousand_users_get_900_seats_and_as_many_accounts_whoever_is_killed(dsn: str, conn: Connection) -> None:
    dice = random.Random(5)
    # No sweep repairs what a death has broken.
    conn.execute("update public.periodic set next_at = 'infinity'")
    conn.execute(WATCH)
    with sandbox.spawned() as box, crew_on(dsn) as crew:
        add_clusters(conn, box, dice)
        users = add_everybody(conn)
        send_all(conn, [{"action": "assign", "user_id": user} for user in users])
        for number in range(KILLS):
            enough = dice.randrange(number * MOVES // KILLS, (number + 1) * MOVES // KILLS)
            reach(conn, partial(moved, conn, enough), f"{enough} moves")
            crew.kill(dice)
        reach(conn, lambda: settled(conn) == (SEATED, USERS - SEATED), "an end of all rows")

        assert_right(conn, box)
        assert box.state()["faults_left"] == 0

        waiting = those(conn, "pending")
        leaving = dice.sample(those(conn, "active"), LEAVING)
        send_all(conn, [{"action": "release", "user_id": user, "reason": "left"} for user in leaving])
        reach(conn, lambda: settled(conn) == (SEATED, USERS - SEATED - LEAVING), "new users on free seats")

        assert set(those(conn, "released")) == set(leaving)
        assert those(conn, "pending") == waiting[LEAVING:]
        assert_right(conn, box)


def test_a_cluster_that_does_not_answer_is_left_alone_however_many_wait_for_it(dsn: str, conn: Connection) -> None:
    conn.execute("update public.periodic set next_at = 'infinity'")
    with sandbox.running() as box, worker_on(KIND, settings_for(dsn, effect_threads=4)) as worker:
        silent = add_cluster(conn, box, "cluster-0", seats=USERS)
        box.fault("/hopsworks/cluster-0/", status=503, times=10 * USERS)
        send_all(conn, [{"action": "assign", "user_id": user} for user in add_everybody(conn)[:200]])

        def is_left_alone() -> bool:
            worker.run_once(4)
            return outage(conn, silent) is not None

        reach(conn, is_left_alone, "an outage")

        assert box.state()["requests"] < 20


class Crew:
    """Two worker processes; who is killed has a successor at once."""

    def __init__(self, start: Callable[[], Popen[bytes]]) -> None:
        self.start = start
        self.workers = [start(), start()]

    def kill(self, dice: random.Random) -> None:
        """One of them, or both."""
        doomed = dice.choice(([0], [1], [0, 1]))
        for number in doomed:
            kill(self.workers[number])
        for number in doomed:
            self.workers[number] = self.start()


@contextmanager
def crew_on(dsn: str) -> Iterator[Crew]:
    with ExitStack() as stack:
        yield Crew(lambda: stack.enter_context(worker_process(dsn, None, "pgfleet.workers.assignment", **SETTINGS)))


def add_clusters(conn: Connection, box: Box, dice: random.Random) -> None:
    names = [f"cluster-{number}" for number in range(CLUSTERS)]
    for name in names:
        add_cluster(conn, box, name, SEATS)
        box.hopsworks(name, latency_s=0.003)
    faults = [(name, fault) for name in names for fault in FAULTS]
    for name, fault in dice.sample(faults, len(faults)):
        box.fault(f"/hopsworks/{name}/", method="POST", **fault)


def add_everybody(conn: Connection) -> list[str]:
    conn.execute(
        "insert into hopsworks.users (id, email, name)"
        " select 'auth0|' || n, 'user' || n || '@example.com', 'User ' || n from generate_series(1, %s) n",
        (USERS,),
    )
    return [f"auth0|{number}" for number in range(1, USERS + 1)]


def send_all(conn: Connection, bodies: list[dict[str, Any]]) -> None:
    conn.execute("select pgmq.send_batch(%s, %s::jsonb[])", (QUEUE, [Jsonb(body) for body in bodies]))


def moved(conn: Connection, times: int) -> bool:
    row = conn.execute(
        "select count(*) >= %s from public.status_history where machine = 'assignment'", (times,)
    ).fetchone()
    return row == (True,)


SETTLED = """
select count(*) filter (where status = 'active'),
  count(*) filter (where status = 'pending' and detail like 'CLUSTER_FULL%')
from hopsworks.user_hopsworks_assignments
where not exists (
  select from pgmq.q_cluster_assignments
  where message ->> 'action' <> 'advance' or vt < public.fleet_now())
"""


def settled(conn: Connection) -> tuple[Any, ...] | None:
    """How many are active, and how many wait and have been told why; once nothing but tickets for later is left."""
    return conn.execute(SETTLED).fetchone()


def those(conn: Connection, status: str) -> list[str]:
    """The users with a status, in the order of the line."""
    query = "select user_id from hopsworks.user_hopsworks_assignments where status = %s order by asked_at, id"
    return [row[0] for row in conn.execute(query, (status,))]


def reach(conn: Connection, condition: Callable[[], bool], what: str) -> None:
    try:
        until(condition, within_s=60, what=what)
    except AssertionError as late:
        raise AssertionError(f"{late}:\n{report(conn)}") from None


REPORT = """
select 'rows', status, case when status <> 'active' then split_part(detail, ':', 1) end, count(*)::text
from hopsworks.user_hopsworks_assignments group by 2, 3
union all
select 'queue', message ->> 'action', 'claimed ' || read_ct || ' times', count(*)::text
from pgmq.q_cluster_assignments group by 2, read_ct
union all
select 'letters', reason, '', count(*)::text from public.dead_letters group by reason
union all
select 'outages', kind, reason, count(*)::text from hopsworks.unanswered_clusters group by 2, 3
"""


def report(conn: Connection) -> str:
    return "\n".join(" | ".join(str(value) for value in row) for row in conn.execute(REPORT))


ASSIGNED = """
select a.user_id, c.name, a.hopsworks_username
from hopsworks.user_hopsworks_assignments a join hopsworks.hopsworks_clusters c on c.id = a.hopsworks_cluster_id
where a.status = 'active'
"""


def assert_right(conn: Connection, box: Box) -> None:
    """All seats are taken and were never given twice; every account is somebody's, or was and is deactivated."""
    assert_sound(conn)
    assert conn.execute("select * from public.wrong_seats").fetchall() == []
    assert conn.execute("select reason from public.dead_letters").fetchall() == []
    seats = conn.execute("select current_users, status from hopsworks.hopsworks_clusters").fetchall()
    assert seats == [(SEATS, "full")] * CLUSTERS
    servers = {f"cluster-{number}": box.hopsworks_state(f"cluster-{number}") for number in range(CLUSTERS)}
    accounts = [(name, account) for name, state in servers.items() for account in state["users"]]
    released = those(conn, "released")
    assert Counter(account["subject"] for _, account in accounts) == Counter(those(conn, "active") + released)
    assert sum(state["created"] for state in servers.values()) == len(accounts)
    assert {account["subject"] for _, account in accounts if account["status"] == DISABLED} == set(released)
    enabled = {(a["subject"], name, a["username"]) for name, a in accounts if a["status"] == ENABLED}
    assert enabled == set(conn.execute(ASSIGNED).fetchall())
    assert len({(name, username) for _, name, username in enabled}) == SEATED
