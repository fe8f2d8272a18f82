"""Two fleets in one cluster, one namespace and one account: neither touches or sees what the other has made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from kubernetes import client

from pgfleet.console.sandbox import Box
from pgfleet.schema.environment.fleet import is_pod_name, pod_name
from pgfleet.schema.settings import BadSettings, read_settings
from pgfleet.workers.clients.kubernetes.names import FLEET
from pgfleet.workers.clients.kubernetes.watch.nodes import Nodes
from pgfleet.workers.reservation.cluster.book import Book
from pgfleet.workers.reservation.cluster.telling import EventFollower
from worlds.disks import STEADY, World, for_a_test, servers, world_on
from worlds.fleet import lose_row, new_id, send
from worlds.outside.kubernetes import NS, Api, connected
from worlds.reservations import QUEUE, gang, statuses

EAST, WEST, NORTH, NAMELESS = "east", "west", "north", ""
Fleets = tuple[World, World]
emptied = contextmanager(for_a_test)
# Of a fleet: everything that it has in the cluster, and at AWS.
Outside = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def outside() -> Iterator[Box]:
    with servers() as (box, _):
        yield box


@pytest.fixture(scope="module", params=[(EAST, WEST), (NAMELESS, NORTH)], ids=["both named", "one without a name"])
def module_fleets(request: pytest.FixtureRequest, server_dsn: str, template: str, outside: Box) -> Iterator[Fleets]:
    ours, theirs = request.param
    with (
        world_on(server_dsn, template, outside, fleet=ours, **STEADY) as first,
        world_on(server_dsn, template, outside, fleet=theirs, **STEADY) as second,
    ):
        yield first, second


@pytest.fixture
def fleets(module_fleets: Fleets) -> Iterator[Fleets]:
    first, second = module_fleets
    with emptied(first), emptied(second):
        yield first, second


@pytest.fixture
def cluster(outside: Box) -> Iterator[Api]:
    with connected(outside) as api:
        yield api


def name_of(world: World) -> str:
    return world.reservations.running.settings.fleet


def made(cluster: Api) -> list[Any]:
    """All that fleets have made in the cluster."""
    v1, network = client.CoreV1Api(cluster), client.NetworkingV1Api(cluster)
    lists: Sequence[Any] = (
        v1.list_namespaced_pod(NS),
        v1.list_namespaced_service(NS),
        v1.list_namespaced_config_map(NS),
        v1.list_namespaced_persistent_volume_claim(NS),
        v1.list_persistent_volume(),
        v1.list_namespaced_secret(NS),
        network.list_namespaced_network_policy(NS),
    )
    return [thing for listed in lists for thing in listed.items]


def outside_of(world: World, cluster: Api) -> Outside:
    """What has this fleet's name, or none."""
    fleet = name_of(world)
    things = [each.metadata.name for each in made(cluster) if (each.metadata.labels or {}).get(FLEET, "") == fleet]
    stored = {**world.volumes, **world.ebs_snapshots}
    tagged = [name for name, each in stored.items() if each["tags"].get("pgfleet:fleet", "") == fleet]
    return sorted(things), sorted(tagged)


def look_everywhere(world: World) -> None:
    """All that a fleet does about what it does not know: twice, as some of it takes two looks."""
    for _ in range(2):
        world.pass_time(700)
        world.conn.execute("update public.periodic set done_at = null")
        send(world.conn, QUEUE, {"action": "sweep_pods"})
        send(world.conn, "disk_operations", {"action": "reconcile"})
        world.run()


def set_aside(world: World) -> list[str]:
    found = "select pod_name as it from public.pod_quarantine union all select resource_id from public.disk_quarantine"
    return [each["it"] for each in world.all(found)]


def test_neither_touches_nor_lists_what_the_other_has_made(fleets: Fleets, cluster: Api) -> None:
    ids = [world.active("data", duration_hours=24) for world in fleets]
    for world, row_id in zip(fleets, ids, strict=True):
        assert world.ended("snapshot_disk", "data")["status"] == "completed", row_id
    before = [outside_of(world, cluster) for world in fleets]
    assert [(len(things) >= 5, len(tagged)) for things, tagged in before] == [(True, 2), (True, 2)]

    for world in fleets:
        look_everywhere(world)

    assert [set_aside(world) for world in fleets] == [[], []]
    assert [outside_of(world, cluster) for world in fleets] == before
    assert [world.letters for world in fleets] == [[], []]


