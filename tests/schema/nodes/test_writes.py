"""What operators change about nodes, pools, schedules and clusters through the API: in their role, by their name."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from pgfleet.schema.asking import Role
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.nodes import keys, listing, writes
from pgfleet.schema.nodes.proofs import hash_of
from pgfleet.schema.queue.kernel import Connection
from worlds.api.login import speaking_as
from worlds.fleet import move_clock
from worlds.heartbeats import Heart, pool

RACK = {"name": "rack", "region": "eu"}
NIGHT = {"name": "nights", "start_time": "20:00", "end_time": "06:00", "target_instances": 2}


def code_of(conn: Connection, call: Callable[[], Any], role: Role = Role.DEVOPS) -> str | None:
    with pytest.raises(psycopg.Error) as refused, speaking_as(conn, role):
        call()
    return refused.value.sqlstate


def of_node(node: str) -> Principal:
    return Principal(node, Role.NODE, Proof.NODE_KEY)


def number_of_pool(heart: Heart, name: str) -> int:
    return int(heart.pool(name)["id"])


def test_a_node_is_made_changed_and_removed_in_the_name_of_who_asks(heart: Heart, api: Connection) -> None:
    with speaking_as(api, Role.ADMIN, "grace"):
        node, key = keys.add_node(api, {**RACK, "ip_address": "10.0.0.1", "description": "by the door"})
        row = writes.change_node(api, node, {"name": "rack-2", "description": None})
        known = keys.principal_of(api, key)
        removed, again = keys.remove(api, str(node)), keys.remove(api, str(node))

    assert (row["name"], row["region"], row["ip_address"], row["description"]) == ("rack-2", "eu", "10.0.0.1", None)
    assert not {"api_key_hash", "recent_ids"} & row.keys()
    assert (known, removed, again, keys.principal_of(heart.conn, key)) == (of_node(str(node)), True, False, None)
    audited = "select distinct user_email from autoscaler.audit_logs where resource_id = %s and resource_type = 'node'"
    assert heart.all(audited, (str(node),)) == ["grace"]


CALLS: dict[str, Callable[[Connection], Any]] = {
    "add_node": lambda conn: keys.add_node(conn, RACK),
    "change_node": lambda conn: writes.change_node(conn, 1, {"name": "x"}),
    "remove": lambda conn: keys.remove(conn, "1"),
    "rotate": lambda conn: keys.rotate(conn, "1"),
    "revoke": lambda conn: keys.revoke(conn, "1"),
    "change_pool": lambda conn: writes.change_pool(conn, 1, {"name": "x"}),
    "add_schedule": lambda conn: writes.add_schedule(conn, 1, NIGHT),
    "change_schedule": lambda conn: writes.change_schedule(conn, 1, {"name": "x"}),
    "remove_schedule": lambda conn: writes.remove_schedule(conn, 1),
    "call_cluster": lambda conn: writes.call_cluster(conn, "create_cluster", {"name": "x"}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("role", [Role.USER, Role.NODE, Role.SERVICE])
def test_who_is_no_operator_changes_nothing(heart: Heart, api: Connection, call: str, role: Role) -> None:
    assert code_of(api, lambda: CALLS[call](api), role) == "PF013"


@pytest.mark.parametrize("call", CALLS)
def test_a_login_of_the_api_that_names_nobody_changes_nothing(heart: Heart, api: Connection, call: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        CALLS[call](api)

    assert refused.value.sqlstate == "PF013"


@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"add_node", "remove", "call_cluster"}))
def test_what_is_not_there_is_told(heart: Heart, api: Connection, call: str) -> None:
    heart.conn.execute("delete from autoscaler.schedules; delete from autoscaler.pools")

    assert code_of(api, lambda: CALLS[call](api)) == "PF008"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": None},
        {"name": "x" * 256},
        {"name": "a\nb"},
        {"region": "x" * 101},
        {"ip_address": "10.0.0"},
        {"ip_address": "10.0.0.0/8"},
        {"ip_address": "'; drop"},
        {"status": "ACTIVE"},
        {"api_key_hash": "0" * 64},
        {"deleted_at": None},
        [],
        None,
    ],
)
def test_a_node_takes_no_value_that_can_not_be_nor_another_column(heart: Heart, api: Connection, changes: Any) -> None:
    node = heart.node()

    assert code_of(api, lambda: writes.change_node(api, node, changes)) == "PF004"


def test_a_pool_that_an_operator_switched_off_stays_off_whatever_its_node_reports(
    heart: Heart, api: Connection
) -> None:
    node = heart.node()
    heart.hear(node, pools=[pool("mine")])
    number = number_of_pool(heart, "mine")

    with speaking_as(api):
        writes.change_pool(api, number, {"is_active": False, "name": "mine too"})
    heart.hear(node, pools=[pool("mine", is_active=True)])
    off = heart.pool("mine")["is_active"]
    with speaking_as(api):
        writes.change_pool(api, number, {"is_active": True, "min_instances": 2, "max_instances": 2})
    heart.hear(node, pools=[pool("mine", is_active=False)])
    row = heart.pool("mine")

    assert (off, row["is_active"], row["name"]) == (False, False, "mine too")
    assert (row["min_instances"], row["max_instances"]) == (2, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"min_instances": 11},
        {"max_instances": 0},
        {"min_instances": -1},
        {"max_instances": 10**7},
        {"max_instances": 10**12},
        {"min_instances": None},
        {"min_instances": "many"},
        {"is_active": None},
        {"name": ""},
        {"oracle_pool_id": "x"},
        {"current_instances": 3},
    ],
)
def test_a_pool_takes_no_value_that_can_not_be_nor_another_column(heart: Heart, api: Connection, changes: Any) -> None:
    heart.hear(heart.node(), pools=[pool("odd")])
    number = number_of_pool(heart, "odd")

    assert code_of(api, lambda: writes.change_pool(api, number, changes)) == "PF004"


def test_a_schedule_is_made_changed_and_removed(heart: Heart, api: Connection) -> None:
    node = heart.node()

    with speaking_as(api):
        made = writes.add_schedule(api, node, NIGHT)
        changed = writes.change_schedule(api, made["id"], {"target_instances": 5, "is_active": False})
    listed = listing.schedules(heart.conn, node)
    with speaking_as(api):
        writes.remove_schedule(api, made["id"])

    assert (made["is_active"], made["node_id"]) == (True, node)
    assert {**changed, "created_at": None} == {**made, "target_instances": 5, "is_active": False, "created_at": None}
    assert [row["target_instances"] for row in listed] == [5]
    assert listing.schedules(heart.conn, node) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"start_time": "24:00"},
        {"end_time": "6:00"},
        {"start_time": "20:00:00"},
        {"start_time": None},
        {"target_instances": -1},
        {"target_instances": None},
        {"target_instances": "x"},
        {"name": " \t"},
        {"node_id": 2},
        {"is_active": None},
    ],
)
def test_a_schedule_takes_no_value_that_can_not_be_nor_another_node(
    heart: Heart, api: Connection, changes: Any
) -> None:
    node = heart.node()

    assert code_of(api, lambda: writes.add_schedule(api, node, {**NIGHT, **changes})) == "PF004"


def test_a_key_names_its_node_for_as_long_as_it_is_valid(heart: Heart, api: Connection) -> None:
    node, cluster_node = str(heart.node()), heart.cluster_node()
    with speaking_as(api):
        old, of_cluster = keys.rotate(api, node), keys.rotate(api, cluster_node)
        new = keys.rotate(api, node)
    within = [keys.principal_of(api, key) for key in (old, new, of_cluster)]

    move_clock(heart.conn, 3601)
    after = [keys.principal_of(api, key) for key in (old, new, of_cluster)]
    with speaking_as(api):
        revoked = keys.revoke(api, node)

    assert within == [of_node(node), of_node(node), of_node(cluster_node)]
    assert after == [None, of_node(node), of_node(cluster_node)]
    assert (revoked, keys.principal_of(api, new)) == (1, None)


@pytest.mark.parametrize("odd", ["", "x", "\ud7ff", "0" * 64, "x" * 10_000])
def test_no_other_text_is_a_key(heart: Heart, api: Connection, odd: str) -> None:
    assert keys.principal_of(api, odd) is None


def test_the_hash_of_a_key_is_no_key(heart: Heart, api: Connection) -> None:
    node = str(heart.node())
    key = keys.rotate(heart.conn, node)

    assert (keys.principal_of(api, key), keys.principal_of(api, hash_of(key))) == (of_node(node), None)


def test_the_functions_of_clusters_are_called_as_document_004_prints_them(heart: Heart, api: Connection) -> None:
    call = writes.call_cluster
    with speaking_as(api):
        cluster = call(api, "create_cluster", {"name": "mine", "template": "staging"})["result"]
        node = call(api, "add_cluster_node", {"cluster_id": cluster, "name": "n1", "roles": ["a", "b"]})["result"]
        measured = {"cpu_usage_percent": 5}
        row = call(api, "update_node_status", {"node_id": node, "status": "online", "metrics": measured})
        led = call(api, "promote_to_primary", {"node_id": node})
        number = call(api, "record_cluster_metrics", {"cluster_id": cluster, "metrics": {"a": 1}})["result"]
        info = call(api, "get_cluster_info", {"cluster_id": cluster})
        summary = call(api, "get_cluster_health_summary", {"cluster_id": cluster})
        ended = call(api, "decommission_cluster", {"cluster_id": cluster, "force": True})

    assert (row["status"], row["roles"], led["primary_node_id"]) == ("online", ["a", "b"], node)
    assert (info["max_nodes"], summary["total_clusters"], ended["nodes"]) == (5, 1, 1)
    assert number > 0
    audited = "select distinct user_email from autoscaler.audit_logs where resource_id = %s"
    assert heart.all(audited, (cluster,)) == ["ada"]


@pytest.mark.parametrize(
    ("verb", "given", "code"),
    [
        ("drop_cluster", {}, "PF004"),
        ("create_cluster", {"name": "x", "p_name": "y"}, "PF004"),
        ("create_cluster", {"name": "x", "max_nodes": "many"}, "PF004"),
        ("create_cluster", {"name": ""}, "PF004"),
        ("create_cluster", {"name": "x", "template": "huge"}, "PF008"),
        ("promote_to_primary", {"node_id": "x"}, "PF008"),
        ("promote_to_primary", {}, "PF008"),
        ("decommission_cluster", {"cluster_id": "x", "force": "perhaps"}, "PF004"),
        ("update_node_status", {"node_id": "x", "epoch": 10**30}, "PF004"),
        ("record_cluster_metrics", [], "PF004"),
    ],
)
def test_an_odd_call_of_a_cluster_is_refused_by_its_code(
    heart: Heart,
    api: Connection,
    verb: str,
    given: Any,
    code: str,
) -> None:
    assert code_of(api, lambda: writes.call_cluster(api, verb, given)) == code


def test_an_old_epoch_is_refused_through_the_api_too(heart: Heart, api: Connection) -> None:
    with speaking_as(api):
        cluster = writes.call_cluster(api, "create_cluster", {"name": "led"})["result"]

    stale = {"cluster_id": cluster, "name": "n", "epoch": 7}
    assert code_of(api, lambda: writes.call_cluster(api, "add_cluster_node", stale)) == "PF009"
