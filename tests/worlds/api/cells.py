"""How each address of the API is called about a row of somebody: a line for each path, or for a beginning of it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from pgfleet.producers.event import subscribe
from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.schema.identity import accounts, keys, passwords
from pgfleet.schema.nodes import configurations, writes
from pgfleet.schema.nodes.keys import add_node
from pgfleet.schema.policy.book import Whose, put
from worlds import clusters
from worlds import rows_of_disks as rows
from worlds.api.nodes import Made, make_pool
from worlds.api.server import Api
from worlds.outside.hopsworks import assigned, hopsworks, person

PARAMETER = re.compile(r"\{(\w+)\}")
Ids = Mapping[str, str]


@dataclass(frozen=True)
class Way:
    """How to call what is at a path.

    Attributes:
        row: makes a row of a user (of a node: by its number), and says what stands in the path for it.
        names: the field of the body, or the parameter, that says whose row it is.
        shows: of a list: makes a row of a user, and says by which text the list is seen to hold it.
        body: what is sent in place of the endpoint's example.
    """

    row: Callable[[Api, str], Ids] | None = None
    names: str | None = None
    shows: Callable[[Api, str], str] | None = None
    body: Callable[[Api, str], dict[str, Any]] | None = None


def new_name(user: str) -> str:
    """One that nothing else has."""
    return f"{user}-{uuid4().hex[:12]}"


def a_reservation(api: Api, user: str) -> Ids:
    return {"id": rows.reservation(api.conn, "pending", user_id=user)}


def a_disk(api: Api, user: str) -> Ids:
    name = new_name(user)
    rows.disk(api.conn, name, user=user)
    return {"name": name}


def an_operation(api: Api, user: str) -> Ids:
    name = new_name(user)
    disk_id = rows.disk(api.conn, name, user=user)
    made = rows.operation(api.conn, user_id=user, disk_name=name, disk_id=disk_id)
    return {"name": name, "operation_id": made}


def a_key(api: Api, user: str) -> Ids:
    return {"key": str(_made_key(api, user).key_id)}


def a_listed_key(api: Api, user: str) -> str:
    return _made_key(api, user).prefix


def _made_key(api: Api, user: str) -> keys.NewKey:
    """A node has no such key; for it, it is anybody's."""
    name = "mallory" if user.isdigit() else user
    api.key_of(name)
    return keys.make(api.conn, name, hours=1)


def an_account(api: Api, user: str) -> Ids:
    return {"id": str(accounts.add(api.conn, f"{new_name(user)}@example.org"))}


def who_signs_in(api: Api, _: str) -> dict[str, Any]:
    email, password = "who-signs-in@example.org", "correct horse battery staple"
    if not accounts.listing(api.conn, email, most=1):
        accounts.add(api.conn, email, username="who-signs-in", password_hash=passwords.hash_of(password))
    return {"email": email, "password": password}


def a_node(api: Api, whose: str) -> Ids:
    """A node's own is itself; for people it is any node."""
    return {"id": whose if whose.isdigit() else str(add_node(api.conn, {"name": new_name("n"), "region": "eu"})[0])}


def a_configured_node(api: Api, whose: str) -> Ids:
    """Its configuration is the active one."""
    node = a_node(api, whose)
    configurations.add(api.conn, int(node["id"]), configurations.read(f"a: {new_name('c')}"))
    return node


def a_configuration(api: Api, whose: str) -> Ids:
    node = a_configured_node(api, whose)
    return {**node, "configuration": str(configurations.listing(api.conn, int(node["id"]), most=1)[0]["id"])}


def a_new_schedule(api: Api, _: str) -> dict[str, Any]:
    night = {"name": "nights", "start_time": "20:00", "end_time": "06:00", "target_instances": 2}
    return {**night, "node_id": int(a_node(api, "anybody")["id"])}


def a_schedule(api: Api, whose: str) -> Ids:
    fields = a_new_schedule(api, whose)
    return {"id": str(writes.add_schedule(api.conn, fields.pop("node_id"), fields)["id"])}


def a_pool(api: Api, _: str) -> Ids:
    return {"id": str(make_pool(api, Made(a_node(api, "anybody")["id"]), new_name("p")))}


def a_cluster(api: Api, _: str) -> Ids:
    return {"id": clusters.create(api.conn, new_name("c"))}


def a_cluster_node(api: Api, whose: str) -> Ids:
    cluster = a_cluster(api, whose)
    return {**cluster, "node": clusters.online(api.conn, cluster["id"])}


def a_dead_letter(api: Api, user: str) -> Ids:
    return {"id": str(rows.bury(api.conn, {"user_id": user}))}


def a_type(_: Api, __: str) -> Ids:
    return {"type": "h100"}


def a_person(api: Api, user: str) -> Ids:
    """Of Hopsworks; the same one each time."""
    if api.conn.execute("select from hopsworks.users where id = %s", (user,)).fetchone() is None:
        assigned(api.conn, person(api.conn, user))
    return {"user_id": user}


def who_is_assigned(api: Api, user: str) -> dict[str, Any]:
    return dict(a_person(api, user))


def a_listed_person(api: Api, user: str) -> str:
    return f'"{a_person(api, user)["user_id"]}"'


def a_hopsworks_cluster(api: Api, user: str) -> Ids:
    return {"id": hopsworks(api.conn, new_name(user))}


def a_subscription(api: Api, user: str) -> Ids:
    """Fifty are not more than its user may have: nobody looks at them here."""
    return {"id": subscribe(user, "https://example.org/hook", api.conn).subscription_id}


