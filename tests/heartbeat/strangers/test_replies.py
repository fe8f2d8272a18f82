"""What nodes are answered that run another configuration than they should: each in its own queue, read by no other."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.nodes import keys
from pgfleet.schema.reads.queue import depths
from worlds.database import Connection
from worlds.fleet import new_id
from worlds.heartbeats import Heart
from worlds.strangers import stranger_dsn


def queue_of(heart: Heart, node: int | str) -> str:
    return str(heart.one("select public.reply_queue(%s)", (str(node),)))


def answers(heart: Heart, node: int) -> list[Any]:
    queue = queue_of(heart, node)
    if heart.one("select to_regclass('pgmq.q_' || %s) is null", (queue,)):
        return []
    return heart.all(f"select message from pgmq.q_{queue} order by msg_id")


def configure(heart: Heart, node: int, text: str) -> str:
    """Make this the node's configuration; its hash."""
    heart.conn.execute("update autoscaler.node_configurations set is_active = false where node_id = %s", (node,))
    added = "insert into autoscaler.node_configurations (node_id, yaml_config) values (%s, %s) returning config_hash"
    return str(heart.one(added, (node, text)))


def drifting(heart: Heart) -> int:
    """A node that was told to run another configuration than it does."""
    node = heart.node()
    configure(heart, node, f"secret: {node}")
    return node


@contextmanager
def login(heart: Heart, group: str) -> Iterator[str]:
    """The connection string of a login with the rights of a role and no others."""
    heart.one("select public.create_fleet_roles()::text")
    with stranger_dsn(heart.dsn, role=group, queues=()) as own:
        yield own


@contextmanager
def node_login(heart: Heart, node: int | str) -> Iterator[Connection]:
    with login(heart, "pgfleet_node") as own, psycopg.connect(own, autocommit=True) as conn:
        keys.let(heart.conn, str(node), conn.info.user)
        try:
            yield conn
        finally:
            heart.one("select public.unbind_node_login(%s)::text", (str(node),))


def test_drift_is_answered_once_while_it_is_unread_and_again_when_it_was_read(heart: Heart) -> None:
    node = heart.node()
    before = configure(heart, node, "is: h1")
    now = configure(heart, node, "is: h2")
    body = {"config_hash": before, "reply_to": "answer me"}

    heart.tell(heart.beat(node, -1, **body), heart.beat(node, **body))
    heart.hear(node, **body)
    once = answers(heart, node)
    heart.one("select pgmq.purge_queue(%s)", (queue_of(heart, node),))
    heart.hear(node, **body)

    answer = {"node_id": node, "config_update_needed": True, "current_config_hash": now, "new_config": "is: h2"}
    assert (once, answers(heart, node)) == ([answer], [answer])
    assert heart.row(node)["config_hash"] == before


def test_a_node_that_runs_what_it_should_or_has_no_configuration_is_not_answered(heart: Heart) -> None:
    right, free = heart.node(), heart.node()
    wanted = configure(heart, right, "is: h1")

    heart.hear(right, config_hash=wanted, reply_to="answer me")
    heart.hear(free, config_hash="h1", reply_to="answer me")

    assert (answers(heart, right), answers(heart, free)) == ([], [])


def test_a_late_heartbeat_is_not_answered(heart: Heart) -> None:
    node = heart.node()
    wanted = configure(heart, node, "is: h2")
    heart.hear(node, config_hash=wanted, reply_to="answer me")

    heart.hear(node, -60, config_hash="h1", reply_to="answer me")

    assert answers(heart, node) == []


WISHES = [True, 1, "", "answer me", "node_replies_2", "gpu_reservations", "x; drop", ["a"], {"a": {}}, "x" * 5000]


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: str(wish)[:20])
def test_whatever_the_wish_is_the_answer_is_in_the_nodes_own_queue(heart: Heart, wish: Any) -> None:
    node, other = drifting(heart), drifting(heart)
    heart.hear(other, reply_to=True)
    queued = "select count(*) from pgmq.q_gpu_reservations"
    before = heart.one(queued)

    heart.hear(node, reply_to=f"node_replies_{other}" if wish == "node_replies_2" else wish)

    assert [answer["new_config"] for answer in answers(heart, node)] == [f"secret: {node}"]
    assert [answer["new_config"] for answer in answers(heart, other)] == [f"secret: {other}"]
    assert (heart.one(queued), heart.letters()) == (before, [])