def test_the_end_of_one_fleets_reservation_leaves_the_others_of_the_same_id(fleets: Fleets, cluster: Api) -> None:
    ours, theirs = fleets
    row_id = new_id()
    for world in fleets:
        world.active("data", reservation_id=row_id)
    before = outside_of(theirs, cluster)

    ours.cancel(row_id)
    ours.over(row_id)
    look_everywhere(ours)

    assert outside_of(ours, cluster)[0] == []
    assert outside_of(theirs, cluster) == before
    assert theirs.status(row_id) == "active"


def test_what_one_has_lost_is_set_aside_by_it_and_by_no_other(fleets: Fleets) -> None:
    lost = []
    for world in fleets:
        row_id = world.active("data", duration_hours=24)
        lost.append(sorted([world.volume_of("data"), world.reservation(row_id)["pod_name"]]))
        world.conn.execute("set session_replication_role = replica")
        world.conn.execute("delete from public.disks")
        world.conn.execute("reset session_replication_role")
        lose_row(world.conn, row_id)

    for world in fleets:
        look_everywhere(world)

    assert [sorted(set_aside(world)) for world in fleets] == lost


def test_a_suspect_that_is_the_others_is_left_alone(fleets: Fleets) -> None:
    ours, theirs = fleets
    theirs.active("data")

    send(ours.conn, "disk_operations", {"action": "suspect", "resource_id": theirs.volume_of("data")})
    ours.run()

    assert set_aside(ours) == []
    assert theirs.volume_of("data") in theirs.volumes


def test_all_that_a_gang_has_has_its_fleets_name(fleets: Fleets, cluster: Api) -> None:
    _, named = fleets
    named.create("data")
    ids = gang(named.conn, gpu_type="h100", gpu_count=8, jupyter_enabled=True, disk_name="data")
    named.until(lambda: statuses(named.conn, ids) == ["active", "active"])

    first, second = (pod_name(row_id, name_of(named)) for row_id in ids)
    theirs = [each for each in made(cluster) if each.metadata.name.startswith((first, second))]
    labels = {each.metadata.name: each.metadata.labels.get(FLEET) for each in theirs}

    parts = ("", "-home", "-keys", "-ssh", "-headless", "-gang")
    assert {f"{first}{part}" for part in parts} | {second, f"{second}-ssh"} <= labels.keys()
    assert set(labels.values()) == {name_of(named)}


def test_gpus_and_events_of_the_others_pods_are_told_apart(fleets: Fleets, cluster: Api) -> None:
    ours, _ = fleets
    row_id = ours.active(None, gpu_type="h100", gpu_count=4)
    v1: Api = client.CoreV1Api(cluster)
    pod, told = v1.read_namespaced_pod(ours.reservation(row_id)["pod_name"], NS), v1.list_namespaced_event(NS).items
    about = [event for event in told if event.involved_object.name == pod.metadata.name]

    used = [dict(Nodes(v1, NS, 10, name_of(world)).used_by_others()) for world in fleets]
    for world in fleets:
        running = world.reservations.running
        follower = EventFollower(running.tools.pods, Book(running))
        follower.listed(told)
        follower.changed(about[0])

    assert used == [{}, {pod.spec.node_name: 4}]
    kept = [
        world.all("select distinct pod_name from public.pod_events where pod_uid = %s", pod.metadata.uid)
        for world in fleets
    ]
    assert kept == [[{"pod_name": pod.metadata.name}], []]


def test_no_two_fleets_have_a_pod_of_one_name() -> None:
    row_id = new_id()
    fleets = (NAMELESS, "a", "a-b", EAST)

    names = {fleet: pod_name(row_id, fleet) for fleet in fleets}

    assert len(set(names.values())) == len(fleets)
    assert {(fleet, of) for fleet in fleets for of in fleets if is_pod_name(names[of], fleet)} == {
        (a, a) for a in fleets
    }
    # The longest that is made of it is a name that Kubernetes takes for a service.
    assert len(f"{pod_name(row_id, 'a' * 16)}-gang-0123456789") <= 63


@pytest.mark.parametrize("name", ["East", "1st", "a_b", "-a", "a-", "a" * 17, "a.b"])
def test_a_name_that_kubernetes_would_not_take_is_refused_at_the_start(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGFLEET_FLEET", name)

    with pytest.raises(BadSettings, match="PGFLEET_FLEET: must be 1 to 16 of a-z"):
        read_settings()
