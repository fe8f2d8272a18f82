"""`/v1/nodes`: operators make, change and remove nodes and their keys; a key is shown once."""

import httpx
import pytest

from worlds.api.nodes import NODES, Made, make_cluster, make_cluster_node, make_node
from worlds.api.server import Api

WHO = ("user_email", "action", "category", "resource_type", "resource_id", "status")
OPS = "ops@example.org"
HUGE = (2**31, 2**63, 10**30, "9" * 5000)
NO_NUMBERS = ("x", "0", "-1", "1.5", "1e3", "007", "%F0%9F%92%A9", "+1")


def audit_of(done: str, node: str) -> tuple[str, ...]:
    return (OPS, f"NODE_{done}", "NODE", "node", node, "SUCCESS")


def test_a_node_is_made_with_a_key_that_is_shown_once(shared: Api, ops: httpx.Client) -> None:
    """The key is in the answer to the POST, and in nothing that is read later."""
    made = ops.post(
        NODES, json={"name": "rack", "region": "eu", "ip_address": "10.0.0.1", "description": "by the door"}
    )
    key = made.json()["key"]
    found = ops.get(made.headers["Location"])

    assert (made.status_code, found.status_code) == (201, 200)
    assert {**found.json(), "key": key, "seen_s": None} == made.json()
    assert (found.json()["name"], found.json()["ip_address"], found.json()["status"]) == (
        "rack",
        "10.0.0.1",
        "INACTIVE",
    )
    assert key not in found.text + ops.get(NODES).text + str(shared.audited("details", "description", "resource_name"))
    assert shared.audited(*WHO) == [audit_of("CREATED", str(made.json()["id"]))]


def test_a_node_is_changed_by_what_is_named(shared: Api, ops: httpx.Client) -> None:
    """What a PATCH does not name stays; null empties what may be empty."""
    node = make_node(ops, "old", ip_address="10.0.0.1", description="d")

    changed = ops.patch(node.href, json={"name": "new", "ip_address": None})

    assert changed.status_code == 200
    said = ("name", "region", "ip_address", "description")
    assert [changed.json()[name] for name in said] == ["new", "eu", None, "d"]
    assert shared.audited(*WHO)[1:] == [audit_of("UPDATED", node.id)]


def test_a_node_that_is_removed_is_gone_from_the_list_and_its_key_opens_nothing(shared: Api, ops: httpx.Client) -> None:
    """It is still there for who asks for those that were removed, and by its number."""
    node = make_node(ops, "short-lived")

    removed = ops.delete(node.href)
    again = ops.delete(node.href)

    assert (removed.status_code, removed.content, again.status_code) == (204, b"", 404)
    assert node.id not in ids(ops.get(NODES, params={"limit": 200}))
    assert node.id in ids(ops.get(NODES, params={"limit": 200, "deleted": "true"}))
    assert ops.get(node.href).json()["deleted_at"] is not None
    assert ops.patch(node.href, json={"name": "x"}).status_code == 404
    with node.client(shared) as own:
        assert own.post(f"{node.href}/heartbeat", json={"status": "ok"}).status_code == 401
    assert [row for row in shared.audited(*WHO) if row[-1] == "SUCCESS"][1:] == [audit_of("DELETED", node.id)]


def ids(listed: httpx.Response) -> list[str]:
    assert listed.status_code == 200, listed.text
    return [str(item["id"]) for item in listed.json()["items"]]


