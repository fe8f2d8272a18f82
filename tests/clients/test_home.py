"""Homes of reservations against the simulated cluster: made once, removed in order, and only where there is room."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pgfleet.workers.clients.kubernetes.sweep.belongings import Belongings
from pgfleet.workers.runtime.outcomes import NeverError, NotNowError, TryAgainError
from worlds.fleet import until
from worlds.outside import homes as world
from worlds.outside.homes import NS, OURS, POD, Api, body
from worlds.outside.kubernetes import pod as small_pod

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box
    from pgfleet.workers.clients.kubernetes.home import Home, Homes
    from pgfleet.workers.clients.kubernetes.pods import Pods

pods, homes, v1, running = world.pods, world.homes, world.v1, world.running
THEIRS = replace(OURS, reservation_id="7c9e6679-0000-40de-944b-e07fc1f90ae7")


def removed(homes: Homes, home: Home = OURS) -> bool:
    return bool(until(lambda: homes.remove(home.name, home.reservation_id), within_s=10))


def test_a_home_is_a_volume_and_a_claim_that_are_bound(homes: Homes, box: Box, v1: Api) -> None:
    homes.make(OURS)

    until(lambda: box.state()["claims"][f"{NS}/{OURS.name}"]["phase"] == "Bound", within_s=10)
    volume = v1.read_persistent_volume(OURS.name)
    assert (volume.spec.csi.driver, volume.spec.csi.volume_handle) == ("ebs.csi.aws.com", "vol-1")
    assert volume.spec.persistent_volume_reclaim_policy == "Retain"
    assert volume.metadata.labels == {"reservation": POD, "app.kubernetes.io/managed-by": "pgfleet"}
    assert volume.metadata.annotations["pgfleet/reservation-id"] == OURS.reservation_id
    (term,) = volume.spec.node_affinity.required.node_selector_terms
    assert [each.values for each in term.match_expressions] == [["us-east-2a"]]


def test_making_a_home_twice_is_making_it_once(homes: Homes, box: Box) -> None:
    homes.make(OURS)
    first = box.state()["objects"]

    homes.make(OURS)

    assert box.state()["objects"] == first


def test_a_home_whose_answer_was_lost_is_adopted(homes: Homes, box: Box) -> None:
    box.fault("persistentvolumeclaims$", method="POST", drop=True, after=True)
    with pytest.raises(NotNowError):
        homes.make(OURS)

    homes.make(OURS)

    assert len(box.state()["claims"]) == 1


def test_the_name_of_another_reservations_home_is_never_ours(homes: Homes, box: Box) -> None:
    homes.make(THEIRS)

    with pytest.raises(NeverError, match="another reservation"):
        homes.make(OURS)

    assert homes.remove(OURS.name, OURS.reservation_id)
    assert not box.state()["volumes"][OURS.name]["deleting"]


def test_a_claim_of_that_name_that_nobody_marked_is_left_alone(homes: Homes, v1: Api) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    v1.create_namespaced_persistent_volume_claim(NS, {"metadata": {"name": OURS.name}, "spec": spec})

    with pytest.raises(NeverError, match="another reservation"):
        homes.make(OURS)

    assert homes.remove(OURS.name, OURS.reservation_id)
    assert v1.read_namespaced_persistent_volume_claim(OURS.name, NS).metadata.deletion_timestamp is None
    assert v1.list_persistent_volume().items == []


def test_a_home_of_another_volume_has_to_go_first(homes: Homes, box: Box) -> None:
    homes.make(OURS)
    other = replace(OURS, volume_id="vol-2")

    def made() -> bool:
        try:
            homes.make(other)
        except TryAgainError:
            return False
        return True

    assert not made()
    until(made, within_s=10)
    assert box.state()["volumes"][OURS.name]["handle"] == "vol-2"


@pytest.mark.parametrize("lost", ["volume", "claim"])
def test_a_home_of_which_one_half_was_lost_is_made_anew(homes: Homes, box: Box, v1: Api, lost: str) -> None:
    homes.make(OURS)
    until(lambda: box.state()["claims"][f"{NS}/{OURS.name}"]["phase"] == "Bound", within_s=10)
    before = v1.read_persistent_volume(OURS.name).metadata.uid
    if lost == "claim":
        v1.delete_namespaced_persistent_volume_claim(OURS.name, NS)
    else:
        v1.patch_persistent_volume(OURS.name, {"metadata": {"finalizers": []}})
        v1.delete_persistent_volume(OURS.name)

    def made() -> bool:
        try:
            homes.make(OURS)
        except TryAgainError:
            return False
        return bool(box.state()["claims"][f"{NS}/{OURS.name}"]["phase"] == "Bound")

    until(made, within_s=10)
    assert v1.read_persistent_volume(OURS.name).metadata.uid != before


def test_a_volume_goes_only_when_its_claim_is_seen_gone(homes: Homes, box: Box, running: str, v1: Api) -> None:
    first = homes.remove(OURS.name, OURS.reservation_id)
    while_in_use = [homes.remove(OURS.name, OURS.reservation_id) for _ in range(3)]
    during = box.state()
    v1.delete_namespaced_pod(running, NS)

    assert removed(homes)
    assert (first, while_in_use) == (False, [False] * 3)
    assert during["claims"][f"{NS}/{OURS.name}"]["deleting"]
    assert not during["volumes"][OURS.name]["deleting"]
    assert (box.state()["volumes"], box.state()["claims"]) == ({}, {})


def test_removing_what_was_never_there_is_fine(homes: Homes) -> None:
    assert homes.remove(OURS.name, OURS.reservation_id)


def test_a_home_that_was_replaced_meanwhile_is_not_deleted(homes: Homes, box: Box, v1: Api) -> None:
    homes.make(THEIRS)
    stale = homes._claim(OURS.name)  # noqa: SLF001  # as it would be seen just before
    assert stale is not None

    with pytest.raises(TryAgainError, match="409"):
        homes._delete(  # noqa: SLF001  # same
            v1.delete_namespaced_persistent_volume_claim, replace(stale, uid="older"), OURS.name, NS
        )

    assert not box.state()["claims"][f"{NS}/{OURS.name}"]["deleting"]


@pytest.mark.parametrize("status", [500, 429, 409, 422])
def test_a_refusal_is_no_fault_of_what_is_made(homes: Homes, box: Box, status: int) -> None:
    box.fault("persistentvolumes$", method="POST", status=status)

    with pytest.raises(NotNowError):
        homes.make(OURS)


def test_the_homes_of_this_namespace_are_found_on_all_pages(homes: Homes, v1: Api, box: Box) -> None:
    made = [replace(OURS, name=f"home-{number}", reservation_id=f"r{number}") for number in range(5)]
    for home in made:
        homes.make(home)
    replace(homes, namespace="default").make(replace(OURS, name="elsewhere", reservation_id="other"))
    v1.patch_persistent_volume("home-4", {"metadata": {"labels": {"app.kubernetes.io/managed-by": "else"}}})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pgfleet.workers.clients.kubernetes.answers.PAGE", 2)
        before = box.state()["requests"]
        found = Belongings(homes.api, homes.namespace, homes.timeout_s).volumes()

    assert {each.reservation_id for each in found} == {"r0", "r1", "r2", "r3"}
    assert box.state()["requests"] - before >= 3


def test_zones_with_room_are_told_the_freest_first(homes: Homes, box: Box, pods: Pods, v1: Api) -> None:
    box.add_nodes("a100", count=2, gpus=8, zone="us-east-2a")
    box.add_nodes("a100", count=3, gpus=8, zone="us-east-2b")
    box.add_nodes("a100", count=5, gpus=4, zone="us-east-2c")
    for name, gpus, node in (("a", 2, "a100-1"), ("b", 8, "a100-2"), ("c", 7, "a100-3")):
        wanted = small_pod(name, gpus)
        wanted["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
        v1.create_namespaced_pod(NS, wanted)

    until(lambda: all((found := pods.find(name)) and found.node for name in "abc"), within_s=10)

    assert homes.zones("a100", 4) == ["us-east-2c", "us-east-2b", "us-east-2a"]  # 20, 17 and 6 GPUs are free
    assert homes.zones("a100", 8) == ["us-east-2b"]
    assert [homes.zones("a100", 4, kept_to) for kept_to in ("a100-1", "a100-2")] == [["us-east-2a"], []]
    assert homes.zones("a100", 0) == ["us-east-2c", "us-east-2b", "us-east-2a"]
    assert homes.zones("a100", 9) == homes.zones("none", 1) == []


def test_cordoned_and_broken_nodes_and_finished_pods_do_not_count(homes: Homes, box: Box, pods: Pods, v1: Api) -> None:
    v1.create_namespaced_pod(NS, small_pod("a", 8))
    until(lambda: (found := pods.find("a")) and found.ready, within_s=10)
    node = v1.read_namespaced_pod("a", NS).spec.node_name
    other = {"h100-1": "h100-2", "h100-2": "h100-1"}[node]
    with_both = homes.zones("h100", 8)
    not_ready = {"conditions": [{"type": "Ready", "status": "Unknown"}]}

    v1.patch_node(other, {"spec": {"unschedulable": True}})
    cordoned = homes.zones("h100", 8)
    v1.patch_node(other, {"spec": {"unschedulable": None}})
    v1.patch_node_status(other, {"status": not_ready})
    broken = homes.zones("h100", 8)
    box.behave(NS, "a", "succeed")

    assert (with_both, cordoned, broken) == (["us-east-2a"], [], [])
    assert homes.zones("h100", 8) == ["us-east-2a"]


def test_nodes_without_a_zone_are_a_mistake_of_the_cluster(homes: Homes, v1: Api) -> None:
    v1.patch_node("cpu-x86-1", {"metadata": {"labels": {"topology.kubernetes.io/zone": None}}})

    with pytest.raises(NeverError, match=r"no node of cpu-x86 has the label topology\.kubernetes\.io/zone"):
        homes.zones("cpu-x86", 0)


def test_a_pod_has_a_home_only_if_it_is_asked_for() -> None:
    without, with_home = body(home=False)["spec"], body()["spec"]

    assert [volume["name"] for volume in without["volumes"]] == ["workspace", "dshm", "keys"]
    assert with_home["volumes"][-1] == {"name": "home", "persistentVolumeClaim": {"claimName": OURS.name}}
    assert with_home["containers"][0]["volumeMounts"][-1] == {"name": "home", "mountPath": "/home/dev"}
