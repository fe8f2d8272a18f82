"""`/v1/pools` and `/v1/schedules`."""

import httpx
import pytest

from worlds.api.nodes import make_node, make_pool
from worlds.api.server import Api

POOLS, SCHEDULES = "/v1/pools", "/v1/schedules"
NIGHT = {"name": "nights", "start_time": "20:00", "end_time": "06:00", "target_instances": 2}
WHO = ("user_email", "action", "category", "resource_type", "resource_id", "resource_name", "status")
MISSING = ["x", "0", "-1", 2**31 - 1, 2**31, 2**63, 10**30]


def test_pools_are_listed_by_pages_of_a_node_or_of_all(shared: Api, ops: httpx.Client) -> None:
    """A page says where the next begins, and the last one that there is none."""
    node, other = make_node(ops), make_node(ops)
    made = [make_pool(shared, node, f"p{number}-{node.id}") for number in range(3)]
    theirs = make_pool(shared, other, f"p-{other.id}")

    first = ops.get(POOLS, params={"node": node.id, "limit": 2}).json()
    second = ops.get(POOLS, params={"node": node.id, "limit": 2, "cursor": first["next"]}).json()
    everybodys = ops.get(POOLS, params={"limit": 200}).json()["items"]

    assert [[item["id"] for item in page["items"]] for page in (first, second)] == [made[:2], made[2:]]
    assert second["next"] is None
    assert {*made, theirs} <= {item["id"] for item in everybodys}
    assert ops.get(f"{POOLS}/{made[0]}").json() == first["items"][0]


def test_a_pool_is_changed_by_what_is_named(shared: Api, ops: httpx.Client) -> None:
    """And the answer is the pool as it is then."""
    pool = make_pool(shared, make_node(ops), "changing")
    shared.conn.execute("truncate autoscaler.audit_logs")

    changed = ops.patch(f"{POOLS}/{pool}", json={"max_instances": 20, "is_active": False})

    assert changed.status_code == 200
    said = ("name", "min_instances", "max_instances", "is_active", "switched_off")
    assert [changed.json()[name] for name in said] == ["changing", 1, 20, False, True]
    assert shared.audited(*WHO) == [
        ("ops@example.org", "POOL_UPDATED", "POOL", "pool", str(pool), "changing", "SUCCESS")
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": None}, 400),
        ({"min_instances": -1}, 400),
        ({"min_instances": "2"}, 400),
        ({"max_instances": 10**7}, 400),
        ({"max_instances": 2**63}, 400),
        ({"is_active": None}, 400),
        ({"is_active": "yes"}, 400),
        ({"target_instances": 5}, 400),
        # Each can be, and not with the other limit as it is.
        ({"min_instances": 11}, 400),
        ({"max_instances": 0}, 400),
    ],
)
def test_a_change_that_can_not_be_leaves_the_pool_as_it_is(
    shared: Api, ops: httpx.Client, body: object, status: int
) -> None:
    """Whoever refuses it: the shape, or the database that knows the other limit."""
    pool = make_pool(shared, make_node(ops), f"kept-{status}-{body}")
    before = ops.get(f"{POOLS}/{pool}").json()

    assert ops.patch(f"{POOLS}/{pool}", json=body).status_code == status
    assert ops.get(f"{POOLS}/{pool}").json() == before