def test_nodes_are_listed_by_pages_and_by_state(ops: httpx.Client) -> None:
    """Each page begins after the last one, and all pages together are all nodes."""
    made = [make_node(ops, f"n{number}").id for number in range(5)]

    found: list[str] = []
    cursor = None
    while True:
        page = ops.get(NODES, params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        found += ids(page)
        cursor = page.json()["next"]
        if cursor is None:
            break

    assert found[:5] == made[::-1]
    assert len(found) == len(set(found))
    assert ids(ops.get(NODES, params={"status": "ACTIVE"})) == []
    assert set(made) <= set(ids(ops.get(NODES, params={"status": "INACTIVE", "limit": 200})))


@pytest.mark.parametrize("params", [{"status": "SICK"}, {"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"stat": "x"}])
def test_a_filter_that_is_none_is_refused(ops: httpx.Client, params: dict[str, str]) -> None:
    """And never taken for no filter."""
    assert ops.get(NODES, params=params).status_code == 400


def test_a_rotated_key_leaves_the_old_one_an_hour_and_a_revoked_one_nothing(shared: Api, ops: httpx.Client) -> None:
    """Of nodes of clusters, too."""
    for node in (make_node(ops), make_cluster_node(ops, make_cluster(ops))):
        rotated = ops.post(f"{node.href}/rotate-key")
        keys = (node.key, rotated.json()["key"])
        with_both = [beat(shared, node, key) for key in keys]
        revoked = ops.delete(f"{node.href}/keys")
        with_none = [beat(shared, node, key) for key in keys]

        assert (rotated.status_code, with_both, with_none) == (201, [200, 200], [401, 401])
        assert (revoked.status_code, revoked.json()) == (200, {"node_id": node.id, "revoked": 2})
        audited = [row for row in shared.audited(*WHO) if row[4] == node.id and "KEY" in row[1]]
        assert audited == [audit_of("KEY_ROTATED", node.id), audit_of("KEYS_REVOKED", node.id)]


def beat(api: Api, node: Made, key: str) -> int:
    with api.with_key(key) as client:
        return client.post(f"{node.href}/heartbeat", json={"status": "ok"}).status_code


BAD = [
    {},
    {"name": "x"},
    {"name": "", "region": "eu"},
    {"name": "a\nb", "region": "eu"},
    {"name": "x", "region": "x" * 101},
    {"name": "x", "region": "eu", "ip_address": "10.0.0"},
    {"name": "x", "region": "eu", "ip_address": "fe80::1%eth0"},
    {"name": "x", "region": "eu", "status": "ACTIVE"},
    {"name": "x", "region": "eu", "api_key_hash": "0" * 64},
    {"name": None, "region": "eu"},
    {"name": 5, "region": "eu"},
    {"name": "x\0", "region": "eu"},
]


@pytest.mark.parametrize("body", BAD)
def test_what_can_be_no_node_is_refused(shared: Api, ops: httpx.Client, body: object) -> None:
    """Nothing is made of it."""
    before = count(shared)

    assert ops.post(NODES, json=body).status_code == 400
    assert count(shared) == before


def count(api: Api) -> int:
    row = api.conn.execute("select count(*) from autoscaler.nodes").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("body", [{}, {"name": None}, {"region": None}, {"ip_address": "x"}, {"name": ""}, {"id": 1}])
def test_a_change_that_can_not_be_is_refused(ops: httpx.Client, body: object) -> None:
    """As is one that names nothing."""
    node = make_node(ops)

    assert ops.patch(node.href, json=body).status_code == 400


@pytest.mark.parametrize("given", ["::1", "2001:DB8::1", "10.1.2.3", "::ffff:10.0.0.1"])
def test_an_address_is_kept_as_the_database_writes_it_or_refused(ops: httpx.Client, given: str) -> None:
    """Never a mistake of the program."""
    made = ops.post(NODES, json={"name": "x", "region": "eu", "ip_address": given})

    expected = (400, None) if "ffff" in given else (201, given.lower())
    assert (made.status_code, made.json().get("ip_address")) == expected


CALLS = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/rotate-key"),
    ("DELETE", "/keys"),
    ("GET", "/configurations"),
    ("POST", "/configurations"),
    ("GET", "/configurations/active"),
    ("GET", "/configurations/1"),
    ("POST", "/configurations/1/activate"),
]
BODIES = {"PATCH": {"name": "x"}, "/configurations": {"yaml": "a: 1"}}


def asked(client: httpx.Client, method: str, at: str, way: str) -> int:
    body = BODIES.get(method) or (BODIES.get(way) if method == "POST" else None)
    return client.request(method, f"{at}{way}", json=body).status_code


@pytest.mark.parametrize("node", [*NO_NUMBERS, *HUGE, 2**31 - 1], ids=lambda given: str(given)[:20])
def test_a_node_that_is_not_there_is_not_found_whatever_its_number(ops: httpx.Client, node: object) -> None:
    """By no endpoint a mistake of the program."""
    found = {call: asked(ops, call[0], f"{NODES}/{node}", call[1]) for call in CALLS}

    assert set(found.values()) == {404}, found


@pytest.mark.parametrize(("method", "way"), CALLS)
def test_who_is_no_operator_does_nothing_with_nodes(
    shared: Api, ops: httpx.Client, ada: httpx.Client, method: str, way: str
) -> None:
    """The refusal is audited, in the role of who asked."""
    node = make_node(ops)
    shared.conn.execute("truncate autoscaler.audit_logs")

    assert asked(ada, method, node.href, way) == 403
    assert [row[1:] for row in shared.audited("action", "user_email", "user_role", "status")] == [
        ("ada@example.org", "USER", "FAILURE")
    ]
    assert ada.get(NODES).status_code == 403
    assert ada.post(NODES, json={"name": "x", "region": "eu"}).status_code == 403


@pytest.mark.parametrize(("method", "way"), [call for call in CALLS if "configurations" not in call[1]])
def test_a_node_does_nothing_with_nodes_not_even_with_itself(
    shared: Api, ops: httpx.Client, method: str, way: str
) -> None:
    """But its heartbeat, and the look at its configuration."""
    node = make_node(ops)

    with node.client(shared) as own:
        assert asked(own, method, node.href, way) == 403
        assert own.get(NODES).status_code == 403
