"""A gateway whose database is away or hangs: who waits is told within the deadline, and no more wait than may."""

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgfleet.producers.http.gateway import batcher
from pgfleet.producers.http.gateway.batcher import Batcher, Reply, gateway_of
from pgfleet.producers.http.gateway.waiting import Busy, Limits, Unanswered
from pgfleet.producers.http.settings import read_serve_settings
from pgfleet.schema.database.sessions import open_session
from worlds.database import Connection
from worlds.fleet import settings_for, until
from worlds.heartbeats import Heart

if TYPE_CHECKING:
    from concurrent.futures import Future

PATIENCE_S = 60
OK = {"status": "ok"}
SHORT = Limits(deadline_s=1.0)
SECRET = "hunter2"  # noqa: S105  # to be looked for


def told(future: "Future[Reply]") -> str:
    error = future.exception(PATIENCE_S)
    assert isinstance(error, Unanswered), error
    return str(error)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def opened(dsn: str, **options: Any) -> Connection:
    return open_session(dsn, autocommit=True, **options)


def test_a_database_that_is_not_there_is_told_within_the_deadline_without_a_secret() -> None:
    away = f"postgresql://api:{SECRET}@127.0.0.1:1/x"
    with Batcher(lambda: opened(away), SHORT) as gateway:
        began_s = time.monotonic()
        replies = [gateway.submit("1", OK) for _ in range(20)]
        reasons = {told(reply) for reply in replies}
        took_s = time.monotonic() - began_s
        (lacking,) = gateway.lacking()

    assert took_s < PATIENCE_S / 4
    assert all("was not written down in time" in reason for reason in reasons)
    assert SECRET not in f"{reasons} {lacking}"


def test_a_server_that_hangs_keeps_nobody_for_longer_than_the_deadline(silent: int) -> None:
    hangs = f"postgresql://api@127.0.0.1:{silent}/x"
    with Batcher(lambda: opened(hangs, connect_timeout=2), SHORT) as gateway:
        replies = [gateway.submit("1", OK) for _ in range(20)]

        assert {told(reply).partition(";")[0] for reply in replies} == {"the heartbeat was not written down in time"}


def test_a_heartbeat_that_waits_behind_a_batch_that_hangs_has_its_own_deadline(heart: Heart, api_dsn: str) -> None:
    node = str(heart.node())
    with (
        heart.other() as holder,
        Batcher(lambda: opened(api_dsn, longest_s=PATIENCE_S), SHORT) as gateway,
    ):
        holder.execute("lock table pgmq.q_node_heartbeats in access exclusive mode")
        first = gateway.submit(node, OK)
        until(lambda: blocked(heart) == 1)
        behind = gateway.submit(node, OK)

        assert [type(reply.exception(PATIENCE_S)) for reply in (first, behind)] == [Unanswered, Unanswered]
        holder.rollback()
        # What is over is over: the next ones are taken.
        until(lambda: gateway.submit(node, OK).exception(PATIENCE_S) is None)


def blocked(heart: Heart) -> int:
    waiting = "select count(*) from pg_locks where not granted and relation = 'pgmq.q_node_heartbeats'::regclass"
    return int(heart.one(waiting))


def test_no_more_wait_than_may_and_the_next_is_told_so_at_once(silent: int) -> None:
    hangs = f"postgresql://api@127.0.0.1:{silent}/x"
    few = Limits(deadline_s=2.0, waiting=10)
    with Batcher(lambda: opened(hangs, connect_timeout=2), few) as gateway:
        replies = [gateway.submit("1", OK) for _ in range(50)]
        at_once = [reply.exception(0) for reply in replies[10:]]

        assert {str(error) for error in at_once} == {"10 heartbeats wait already"}
        assert {type(error) for error in at_once} == {Busy}
        assert {type(reply.exception(PATIENCE_S)) for reply in replies[:10]} == {Unanswered}


