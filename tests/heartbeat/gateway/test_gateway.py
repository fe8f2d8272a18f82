"""The heartbeat gateway: what nodes send is one batch, each is answered by itself, and each speaks for itself only."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgfleet.producers.http.gateway.batcher import Batcher, Reply
from pgfleet.producers.http.gateway.bodies import NotItsOwn
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.heartbeat import METRICS_LIMIT
from pgfleet.schema.messages import CONTRACT, BadMessage
from pgfleet.schema.nodes import configurations
from worlds.database import Connection
from worlds.heartbeats import Heart, pool

if TYPE_CHECKING:
    from concurrent.futures import Future

PATIENCE_S = 60
OK = {"status": "ok"}
SENT = "select message, headers from pgmq.q_node_heartbeats order by msg_id"


def ended(future: "Future[Reply]") -> Reply | FleetError:
    error = future.exception(PATIENCE_S)
    assert error is None or isinstance(error, FleetError), error
    return error or future.result()


def told(future: "Future[Reply]") -> str:
    return str(ended(future))


def configure(heart: Heart, node: int, text: str) -> str:
    return configurations.add(heart.conn, node, configurations.read(text)).hash


def test_a_heartbeat_through_the_gateway_is_its_nodes_own_and_counts(heart: Heart, gateway: Batcher) -> None:
    node, cluster_node = heart.node(), heart.cluster_node()

    replies = [
        gateway.submit(str(node), {**OK, "pools": [pool("a", 7)], "metrics": {"cpu_percent": 5}}),
        gateway.submit(cluster_node, {**OK, "cpu_usage_percent": 5, "network_rx": 3}),
    ]
    answered = [ended(reply) for reply in replies]
    heart.worker.run_once(1000)

    assert answered == [Reply("success", False, None, None)] * 2
    assert (heart.status(node), heart.status(cluster_node), heart.letters()) == ("ACTIVE", "online", [])
    assert heart.pool("a")["current_instances"] == 7


def test_each_message_is_stamped_with_its_own_node_and_the_contract(heart: Heart, gateway: Batcher) -> None:
    nodes = [str(heart.node()), heart.cluster_node(), str(heart.node())]

    for reply in [gateway.submit(node, OK) for node in nodes]:
        ended(reply)

    sent = heart.all(SENT)
    assert [headers for _, headers in sent] == [
        {"asked_by": node, "asked_role": "NODE", "pgfleet_contract": CONTRACT} for node in nodes
    ]
    assert [str(body["node_id"]) for body, _ in sent] == nodes


def test_what_arrives_together_is_one_batch(heart: Heart, gateway: Batcher) -> None:
    nodes = [str(heart.node()) for _ in range(40)]
    transactions = "select count(distinct xmin::text) from pgmq.q_node_heartbeats"

    replies = [gateway.submit(node, OK) for node in nodes for _ in range(5)]
    for reply in replies:
        ended(reply)

    assert heart.one("select count(*) from pgmq.q_node_heartbeats") == 200
    assert heart.one(transactions) < 20


def test_a_node_that_should_run_another_configuration_is_answered_with_it(heart: Heart, gateway: Batcher) -> None:
    same, other, right, none = (heart.node() for _ in range(4))
    text = "pools: []\n# né\n"
    for node in (same, other, right):
        configure(heart, node, text)
    expected = hashlib.sha256(text.encode()).hexdigest()

    replies = [
        gateway.submit(str(same), OK),
        gateway.submit(str(other), {**OK, "config_hash": "0" * 64}),
        gateway.submit(str(right), {**OK, "config_hash": expected}),
        gateway.submit(str(none), {**OK, "config_hash": expected}),
    ]

    assert [ended(reply) for reply in replies] == [
        Reply("success", True, expected, text),
        Reply("success", True, expected, text),
        Reply("success", False, expected, None),
        Reply("success", False, None, None),
    ]


def test_a_node_that_says_no_hash_is_asked_by_the_one_that_it_said_last(heart: Heart, gateway: Batcher) -> None:
    node = heart.node()
    running = configure(heart, node, "a: 1")
    heart.hear(node, config_hash=running)

    before = ended(gateway.submit(str(node), OK))
    configure(heart, node, "a: 2")
    after = ended(gateway.submit(str(node), OK))

    assert isinstance(before, Reply)
    assert isinstance(after, Reply)
    assert (before.config_update_needed, after.config_update_needed, after.new_config) == (False, True, "a: 2")


ANOTHERS = [
    {"node_id": 999},
    {"node_id": "999"},
    {"node_id": True},
    {"node_id": [1]},
    {"node_id": None},
    {"source": "cluster"},
    {"source": ""},
    {"action": "sweep"},
    {"action": None},
]


@pytest.mark.parametrize("claimed", ANOTHERS)
def test_a_node_that_speaks_for_another_is_refused_and_nothing_is_sent(
    heart: Heart, gateway: Batcher, claimed: dict[str, Any]
) -> None:
    refused = ended(gateway.submit(str(heart.node()), {**OK, **claimed}))

    assert isinstance(refused, NotItsOwn)
    assert heart.queue() == []


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"status": ""},
        {**OK, "id": "x"},
        {**OK, "sent_at": "yesterday"},
        {**OK, "hours": 4},
        {**OK, "pools": [pool("a"), pool("a")]},
        {**OK, "metrics": {"a": float("nan")}},
        {**OK, "metrics": {"a": "x" * METRICS_LIMIT}},
        {**OK, "metrics": {"a": "\0"}},
        {**OK, "metrics": {"a": "\ud800"}},
        {**OK, "error_message": "\0"},
        {**OK, "error_message": "\udfff"},
        {**OK, "metrics": {"a": 10**40}},
        {**OK, "pools": [pool(f"{place}", scaling_reason="x" * 10_000) for place in range(30)]},
    ],
)
def test_a_bad_body_fails_alone_with_its_reason(heart: Heart, gateway: Batcher, body: Any) -> None:
    nodes = [heart.node() for _ in range(3)]

    replies = [
        gateway.submit(str(nodes[0]), OK),
        gateway.submit(str(nodes[1]), body),
        gateway.submit(str(nodes[2]), OK),
    ]
    good, bad, other = (ended(reply) for reply in replies)

    assert isinstance(bad, BadMessage)
    assert isinstance(good, Reply)
    assert isinstance(other, Reply)
    assert [body["node_id"] for body, _ in heart.all(SENT)] == [nodes[0], nodes[2]]


def test_what_the_database_can_not_read_fails_alone(
    heart: Heart, gateway: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [str(heart.node()) for _ in range(8)]
    checked = "pgfleet.producers.http.gateway.bodies.text_of"
    unreadable = json.dumps({"action": "heartbeat", "status": "\0"}).encode()
    with monkeypatch.context() as patched:
        patched.setattr(checked, lambda *_: unreadable)
        bad = gateway.submit(nodes[0], OK)
    good = [gateway.submit(node, OK) for node in nodes[1:]]

    assert told(bad) == "the body holds a value that the database can't keep"
    assert all(isinstance(ended(reply), Reply) for reply in good)
    assert len(heart.queue()) == 7


def test_a_node_that_was_deleted_or_never_was_is_refused_by_name(heart: Heart, gateway: Batcher) -> None:
    node, other = heart.node(), heart.node()
    heart.one("select autoscaler.remove_node(%s)", (node,))

    replies = [gateway.submit(str(node), OK), gateway.submit("node-x", OK), gateway.submit(str(other), OK)]

    assert [told(reply) for reply in replies[:2]] == [f"there is no node {node}", "there is no node node-x"]
    assert isinstance(ended(replies[0]), Refusal)
    assert isinstance(ended(replies[2]), Reply)
    assert len(heart.queue()) == 1


def test_the_same_id_twice_is_taken_twice_and_counts_once(heart: Heart, gateway: Batcher) -> None:
    node = heart.node()
    body = heart.beat(node)

    replies = [gateway.submit(str(node), body) for _ in range(3)]
    assert all(isinstance(ended(reply), Reply) for reply in replies)
    heart.worker.run_once(1000)

    assert heart.kept(node) == [body["id"]]


def test_heartbeats_are_heard_when_the_database_has_them(heart: Heart, gateway: Batcher) -> None:
    ended(gateway.submit(str(heart.node()), {**OK, "sent_at": "2001-01-01T00:00:00Z"}))

    assert heart.one("select bool_and(enqueued_at > now() - interval '1 minute') from pgmq.q_node_heartbeats")


# --- the door of the function itself: what the login of the API may do with it


def sent_by(api: Connection, bodies: Any, nodes: list[str]) -> list[str | None]:
    found = api.execute(
        "select refused from public.send_node_heartbeats(%s::jsonb, %s, 1)", (json.dumps(bodies), nodes)
    ).fetchall()
    return [refused for (refused,) in found]


def test_the_database_holds_to_the_bounds_of_the_door_by_itself(heart: Heart, api: Connection) -> None:
    node, other, cluster_node = heart.node(), heart.node(), heart.cluster_node()
    good = heart.beat(node)
    anothers = f"node_id: {node} may ask for no other"
    tried = [
        (good, str(node), None),
        (heart.beat(other), str(node), anothers),
        (heart.beat(cluster_node), str(node), anothers),
        ({**good, "source": "cluster"}, str(node), anothers),
        ({**good, "action": "sweep"}, str(node), "action: only a heartbeat is sent here"),
        (None, str(node), "action: only a heartbeat is sent here"),
        ([good], str(node), "action: only a heartbeat is sent here"),
        ({**good, "x_more": "x" * 262_144}, str(node), "a message is at most 256 KiB of JSON"),
        ({**good, "node_id": "x"}, "x", "there is no node x"),
        (heart.beat(cluster_node), cluster_node, None),
    ]

    refused = sent_by(api, [body for body, _, _ in tried], [by for _, by, _ in tried])

    assert refused == [reason for _, _, reason in tried]
    assert [headers["asked_by"] for _, headers in heart.all(SENT)] == [str(node), cluster_node]


@pytest.mark.parametrize(
    ("bodies", "nodes"), [({}, []), ([{}], []), ([], ["1"]), ([{}] * 501, ["1"] * 501), (None, ["1"])]
)
def test_a_batch_that_is_none_is_refused_as_a_whole(api: Connection, bodies: Any, nodes: list[str]) -> None:
    with pytest.raises(psycopg.Error) as refused:
        sent_by(api, bodies, nodes)

    assert refused.value.sqlstate == "PF011"


@pytest.mark.parametrize(
    "statement",
    [
        "select pgmq.send('node_heartbeats', '{\"action\": \"heartbeat\"}'::jsonb)",
        "insert into pgmq.q_node_heartbeats (vt, message) values (now(), '{}')",
        "delete from pgmq.q_node_heartbeats",
        "select key_hash from public.node_keys",
        "select yaml_config from autoscaler.node_configurations",
        "update autoscaler.nodes set name = 'x'",
        "select public.add_node_key('1', repeat('0', 64), 'abcdefgh')",
        "select clusters.create_cluster('mine')",
    ],
)
def test_the_login_of_the_api_reaches_nothing_past_these_functions(
    heart: Heart,  # there is a database
    api: Connection,
    statement: str,
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.execute(statement.encode())


def test_nobody_else_may_send_for_nodes(heart: Heart) -> None:
    for function in ("public.send_node_heartbeats(jsonb, text[], integer)", "public.principal_of_node_key(text)"):
        allowed = heart.all(
            "select rolname from pg_roles where rolname = any (%s) and has_function_privilege(oid, %s, 'execute')",
            (["pgfleet_user", "pgfleet_sender", "pgfleet_node", "pgfleet_worker", "pgfleet_monitor"], function),
        )
        assert allowed == []
