"""Each endpoint, for each role, about a row of its own and of somebody else: as the table of permissions says.

What a new endpoint needs is one line in `WAYS` of tests/worlds/api/cells.py.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.permissions import OPEN, PERMISSIONS, whose
from pgfleet.producers.http.serving import endpoints
from pgfleet.schema.asking import Role, Whose
from pgfleet.schema.nodes.keys import add_node
from worlds.api.cells import WAYS, Answered, call, lacking, line_of, new_name, way_of
from worlds.api.server import Api, api_on
from worlds.database import fresh_database

ENDPOINTS = endpoints()
PEOPLE = {Role.USER: "ada", Role.DEVOPS: "ops", Role.ADMIN: "boss"}
OTHER = "mallory"


@dataclass(frozen=True)
class Asker:
    """Who asks in a role; None proves nothing."""

    role: Role | None
    name: str
    other: str
    client: httpx.Client


@dataclass(frozen=True)
class World:
    api: Api
    askers: Mapping[Role | None, Asker]


@pytest.fixture(scope="module", params=[False, True], ids=["rls off", "rls on"])
def world(request: pytest.FixtureRequest, server_dsn: str, template: str) -> Iterator[World]:
    with fresh_database(server_dsn, template) as dsn, api_on(dsn) as api, ExitStack() as stack:
        api.conn.execute("select public.switch_row_level_security(%s)", (request.param,))
        (node, key), (other, _) = (add_node(api.conn, {"name": new_name("n"), "region": "eu"}) for _ in range(2))

        def asker(role: Role | None, name: str, key: str | None, other: str = OTHER) -> Asker:
            return Asker(role, name, other, stack.enter_context(api.with_key(key)))

        api.key_of(OTHER)
        people = [asker(role, name, api.key_of(name, role.value)) for role, name in PEOPLE.items()]
        listed = [*people, asker(Role.NODE, str(node), key, str(other)), asker(None, "nobody", None)]
        yield World(api, {each.role: each for each in listed})


def wrong(endpoint: Endpoint, role: Role | None, got: Answered, *, is_own: bool) -> str | None:
    """What is wrong with the answer about a row, where something is."""
    said = _wrong(endpoint, role, got.status, is_own=is_own)
    return None if said is None else f"{got.status}: {said}; {got.text[:300]}"


def _wrong(endpoint: Endpoint, role: Role | None, status: int, *, is_own: bool) -> str | None:
    if status >= 500:
        return "a mistake"
    if endpoint.is_open:
        return None if status not in (401, 403) else "anybody may"
    if role is None:
        return None if status == 401 else "there is no proof"
    match whose(endpoint.permission, role):
        case Whose.NOBODYS:
            return None if status == 403 else "the table lets nobody of this role"
        case Whose.OWN if not is_own and _is_of_somebody(endpoint):
            may_be = (200, 403, 404) if _is_list(endpoint) else (403, 404)
            return None if status in may_be else "the row is somebody else's"
    # What can't be done as things are is one that may be done.
    return None if status < 400 or status == 409 else "the table lets this role"


def _is_of_somebody(endpoint: Endpoint) -> bool:
    way = way_of(endpoint)
    assert way is not None
    return way.names is not None or way.row is not None


def _is_list(endpoint: Endpoint) -> bool:
    """What it shows is looked at in a test of its own."""
    return endpoint in lists()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_a_role_may_do_what_the_table_says_to_its_own_and_to_others_rows(world: World, endpoint: Endpoint) -> None:
    """Ten cells: five roles, each about a row of its own and about somebody else's."""
    assert lacking(endpoint) is None, lacking(endpoint)

    said = {
        f"{asker.role}, {'own' if is_own else 'other'}": wrong(
            endpoint, asker.role, call(asker.client, world.api, endpoint, name), is_own=is_own
        )
        for asker in world.askers.values()
        for name, is_own in ((asker.name, True), (asker.other, False))
    }

    assert {cell: what for cell, what in said.items() if what is not None} == {}


def lists() -> list[Endpoint]:
    return [each for each in ENDPOINTS if each.method == "GET" and (way := way_of(each)) and way.shows]


@pytest.mark.parametrize("endpoint", lists(), ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("role", PEOPLE, ids=str)
def test_a_list_shows_own_rows_and_others_only_to_whom_the_table_shows_anybodys(
    world: World, endpoint: Endpoint, role: Role
) -> None:
    asker, way, of = world.askers[role], way_of(endpoint), whose(endpoint.permission, role)
    assert way is not None
    assert way.shows is not None
    mine, others = way.shows(world.api, asker.name), way.shows(world.api, OTHER)

    named_me, named_other = (call(asker.client, world.api, endpoint, name).text for name in (asker.name, OTHER))
    unnamed = call(asker.client, world.api, endpoint, asker.name, is_named=False).text

    assert (mine in named_me, mine in unnamed) == (of != Whose.NOBODYS,) * 2
    assert (others in named_other, others in unnamed) == (of == Whose.ANY,) * 2


def test_every_endpoint_can_be_called_here_and_its_permission_is_one_of_the_table() -> None:
    missing = [said for endpoint in ENDPOINTS if (said := lacking(endpoint)) is not None]
    unknown = {endpoint.name: endpoint.permission for endpoint in ENDPOINTS}
    known = {*PERMISSIONS, *OPEN}

    assert missing == []
    assert {name: asked for name, asked in unknown.items() if asked not in known} == {}, "no line of PERMISSIONS"


def test_every_permission_is_one_that_an_endpoint_asks_for() -> None:
    used = {endpoint.permission for endpoint in ENDPOINTS}

    assert {*PERMISSIONS, *OPEN} - used == set(), "a permission that nothing asks for says nothing"


def test_every_way_leads_to_an_endpoint() -> None:
    assert {*WAYS} - {line_of(endpoint) for endpoint in ENDPOINTS} == set()


def test_no_name_and_no_address_is_there_twice() -> None:
    names = [endpoint.name for endpoint in ENDPOINTS]
    addresses = [(endpoint.method, endpoint.path) for endpoint in ENDPOINTS]

    assert (len(set(names)), len(set(addresses))) == (len(ENDPOINTS), len(ENDPOINTS))


def test_a_call_of_nobody_is_refused_before_its_body_is_read(world: World) -> None:
    """Who has not proven who they are learns nothing of what would have been wrong."""
    nobody = world.askers[None].client

    answer = nobody.post("/v1/reservations", content=b"{", headers={"Content-Type": "text/plain"})

    assert answer.status_code == 401