def a_listed_subscription(api: Api, user: str) -> str:
    return a_subscription(api, user)["id"]


def a_kind(_: Api, __: str) -> Ids:
    return {"what": "disk"}


def a_limit(api: Api, _: str) -> Ids:
    put(api.conn, Whose("gpus"), 100, None, "tests")
    return {"limit": "gpus"}


# Without a row of anybody: everybody who may see it sees the same.
NOBODYS = Way()
WAYS: Mapping[str, Way] = {
    "/v1/assignments": Way(names="user_id", shows=a_listed_person, body=who_is_assigned),
    "/v1/assignments/{user_id}": Way(a_person),
    "/v1/hopsworks-clusters": NOBODYS,
    "/v1/hopsworks-clusters/{id}": Way(a_hopsworks_cluster),
    "/v1/pauses": NOBODYS,
    "/v1/pauses/{what}": Way(a_kind),
    "/v1/gpu-usage": Way(names="user_id"),
    "/v1/policies": Way(names="user_id"),
    "/v1/policies/{limit}": Way(a_limit),
    "/v1/usage": NOBODYS,
    "/v1/usage/{user_id}": Way(a_person),
    "/v1/audit": NOBODYS,
    "/v1/clusters": NOBODYS,
    "/v1/clusters/{id}": Way(a_cluster),
    "/v1/clusters/{id}/nodes/{node}": Way(a_cluster_node),
    "/v1/dead-letters": NOBODYS,
    "/v1/dead-letters/{id}": Way(a_dead_letter),
    "/v1/disk-operations/{operation_id}": Way(an_operation),
    "/v1/disk-quarantine": NOBODYS,
    "/v1/disks": Way(names="user_id"),
    "/v1/disks/{name}": Way(a_disk, names="user_id"),
    "/v1/disks/{name}/operations/{operation_id}": Way(an_operation, names="user_id"),
    "/v1/doctor": NOBODYS,
    "/v1/events": Way(names="user"),
    "/v1/gpu-types": NOBODYS,
    "/v1/keys": Way(names="username", shows=a_listed_key),
    "/v1/keys/{key}": Way(a_key),
    "/v1/lines/{type}": Way(a_type),
    "/v1/me": NOBODYS,
    "/v1/nodes": NOBODYS,
    "/v1/nodes/{id}": Way(a_node),
    "/v1/nodes/{id}/configurations": Way(a_configured_node),
    "/v1/nodes/{id}/configurations/{configuration}": Way(a_configuration),
    "/v1/periodic": NOBODYS,
    "/v1/pod-quarantine": NOBODYS,
    "/v1/pools": NOBODYS,
    "/v1/pools/{id}": Way(a_pool),
    "/v1/queues": NOBODYS,
    "/v1/reservations": Way(names="user_id"),
    "/v1/reservations/{id}": Way(a_reservation),
    "/v1/schedules": Way(body=a_new_schedule),
    "/v1/schedules/{id}": Way(a_schedule),
    "/v1/sessions": Way(body=who_signs_in),
    "/v1/subscriptions": Way(names="user_id", shows=a_listed_subscription),
    "/v1/subscriptions/{id}": Way(a_subscription),
    "/v1/users": NOBODYS,
    "/v1/users/{id}": Way(an_account),
}


def line_of(endpoint: Endpoint) -> str | None:
    """Its path, or the longest beginning of it, that has a line and the same parameters."""
    wanted = set(PARAMETER.findall(endpoint.path))
    fitting = [
        path
        for path in WAYS
        if re.fullmatch(re.escape(path) + r"([/:].*)?", endpoint.path) and set(PARAMETER.findall(path)) == wanted
    ]
    return max(fitting, key=len) if fitting else None


def way_of(endpoint: Endpoint) -> Way | None:
    return WAYS.get(line_of(endpoint) or "")


def lacking(endpoint: Endpoint) -> str | None:
    """What is missing before it can be called at all."""
    called = f"{endpoint.method} {endpoint.path}"
    way = way_of(endpoint)
    if way is None:
        return f"{called}: WAYS in tests/worlds/api/cells.py has no line for this path: how is a row of somebody made?"
    if PARAMETER.search(endpoint.path) and way.row is None:
        return f"{called}: its line in WAYS makes no row, and the path asks for one"
    is_needed = endpoint.takes and any(field.is_required() for field in endpoint.takes.model_fields.values())
    if is_needed and endpoint.example is None and way.body is None:
        return f"{called}: the endpoint has no `example`, and its body has fields that are required"
    return None


@dataclass(frozen=True)
class Answered:
    """An answer; of a stream, its head alone."""

    status: int
    text: str


def call(client: httpx.Client, api: Api, endpoint: Endpoint, whose: str, *, is_named: bool = True) -> Answered:
    """Ask about a new row of somebody; by name, too, where that can be said."""
    way = way_of(endpoint)
    assert way is not None
    path = endpoint.path.format_map(way.row(api, whose) if way.row else {})
    body = None if endpoint.takes is None else way.body(api, whose) if way.body else dict(endpoint.example or {})
    query: dict[str, str] = {}
    if way.names is not None and is_named:
        if endpoint.takes is not None and way.names in endpoint.takes.model_fields:
            body = {**(body or {}), way.names: whose}
        elif endpoint.asks is not None and way.names in endpoint.asks.model_fields:
            query[way.names] = whose
    with client.stream(endpoint.method, path, json=body, params=query) as response:
        text = "" if endpoint.streams and response.status_code == 200 else response.read().decode()
        return Answered(response.status_code, text)
