"""Volumes and claims are bound, hold pods to their zone, stay while they are in use, and are attached to nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, claim, events, is_gone, pod, ready, told, until, volume, with_claim

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def volume_phase(v1: Api, name: str) -> str:
    return str(v1.read_persistent_volume(name).status.phase)


def claim_phase(v1: Api, name: str) -> str:
    return str(v1.read_namespaced_persistent_volume_claim(name, NS).status.phase)


def bound(v1: Api, name: str = "d", **given: Any) -> None:
    v1.create_persistent_volume(volume(name, **given))
    v1.create_namespaced_persistent_volume_claim(NS, claim(name))
    until(lambda: claim_phase(v1, name) == "Bound")


def are_gone(v1: Api) -> bool:
    return not v1.list_persistent_volume().items and not v1.list_namespaced_persistent_volume_claim(NS).items


@pytest.mark.parametrize("first", ["volume", "claim"])
def test_a_volume_and_the_claim_it_names_are_bound_in_either_order(v1: Api, first: str) -> None:
    makers: dict[str, Any] = {
        "volume": lambda: v1.create_persistent_volume(volume("d")),
        "claim": lambda: v1.create_namespaced_persistent_volume_claim(NS, claim("d")),
    }
    made = makers.pop(first)()
    (other,) = makers.values()

    other()

    until(lambda: claim_phase(v1, "d") == volume_phase(v1, "d") == "Bound")
    reference = v1.read_persistent_volume("d").spec.claim_ref
    assert made.status.phase in ("Available", "Pending")
    assert reference.uid == v1.read_namespaced_persistent_volume_claim("d", NS).metadata.uid


def test_a_volume_that_is_another_claims_is_not_bound(v1: Api) -> None:
    body = claim("other")
    body["spec"]["volumeName"] = "d"
    v1.create_persistent_volume(volume("d"))

    v1.create_namespaced_persistent_volume_claim(NS, body)
    bound(v1, "e")

    assert (claim_phase(v1, "other"), volume_phase(v1, "d")) == ("Pending", "Available")


def test_a_released_volume_is_not_given_to_a_new_claim_of_the_same_name(v1: Api) -> None:
    bound(v1)
    v1.delete_namespaced_persistent_volume_claim("d", NS)
    until(lambda: volume_phase(v1, "d") == "Released")

    v1.create_namespaced_persistent_volume_claim(NS, claim("d"))
    bound(v1, "e")

    assert (claim_phase(v1, "d"), volume_phase(v1, "d")) == ("Pending", "Released")


def test_a_bound_volume_goes_only_after_its_claim(v1: Api) -> None:
    bound(v1)

    v1.delete_persistent_volume("d")
    held = v1.read_persistent_volume("d")
    v1.delete_namespaced_persistent_volume_claim("d", NS)

    assert held.metadata.deletion_timestamp
    until(lambda: are_gone(v1))


def test_a_claim_in_use_goes_only_after_its_pod(v1: Api) -> None:
    bound(v1)
    v1.create_namespaced_pod(NS, with_claim(pod("a", 1), "d"))
    ready(v1, "a")

    v1.delete_namespaced_persistent_volume_claim("d", NS)
    held = v1.read_namespaced_persistent_volume_claim("d", NS)
    v1.delete_namespaced_pod("a", NS)

    assert held.metadata.deletion_timestamp
    until(lambda: is_gone(v1, "a"))
    until(lambda: volume_phase(v1, "d") == "Released")


def test_a_finished_pod_does_not_hold_its_claim(box: Box, v1: Api) -> None:
    bound(v1)
    v1.create_namespaced_pod(NS, with_claim(pod("a", 1), "d"))
    ready(v1, "a")
    box.behave(NS, "a", "succeed")

    v1.delete_namespaced_persistent_volume_claim("d", NS)

    until(lambda: volume_phase(v1, "d") == "Released")
    assert not is_gone(v1, "a")


def test_deletion_under_another_uid_is_a_conflict(v1: Api) -> None:
    bound(v1)

    with pytest.raises(client.ApiException) as refused:
        v1.delete_persistent_volume("d", body={"preconditions": {"uid": "another"}})

    assert refused.value.status == 409


def test_volumes_are_listed_by_label_and_page_by_page(v1: Api) -> None:
    for number in range(5):
        v1.create_persistent_volume(volume(f"d{number}", labels={"of": "us" if number else "them"}))

    first = v1.list_persistent_volume(label_selector="of=us", limit=3)
    rest = v1.list_persistent_volume(label_selector="of=us", limit=3, _continue=first.metadata.var_continue)

    assert [[each.metadata.name for each in page.items] for page in (first, rest)] == [["d1", "d2", "d3"], ["d4"]]


@pytest.mark.parametrize(
    ("field", "told_of"), [("accessModes", "accessModes"), ("capacity", "capacity"), ("csi", "volume type")]
)
def test_a_volume_that_lacks_something_is_invalid(v1: Api, field: str, told_of: str) -> None:
    body = volume("d")
    del body["spec"][field]

    with pytest.raises(client.ApiException) as refused:
        v1.create_persistent_volume(body)

    assert refused.value.status == 422
    assert told_of in told(refused)["message"]


def test_a_pod_waits_for_its_claim_and_then_for_its_volume(v1: Api) -> None:
    v1.create_namespaced_pod(NS, with_claim(pod("a", 1), "d"))
    (first,) = until(lambda: events(v1, "a", "FailedScheduling"))

    v1.create_namespaced_persistent_volume_claim(NS, claim("d"))
    until(lambda: "unbound immediate" in v1.read_namespaced_pod("a", NS).status.conditions[0].message)
    v1.create_persistent_volume(volume("d"))

    assert first.message.startswith('0/3 nodes are available: persistentvolumeclaim "d" not found. preemption: 0/3')
    ready(v1, "a")


def test_a_pod_goes_where_its_volume_is(box: Box, v1: Api) -> None:
    box.add_nodes("h100", count=1, gpus=4, zone="us-east-2b")
    bound(v1, zone="us-east-2b")

    v1.create_namespaced_pod(NS, with_claim(pod("a", 4), "d"))
    v1.create_namespaced_pod(NS, with_claim(pod("b", 8), "d"))

    assert ready(v1, "a").spec.node_name == "h100-3"
    (event,) = until(lambda: events(v1, "b", "FailedScheduling"))
    assert "2 node(s) didn't match PersistentVolume's node affinity" in event.message
    assert "1 Insufficient nvidia.com/gpu" in event.message


def test_nodes_say_in_which_zone_they_are(v1: Api) -> None:
    zones = {node.metadata.labels["topology.kubernetes.io/zone"] for node in v1.list_node().items}

    assert zones == {"us-east-2a"}


def test_a_volume_is_attached_while_its_pod_is_there(box: Box, v1: Api) -> None:
    bound(v1, handle="vol-7")
    v1.create_namespaced_pod(NS, with_claim(pod("a", 1), "d"))
    node = ready(v1, "a").spec.node_name
    during = box.state()

    v1.delete_namespaced_pod("a", NS)
    until(lambda: is_gone(v1, "a"))

    until(lambda: not box.state()["attachments"])
    log = [(each["event"], each["volume"], each["node"]) for each in box.state()["attachment_log"]]
    assert during["attachments"] == {"vol-7": node}
    assert during["volumes"]["d"] == {"phase": "Bound", "handle": "vol-7", "claim": f"{NS}/d", "deleting": False}
    assert during["claims"][f"{NS}/d"] == {"phase": "Bound", "volume": "d", "deleting": False}
    assert log == [("attach", "vol-7", node), ("detach", "vol-7", node)]


def test_a_volume_that_is_still_attached_elsewhere_keeps_a_pod_from_starting(box: Box, v1: Api) -> None:
    bound(v1)
    v1.create_namespaced_pod(NS, with_claim(pod("a", 8), "d"))
    first = ready(v1, "a").spec.node_name

    v1.create_namespaced_pod(NS, with_claim(pod("b", 8), "d"))

    until(lambda: events(v1, "b", "FailedAttachVolume"))
    assert box.state()["attachments"] == {"vol-1": first}
    v1.delete_namespaced_pod("a", NS)
    assert ready(v1, "b").spec.node_name != first


def test_a_volume_stays_on_a_silent_node_for_a_while_after_its_pod_was_forced_away(box: Box, v1: Api) -> None:
    bound(v1)
    v1.create_namespaced_pod(NS, with_claim(pod("a"), "d"))
    node = ready(v1, "a").spec.node_name
    box.node(node, silent=True)

    v1.delete_namespaced_pod("a", NS, grace_period_seconds=0)

    assert box.state()["attachments"] == {"vol-1": node}
    until(lambda: not box.state()["attachments"])
