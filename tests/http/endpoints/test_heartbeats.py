"""`POST /v1/nodes/{id}/heartbeat`: of the node of the key only, many as one batch, answered within the deadline."""

import hashlib
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from worlds.api.nodes import Made, make_cluster, make_cluster_node, make_node
from worlds.api.server import Api, api_on

OK = {"status": "ok"}
SENT = "select message, headers from pgmq.q_node_heartbeats order by msg_id"
DEADLINE_S = 1.0
PATIENCE_S = 60


def beat(client: httpx.Client, node: Made | str, body: Any = OK) -> httpx.Response:
    number = node if isinstance(node, str) else node.id
    return client.post(f"/v1/nodes/{number}/heartbeat", json=body)


def sent(api: Api) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return api.conn.execute(SENT.encode()).fetchall()


@pytest.fixture
def node(shared: Api, ops: httpx.Client) -> Made:
    """A node, with nothing in the queue and in the audit."""
    made = make_node(ops)
    shared.conn.execute("delete from pgmq.q_node_heartbeats; truncate autoscaler.audit_logs")
    return made


@pytest.fixture
def own(shared: Api, node: Made) -> Iterator[httpx.Client]:
    with node.client(shared) as client:
        yield client


def test_a_heartbeat_is_in_the_queue_when_it_is_answered(shared: Api, own: httpx.Client, node: Made) -> None:
    """Whose it is comes from the key; it leaves nothing in the audit."""
    answer = beat(own, node, {**OK, "metrics": {"cpu_percent": 5}})

    ((body, headers),) = sent(shared)
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "success", "config_update_needed": False, "current_config_hash": None, "new_config": None},
    )
    assert (body["action"], body["source"], body["node_id"]) == ("heartbeat", "autoscaler", int(node.id))
    assert body["metrics"] == {"cpu_percent": 5}
    assert uuid.UUID(body["id"])
    assert (headers["asked_by"], headers["asked_role"]) == (node.id, "NODE")
    assert shared.audited("action") == []


def test_the_key_may_be_in_the_header_of_nodes(shared: Api, node: Made) -> None:
    """`X-API-Key`, as document 002 has it."""
    with shared.with_key(None) as client:
        answer = client.post(f"{node.href}/heartbeat", json=OK, headers={"X-API-Key": node.key})

    assert answer.status_code == 200


def test_a_node_hears_of_its_drift_until_it_runs_what_it_should(
    ops: httpx.Client, own: httpx.Client, node: Made
) -> None:
    """With the text that it should run."""
    text = "a: 1\n"
    expected = hashlib.sha256(text.encode()).hexdigest()
    ops.post(f"{node.href}/configurations", json={"yaml": text})

    drifts, runs = beat(own, node, {**OK, "config_hash": "0" * 64}), beat(own, node, {**OK, "config_hash": expected})

    said = {"status": "success", "current_config_hash": expected}
    assert drifts.json() == {**said, "config_update_needed": True, "new_config": text}
    assert runs.json() == {**said, "config_update_needed": False, "new_config": None}


def test_what_arrives_at_once_is_few_batches(dsn: str) -> None:
    """200 heartbeats of 20 nodes, each with its own answer, in far fewer transactions."""
    with api_on(dsn, heartbeat_window_s=0.2) as api, api.as_user("ops", "DEVOPS") as ops:
        nodes = [make_node(ops, f"n{number}") for number in range(20)]
        with api.with_key(None, limits=httpx.Limits(max_connections=100)) as client:

            def one(number: int) -> int:
                node = nodes[number % len(nodes)]
                at, headers = f"{node.href}/heartbeat", {"X-API-Key": node.key}
                return client.post(at, json=OK, headers=headers).status_code

            with ThreadPoolExecutor(50) as crowd:
                answered = list(crowd.map(one, range(200)))

        by_node = "select count(*) from pgmq.q_node_heartbeats group by message ->> 'node_id'"
        transactions = "select count(distinct xmin::text) from pgmq.q_node_heartbeats"
        assert answered == [200] * 200
        assert api.conn.execute(by_node.encode()).fetchall() == [(10,)] * 20
        (number,) = api.conn.execute(transactions.encode()).fetchone() or (0,)
        assert 0 < number < 100


def test_no_node_speaks_for_another(shared: Api, ops: httpx.Client, own: httpx.Client, node: Made) -> None:
    """Neither in the address nor in the body; each try is in the audit."""
    other = make_node(ops)
    shared.conn.execute("truncate autoscaler.audit_logs")

    tried = [
        beat(own, other),
        beat(own, "node-x"),
        beat(own, str(2**63)),
        beat(own, node, {**OK, "node_id": int(other.id)}),
        beat(own, node, {**OK, "source": "cluster"}),
        beat(own, node, {"action": "sweep"}),
    ]

    assert [answer.status_code for answer in tried] == [403] * 6
    assert sent(shared) == []
    assert shared.audited("user_email", "user_role", "status") == [(node.id, "NODE", "FAILURE")] * 6


@pytest.mark.parametrize("role", ["USER", "DEVOPS", "ADMIN"])
def test_people_send_no_heartbeats(shared: Api, node: Made, role: str) -> None:
    """Whatever their role: a heartbeat is what a node says of itself."""
    with shared.as_user(f"person-{role.lower()}", role) as client:
        assert beat(client, node).status_code == 403
    assert sent(shared) == []


BAD: list[Any] = [
    {},
    {"status": ""},
    {"status": "x" * 51},
    {"status": 5},
    {**OK, "statsu": "ok"},
    {**OK, "id": "x"},
    {**OK, "sent_at": "yesterday"},
    {**OK, "sent_at": "2026-01-01T00:00:00"},
    {**OK, "metrics": []},
    {**OK, "metrics": {"a": "x" * 70_000}},
    {**OK, "pools": [{"oracle_pool_id": "p"}]},
    {**OK, "cpu_usage_percent": 5},
    {**OK, "error_message": "a\0b"},
    {**OK, "config_hash": "0" * 65},
]