def test_a_schedule_is_made_changed_and_deleted(shared: Api, ops: httpx.Client) -> None:
    """Each is in the audit once."""
    node = int(make_node(ops).id)
    shared.conn.execute("truncate autoscaler.audit_logs")

    made = ops.post(SCHEDULES, json={**NIGHT, "node_id": node})
    at = made.headers["Location"]
    changed = ops.patch(at, json={"target_instances": 0, "name": "none"})
    found, listed = ops.get(at), ops.get(SCHEDULES, params={"node": node})
    deleted = ops.delete(at)

    number = made.json()["id"]
    assert (made.status_code, made.json()) == (201, {**NIGHT, "id": number, "node_id": node, "is_active": True})
    assert changed.json() == {**made.json(), "target_instances": 0, "name": "none"}
    assert (found.json(), listed.json()["items"], deleted.status_code) == (changed.json(), [changed.json()], 204)
    assert ops.get(at).status_code == ops.delete(at).status_code == 404
    done = [row for row in shared.audited(*WHO) if row[-1] == "SUCCESS"]
    assert done == [
        ("ops@example.org", f"SCHEDULE_{verb}", "POOL", "schedule", str(number), name, "SUCCESS")
        for verb, name in (("CREATED", "nights"), ("UPDATED", "none"), ("DELETED", "none"))
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_time": "24:00"},
        {"start_time": "8:00"},
        {"end_time": "12:60"},
        {"end_time": "12:00\n"},
        {"end_time": None},
        {"target_instances": -1},
        {"target_instances": 1.5},
        {"name": ""},
        {"is_active": None},
        {"x": 1},
    ],
)
def test_what_can_be_no_schedule_is_refused(ops: httpx.Client, wrong: dict[str, object]) -> None:
    """At its making, and as a change."""
    node = int(make_node(ops).id)
    made = ops.post(SCHEDULES, json={**NIGHT, "node_id": node}).headers["Location"]

    assert ops.post(SCHEDULES, json={**NIGHT, "node_id": node, **wrong}).status_code == 400
    assert ops.patch(made, json=wrong).status_code == 400


@pytest.mark.parametrize(("node", "status"), [(2**31 - 1, 404), (2**31, 400), (0, 400), ("1", 400), (2**63, 400)])
def test_a_schedule_of_no_node_is_refused(ops: httpx.Client, node: object, status: int) -> None:
    """A number that can be one of a node is looked for."""
    assert ops.post(SCHEDULES, json={**NIGHT, "node_id": node}).status_code == status


@pytest.mark.parametrize("number", MISSING)
def test_what_is_not_there_is_not_found_whatever_its_number(ops: httpx.Client, number: object) -> None:
    """By no endpoint a mistake of the program."""
    found = [
        ops.get(f"{POOLS}/{number}"),
        ops.patch(f"{POOLS}/{number}", json={"name": "x"}),
        ops.get(f"{SCHEDULES}/{number}"),
        ops.patch(f"{SCHEDULES}/{number}", json={"name": "x"}),
        ops.delete(f"{SCHEDULES}/{number}"),
    ]

    assert [answer.status_code for answer in found] == [404] * 5


@pytest.mark.parametrize("params", [{"node": "x"}, {"node": 0}, {"node": 2**31}, {"cursor": "x"}, {"limit": 201}])
def test_a_filter_that_is_none_is_refused(ops: httpx.Client, params: dict[str, object]) -> None:
    """And never taken for no filter."""
    assert [ops.get(path, params=params).status_code for path in (POOLS, SCHEDULES)] == [400, 400]  # type: ignore[arg-type]


def test_who_is_no_operator_does_nothing_with_pools_and_schedules(
    shared: Api, ops: httpx.Client, ada: httpx.Client
) -> None:
    """Neither a user nor a node, whose pools they are."""
    node = make_node(ops)
    pool = make_pool(shared, node, "not-theirs")
    schedule = ops.post(SCHEDULES, json={**NIGHT, "node_id": int(node.id)}).headers["Location"]

    with node.client(shared) as own:
        for client in (ada, own):
            answers = [
                client.get(POOLS),
                client.get(f"{POOLS}/{pool}"),
                client.patch(f"{POOLS}/{pool}", json={"name": "x"}),
                client.get(SCHEDULES),
                client.post(SCHEDULES, json={**NIGHT, "node_id": int(node.id)}),
                client.get(schedule),
                client.patch(schedule, json={"name": "x"}),
                client.delete(schedule),
            ]
            assert [answer.status_code for answer in answers] == [403] * 8
