"""`/v1/nodes/{id}/configurations`: kept with their hash, one active, any of before again; a node sees its own."""

import hashlib

import httpx
import pytest

from worlds.api.nodes import Made, make_node, make_pool
from worlds.api.server import Api

FIRST, SECOND = "a: 1\n# né\n", "a: 2\n"
WHO = ("user_email", "action", "category", "resource_type", "resource_id", "resource_name", "status")
MISSING = ["x", "0", "-1", 2**63 - 1, 2**63, 10**30]


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def at(node: Made, way: object = "") -> str:
    return f"{node.href}/configurations{way and f'/{way}'}"


def configure(ops: httpx.Client, node: Made, text: str) -> int:
    made = ops.post(at(node), json={"yaml": text})
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def test_a_new_configuration_is_the_active_one_and_any_of_before_can_be_again(shared: Api, ops: httpx.Client) -> None:
    """The history keeps all, and the audit has each change once, without a text."""
    node = make_node(ops)
    shared.conn.execute("truncate autoscaler.audit_logs")

    first, second = configure(ops, node, FIRST), configure(ops, node, SECOND)
    active = ops.get(at(node, "active")).json()
    again = ops.post(at(node, f"{first}/activate"))
    listed = ops.get(at(node)).json()["items"]

    assert active == {"node_id": int(node.id), "config_hash": hash_of(SECOND), "yaml": SECOND}
    assert (again.status_code, again.json()["config_hash"]) == (200, hash_of(FIRST))
    assert ops.get(at(node, "active")).json()["yaml"] == FIRST
    assert ops.get(at(node, second)).json()["yaml"] == SECOND
    assert [(row["id"], row["is_active"], row["config_hash"]) for row in listed] == [
        (second, False, hash_of(SECOND)),
        (first, True, hash_of(FIRST)),
    ]
    assert "yaml" not in listed[0]
    assert shared.audited(*WHO) == [
        ("ops@example.org", f"NODE_CONFIGURATION_{done}", "CONFIG", "node_configuration", str(which), name, "SUCCESS")
        for done, which, name in (
            ("CREATED", first, hash_of(FIRST)),
            ("CREATED", second, hash_of(SECOND)),
            ("ACTIVATED", first, hash_of(FIRST)),
        )
    ]


def test_the_active_text_again_changes_nothing(ops: httpx.Client) -> None:
    """The answer says so."""
    node = make_node(ops)
    first = configure(ops, node, FIRST)

    again = ops.post(at(node), json={"yaml": FIRST})

    assert again.json() == {"id": first, "config_hash": hash_of(FIRST), "changed": False}


def test_limits_in_a_configuration_are_those_of_its_pools(shared: Api, ops: httpx.Client) -> None:
    """As soon as it is active."""
    node = make_node(ops)
    pool = make_pool(shared, node, "limited")

    configure(ops, node, "pools:\n- {instance_pool_id: limited, scaling_limits: {min: 3, max: 7}}\n")

    found = ops.get(f"/v1/pools/{pool}").json()
    assert (found["min_instances"], found["max_instances"]) == (3, 7)


@pytest.mark.parametrize(
    "text",
    ["", "- 1", "a: [", "a: 1\na: 2", "a: &x [*x]", "pools: {}", "pools: [{scaling_limits: {min: 1}}]", "a: \0"],
)
def test_a_text_that_can_be_no_configuration_is_refused_by_its_field(ops: httpx.Client, text: str) -> None:
    """And what was active stays so."""
    node = make_node(ops)
    configure(ops, node, FIRST)

    refused = ops.post(at(node), json={"yaml": text})

    assert refused.status_code == 400
    assert "yaml_config" not in refused.text
    assert ops.get(at(node, "active")).json()["yaml"] == FIRST


def test_a_text_of_more_than_256_kib_is_refused(ops: httpx.Client) -> None:
    """Of bytes, not of characters."""
    node = make_node(ops)

    too_long = [f"# {'x' * 262_144}\na: 1", f"# {'é' * 140_000}\na: 1"]

    assert [ops.post(at(node), json={"yaml": text}).status_code for text in too_long] == [400, 400]


@pytest.mark.parametrize("which", MISSING)
def test_a_configuration_that_is_not_there_is_not_found(ops: httpx.Client, which: object) -> None:
    """Nor is one of another node."""
    node, other = make_node(ops), make_node(ops)
    theirs = configure(ops, other, FIRST)

    for missing in (which, theirs):
        assert ops.get(at(node, missing)).status_code == 404
        assert ops.post(at(node, f"{missing}/activate")).status_code == 404
    assert ops.get(at(node, "active")).status_code == 404


def test_configurations_are_listed_by_pages(ops: httpx.Client) -> None:
    """Each page begins after the last one."""
    node = make_node(ops)
    made = [configure(ops, node, f"a: {number}") for number in range(3)]

    first = ops.get(at(node), params={"limit": 2}).json()
    second = ops.get(at(node), params={"limit": 2, "cursor": first["next"]}).json()

    assert [[row["id"] for row in page["items"]] for page in (first, second)] == [made[:0:-1], made[:1]]
    assert second["next"] is None
    assert [ops.get(at(node), params={"cursor": cursor}).status_code for cursor in ("x", 0, 2**63)] == [400] * 3


def test_a_node_sees_its_own_configurations_and_nobody_elses(shared: Api, ops: httpx.Client) -> None:
    """And changes none."""
    node, other = make_node(ops), make_node(ops)
    mine, theirs = configure(ops, node, FIRST), configure(ops, other, SECOND)

    with node.client(shared) as own:
        assert own.get(at(node, "active")).json()["yaml"] == FIRST
        assert own.get(at(node, mine)).json()["yaml"] == FIRST
        assert [row["id"] for row in own.get(at(node)).json()["items"]] == [mine]
        seen = [own.get(at(other, way)).status_code for way in ("", "active", theirs)]
        changes = [own.post(at(node), json={"yaml": SECOND}), own.post(at(node, f"{mine}/activate"))]

    assert seen == [404, 404, 404]
    assert [answer.status_code for answer in changes] == [403, 403]