def test_what_waits_is_bounded_in_bytes_too(silent: int) -> None:
    hangs = f"postgresql://api@127.0.0.1:{silent}/x"
    small = Limits(deadline_s=1.0, waiting_bytes=100_000)
    with Batcher(lambda: opened(hangs, connect_timeout=2), small) as gateway:
        replies = [gateway.submit("1", {**OK, "metrics": {"text": "x" * 30_000}}) for _ in range(4)]

        assert isinstance(replies[3].exception(0), Busy)
        assert {type(reply.exception(PATIENCE_S)) for reply in replies[:3]} == {Unanswered}


def test_sessions_that_are_ended_cost_a_reconnect_and_lose_nothing(heart: Heart, api_dsn: str) -> None:
    nodes = [str(heart.node()) for _ in range(5)]
    user = psycopg.conninfo.conninfo_to_dict(api_dsn)["user"]
    end_all = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = %s"
    replies: list[Future[Reply]] = []
    with Batcher(lambda: opened(api_dsn), Limits(deadline_s=PATIENCE_S)) as gateway:
        for _ in range(20):
            replies += [gateway.submit(node, OK) for node in nodes for _ in range(5)]
            heart.one(end_all, (user,))
        for reply in replies:
            assert reply.result(PATIENCE_S).status == "success"
        until(lambda: gateway.lacking() == [])

    assert len({body["id"] for body in heart.all("select message from pgmq.q_node_heartbeats")}) == len(replies)


def test_a_database_that_refuses_to_write_is_told_as_its_trouble_until_it_takes_again(
    heart: Heart, api_dsn: str
) -> None:
    node = str(heart.node())
    with Batcher(lambda: opened(api_dsn), SHORT) as gateway:
        heart.conn.execute("alter table pgmq.q_node_heartbeats rename to elsewhere")
        try:
            refused = told(gateway.submit(node, OK))
            lacking = gateway.lacking()
        finally:
            heart.conn.execute("alter table pgmq.elsewhere rename to q_node_heartbeats")
        after = gateway.submit(node, OK).result(PATIENCE_S)

        assert "does not exist" in refused
        assert lacking
        assert (after.status, gateway.lacking()) == ("success", [])


def test_what_waits_at_the_end_is_still_sent_and_then_nothing_is_taken(heart: Heart, api_dsn: str) -> None:
    gateway = Batcher(lambda: opened(api_dsn), Limits(window_s=1.0))
    replies = [gateway.submit(str(heart.node()), OK) for _ in range(3)]

    gateway.close()
    late = gateway.submit("1", OK)

    assert [reply.result(0).status for reply in replies] == ["success"] * 3
    assert str(late.exception(0)) == "the gateway is ending"


def test_many_threads_at_once_each_get_their_own_answer(heart: Heart, gateway: Batcher) -> None:
    nodes = [str(heart.node()) for _ in range(8)]
    ids: dict[str, list[str]] = {node: [] for node in nodes}

    def work(node: str) -> None:
        for _ in range(50):
            body = heart_body(node)
            assert gateway.submit(node, body).result(PATIENCE_S).status == "success"
            ids[node].append(body["id"])

    workers = [threading.Thread(target=work, args=(node,)) for node in nodes]
    for each in workers:
        each.start()
    for each in workers:
        each.join()

    by_node = "select message ->> 'id' from pgmq.q_node_heartbeats where message ->> 'node_id' = %s order by msg_id"
    assert {node: heart.all(by_node, (node,)) for node in nodes} == ids


def heart_body(node: str) -> dict[str, Any]:
    return {**OK, "id": str(uuid.uuid4()), "node_id": int(node)}


def test_the_gateway_of_a_service_sends_as_the_settings_say(heart: Heart, api_dsn: str) -> None:
    node = str(heart.node())
    serving = read_serve_settings(heartbeat_window_s=0.0, heartbeat_deadline_s=30)

    with gateway_of(settings_for(api_dsn), serving) as gateway:
        assert gateway.submit(node, OK).result(PATIENCE_S).status == "success"

    assert len(heart.queue()) == 1


def test_trouble_is_believed_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is not ready for it is sent no heartbeats, so that none would find out that it is over."""
    with Batcher(lambda: opened("postgresql://api@127.0.0.1:1/x"), SHORT) as gateway:
        told(gateway.submit("1", OK))

        monkeypatch.setattr(batcher, "BELIEVED_S", 0)

        assert gateway.lacking() == []