def test_without_a_wish_there_is_no_answer_and_no_queue(heart: Heart) -> None:
    node = drifting(heart)

    heart.hear(node, reply_to=None)
    heart.hear(node)

    assert heart.one("select to_regclass('pgmq.q_' || %s)", (queue_of(heart, node),)) is None


def test_no_two_nodes_share_a_queue_and_each_name_is_one_of_a_queue(heart: Heart) -> None:
    ids = ["1", "11", "2147483647", *(f"node-abcdefg{n}-2026-11-28-1-aaaaaaa{m}" for n in range(9) for m in range(9))]

    queues = [queue_of(heart, node) for node in ids]

    assert queues[:3] == ["node_replies_1", "node_replies_11", "node_replies_2147483647"]
    assert len(set(queues)) == len(ids)
    assert all(len(queue) <= 40 and queue.replace("_", "a").isalnum() and queue.islower() for queue in queues)


def test_a_node_reads_what_it_was_answered_and_nothing_of_another_node(heart: Heart) -> None:
    node, other = drifting(heart), drifting(heart)
    with node_login(heart, node) as own, node_login(heart, other) as strange:
        heart.hear(node, reply_to=True)
        queue = queue_of(heart, node)

        (read,) = own.execute("select msg_id, message ->> 'new_config' from pgmq.read(%s, 0, 10)", (queue,)).fetchall()
        deleted = own.execute("select pgmq.delete(%s, %s::bigint)", (queue, read[0])).fetchone()

        assert (read[1], deleted, answers(heart, node)) == (f"secret: {node}", (True,), [])
        heart.hear(node, reply_to=True)
        for call in ("pgmq.read(%s, 0, 10)", "pgmq.pop(%s)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                strange.execute(f"select * from {call}".encode(), (queue,))
        for writing in (
            "select pgmq.send(%s, '{}')",
            "select pgmq.archive(%s, msg_id) from pgmq.read(%s, 0, 1)",
            f"update pgmq.q_{queue} set message = to_jsonb(%s::text)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute(writing.encode(), (queue,) * writing.count("%s"))
        assert own.execute("select count(*) from pgmq.pop(%s)", (queue,)).fetchone() == (1,)


def test_of_answers_that_nobody_reads_the_newest_is_kept(heart: Heart) -> None:
    node = heart.node()

    for number in range(30):
        configure(heart, node, f"is: {number}")
        heart.hear(node, reply_to=True)

    assert [answer["new_config"] for answer in answers(heart, node)] == ["is: 29"]


def test_a_node_is_deleted_though_its_login_holds_its_queue(heart: Heart) -> None:
    node = heart.node()
    with node_login(heart, node) as own, own.transaction():
        own.execute(f"lock table pgmq.q_{queue_of(heart, node)} in access exclusive mode".encode())

        with pytest.raises(psycopg.errors.LockNotAvailable, match="end their session first"):
            heart.conn.execute("select public.unbind_node_login(%s)", (str(node),))
        heart.conn.execute("update autoscaler.nodes set deleted_at = now() at time zone 'UTC' where id = %s", (node,))

        assert heart.one("select public.node_of(%s) is null", (own.info.user,))
        assert heart.all("select login from public.node_logins") == []


def test_a_reader_that_holds_its_queue_holds_up_nobody(heart: Heart) -> None:
    node, other = drifting(heart), drifting(heart)
    heart.hear(node, reply_to=True)
    heart.one("select pgmq.purge_queue(%s)", (queue_of(heart, node),))
    with node_login(heart, node) as own, own.transaction():
        own.execute(
            sql.SQL("lock table pgmq.{} in access exclusive mode").format(sql.Identifier(f"q_{queue_of(heart, node)}"))
        )

        heart.tell(*(heart.beat(one, reply_to=True) for one in (node, other)))

        assert {heart.status(node), heart.status(other)} == {"ACTIVE"}
        assert (heart.queue(), heart.letters(), len(answers(heart, other))) == ([], [], 1)


def test_a_queue_that_can_not_be_made_now_hurts_nobody(heart: Heart) -> None:
    node = drifting(heart)
    with heart.other() as holder:
        holder.execute("select pg_advisory_xact_lock(hashtext('pgmq.queue_' || %s))", (queue_of(heart, node),))

        heart.hear(node, reply_to=True)

    assert (heart.status(node), heart.queue(), heart.letters()) == ("ACTIVE", [], [])


@pytest.mark.parametrize("how", ["update autoscaler.nodes set deleted_at = now()", "delete from autoscaler.nodes"])
def test_answers_and_rights_go_with_the_node(heart: Heart, how: str) -> None:
    node = drifting(heart)
    with node_login(heart, node) as own:
        heart.hear(node, reply_to=True)
        name = own.info.user
        before = heart.one("select public.node_of(%s)", (name,))

        heart.conn.execute(f"{how} where id = %s".encode(), (node,))

        assert (before, heart.one("select public.node_of(%s)", (name,))) == (str(node), None)
        assert heart.one("select to_regclass('pgmq.q_' || %s)", (queue_of(heart, node),)) is None
        assert heart.all("select 1 from public.node_logins where login = %s", (name,)) == []


def test_a_login_speaks_for_one_node_and_a_node_by_one_login(heart: Heart) -> None:
    node, other, cluster_node = heart.node(), heart.node(), heart.cluster_node()
    with node_login(heart, node) as own, login(heart, "pgfleet_node") as second:
        first = own.info.user
        for taken in (str(other), cluster_node):
            with pytest.raises(psycopg.errors.UniqueViolation, match="speaks for node"):
                keys.let(heart.conn, taken, first)
        with psycopg.connect(second) as conn:
            name = conn.info.user

        queue = keys.let(heart.conn, str(node), name)

        assert queue == f"node_replies_{node}"
        assert [heart.one("select public.node_of(%s)", (one,)) for one in (first, name)] == [None, str(node)]
        assert heart.one("select has_table_privilege(%s, 'pgmq.q_' || %s, 'select')", (first, queue)) is False
        heart.one("select public.unbind_node_login(%s)::text", (str(node),))


def test_only_a_member_of_pgfleet_node_speaks_for_one(heart: Heart) -> None:
    with login(heart, "pgfleet_user") as url, psycopg.connect(url) as conn:
        for name in (conn.info.user, f"nobody-{new_id()}", "pgfleet_node"):
            with pytest.raises(psycopg.errors.UndefinedObject, match="there is no login"):
                keys.let(heart.conn, str(heart.node()), name)


CALLS = (
    "add_node_key('1', '" + "a" * 64 + "', 'abcdefgh')",
    "revoke_node_keys('1')",
    "bind_node_login('1', 'x')",
    "unbind_node_login('1')",
    "lock_node('1')",
    "drop_replies('1')",
)


@pytest.mark.parametrize("group", ["pgfleet_node", "pgfleet_user", "pgfleet_monitor", "pgfleet_api"])
def test_nobody_but_an_operator_gives_keys_or_sees_their_hashes(heart: Heart, group: str) -> None:
    with login(heart, group) as own, psycopg.connect(own, autocommit=True) as conn:
        for call in CALLS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(f"select public.{call}".encode())
        # Which login speaks for which node is no secret: the monitor sees it, as all rows.
        for table in ("node_keys", "node_logins")[: 1 if group == "pgfleet_monitor" else 2]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(f"select * from public.{table}".encode())


def test_a_node_that_locks_its_answers_keeps_nobody_from_seeing_how_queues_are(heart: Heart) -> None:
    node = drifting(heart)
    with node_login(heart, node) as conn, conn.transaction():
        queue = sql.Identifier("pgmq", f"q_{queue_of(heart, node)}")
        conn.execute(sql.SQL("lock table {} in access exclusive mode").format(queue))
        heart.conn.execute("set statement_timeout = '20s'")

        seen = {row["queue"] for row in depths(heart.conn)}
        examined = {finding.code for finding in examine(heart.conn)}

        heart.conn.execute("reset statement_timeout")
    assert "node_heartbeats" in seen
    assert "unable" not in examined