@pytest.mark.parametrize("body", BAD, ids=lambda body: str(body)[:40])
def test_a_body_that_is_no_heartbeat_is_refused(shared: Api, own: httpx.Client, node: Made, body: Any) -> None:
    """With what is wrong, and nothing is sent."""
    answer = beat(own, node, body)

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert sent(shared) == []


@pytest.mark.parametrize("raw", [b"[]", b"5", b"{", b"\xff", b'{"status": "ok", "metrics": {"a": 1e999}}'])
def test_a_body_that_is_no_object_is_refused(shared: Api, own: httpx.Client, node: Made, raw: bytes) -> None:
    """Before anything looks at it as a heartbeat."""
    answer = own.post(f"{node.href}/heartbeat", content=raw, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert sent(shared) == []


def test_heartbeats_that_are_none_are_counted_by_node_and_minute_and_fill_no_audit(
    shared: Api, own: httpx.Client, node: Made
) -> None:
    """A node that is set up wrongly sends the same every ten seconds, for ever."""
    statuses = {beat(own, node, {"nobody_knows": 1}).status_code for _ in range(5)}
    shared.desk.trail.write()  # type: ignore[attr-defined]  # of the desk's own trail

    assert statuses == {400}
    assert shared.audited("action") == []
    of_node = "select sum(refused)::int from public.refusals where address = %s"
    assert shared.conn.execute(of_node, (f"node {node.id}",)).fetchone() == (5,)


def test_a_revoked_key_is_refused_from_then_on(ops: httpx.Client, own: httpx.Client, node: Made) -> None:
    """Not a heartbeat later."""
    before = beat(own, node).status_code
    ops.delete(f"{node.href}/keys")

    assert (before, beat(own, node).status_code) == (200, 401)


def test_the_document_says_what_a_heartbeat_is(shared: Api) -> None:
    """As the published message, of either sort of node, without what the key says."""
    document = httpx.get(f"{shared.url}/openapi.json", trust_env=False).json()

    taken = document["paths"]["/v1/nodes/{id}/heartbeat"]["post"]["requestBody"]["content"]["application/json"]
    models = document["components"]["schemas"]
    body = models[taken["schema"]["$ref"].rpartition("/")[2]]
    shown = [models[each["$ref"].rpartition("/")[2]] for each in body["anyOf"]]
    assert [model["required"] for model in shown] == [["status"], ["status"]]
    assert "pools" in shown[0]["properties"]
    assert "cpu_usage_percent" in shown[1]["properties"]


# --- a database that is away


@pytest.fixture
def ends(dsn: str) -> Iterator[tuple[Api, Made]]:
    """An API of its own, and a node of it."""
    with api_on(dsn, heartbeat_deadline_s=DEADLINE_S, serve_timeout_s=DEADLINE_S) as api:
        with api.as_user("ops", "DEVOPS") as ops:
            node = make_node(ops)
        yield api, node


def assert_away(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:pgfleet:problem:database-away")
    assert int(answer.headers["retry-after"]) > 0


def test_a_queue_that_hangs_is_told_within_the_deadline(dsn: str, ends: tuple[Api, Made]) -> None:
    """And the next heartbeat after it has come back is taken."""
    api, node = ends
    with node.client(api) as own, psycopg.connect(dsn) as holder:
        assert beat(own, node).status_code == 200
        holder.execute("lock table pgmq.q_node_heartbeats in access exclusive mode")
        began_s = time.monotonic()
        hung = beat(own, node)
        took_s = time.monotonic() - began_s
        holder.rollback()

        assert_away(hung)
        assert took_s < PATIENCE_S / 4
        assert api_takes_again(own, node)


def api_takes_again(own: httpx.Client, node: Made) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while (answer := beat(own, node)).status_code != 200:
        assert time.monotonic() < deadline_s, answer.text
    return True


def test_a_database_that_is_stopped_is_told_within_the_deadline(
    server_dsn: str, dsn: str, ends: tuple[Api, Made]
) -> None:
    """None of its sessions is left, and none is let in."""
    api, node = ends
    login = str(psycopg.conninfo.conninfo_to_dict(api.desk.settings.dsn())["user"])
    name = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
    with node.client(api) as own, psycopg.connect(server_dsn, autocommit=True) as admin:
        assert beat(own, node).status_code == 200
        admin.execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(name)))
        try:
            admin.execute("select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = %s", (login,))
            began_s = time.monotonic()
            away = [beat(own, node) for _ in range(3)]
            took_s = time.monotonic() - began_s
        finally:
            admin.execute(sql.SQL("alter database {} allow_connections true").format(sql.Identifier(name)))

        for answer in away:
            assert_away(answer)
        assert took_s < PATIENCE_S / 2
        assert api_takes_again(own, node)


def test_a_node_of_a_cluster_sends_what_it_measures(shared: Api, ops: httpx.Client) -> None:
    """Pools it has none."""
    node = make_cluster_node(ops, make_cluster(ops))
    shared.conn.execute("delete from pgmq.q_node_heartbeats")

    with node.client(shared) as own:
        good = beat(own, node, {**OK, "cpu_usage_percent": 5, "network_rx": 3})
        bad = [beat(own, node, {**OK, "cpu_usage_percent": 101}), beat(own, node, {**OK, "pools": []})]

    ((body, _),) = sent(shared)
    assert (good.status_code, [answer.status_code for answer in bad]) == (200, [400, 400])
    assert (body["source"], body["node_id"], body["network"]) == ("cluster", node.id, {"network_rx": 3})
