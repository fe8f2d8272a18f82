"""Deletion honours grace, finalizers and ownership."""

from __future__ import annotations

import pytest
from kubernetes import client

from pgfleet.console import sandbox
from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, claim, connected, is_gone, owned_by, pod, ready, service, until, volume

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def test_deletion_marks_the_pod_and_frees_its_gpus_when_its_process_ends() -> None:
    with sandbox.running(["h100:1x8"], ready_delay_s=0.0, termination_delay_s=1.0) as box, connected(box) as api:
        v1: Api = client.CoreV1Api(api)
        v1.create_namespaced_pod(NS, pod("a"))
        ready(v1, "a")

        marked = v1.delete_namespaced_pod("a", NS, grace_period_seconds=10)
        held = box.state()["gpus"]["h100"]["requested"]

        assert marked.metadata.deletion_timestamp
        assert marked.metadata.deletion_grace_period_seconds == 10
        assert held == 8
        until(lambda: is_gone(v1, "a"))
        assert box.state()["gpus"]["h100"]["requested"] == 0


def test_deletion_without_grace_is_at_once(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")

    v1.delete_namespaced_pod("a", NS, grace_period_seconds=0)

    assert is_gone(v1, "a")


def test_a_process_never_outlives_its_grace() -> None:
    with (
        sandbox.running(["h100:1x8"], ready_delay_s=0.0, termination_delay_s=60.0) as box,
        connected(box) as api,
    ):
        v1: Api = client.CoreV1Api(api)
        v1.create_namespaced_pod(NS, pod("a"))
        ready(v1, "a")

        v1.delete_namespaced_pod("a", NS, grace_period_seconds=1)

        until(lambda: is_gone(v1, "a"))


def test_deletion_under_another_uid_is_a_conflict(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))

    with pytest.raises(client.ApiException) as refused:
        v1.delete_namespaced_pod("a", NS, body={"preconditions": {"uid": "another"}})

    assert refused.value.status == 409
    assert not is_gone(v1, "a")


def test_a_finalizer_holds_the_object_until_it_is_removed(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", finalizers=["example.com/hold"]))
    ready(v1, "a")

    v1.delete_namespaced_pod("a", NS, grace_period_seconds=0)
    held = v1.read_namespaced_pod("a", NS)
    v1.patch_namespaced_pod("a", NS, {"metadata": {"finalizers": None}})

    assert held.metadata.deletion_timestamp
    assert is_gone(v1, "a")


def test_what_a_pod_owns_is_collected_when_it_is_gone(v1: Api) -> None:
    owner = v1.create_namespaced_pod(NS, pod("a"))
    ssh = service("a-ssh")
    ssh["metadata"]["ownerReferences"] = owned_by(owner)
    v1.create_namespaced_persistent_volume_claim(NS, claim("a-disk", ownerReferences=owned_by(owner)))
    v1.create_namespaced_service(NS, ssh)

    v1.delete_namespaced_pod("a", NS)

    until(lambda: not v1.list_namespaced_service(NS).items)
    until(lambda: not v1.list_namespaced_persistent_volume_claim(NS).items)


def test_what_comes_after_its_owner_is_gone_is_collected_too(v1: Api) -> None:
    owner = v1.create_namespaced_pod(NS, pod("a"))
    v1.delete_namespaced_pod("a", NS, grace_period_seconds=0)
    v1.create_namespaced_pod(NS, pod("a"))
    ssh = service("a-ssh")
    ssh["metadata"]["ownerReferences"] = owned_by(owner)

    v1.create_namespaced_service(NS, ssh)

    until(lambda: not v1.list_namespaced_service(NS).items)


def test_a_cluster_wide_volume_is_not_collected_for_its_pod(v1: Api) -> None:
    owner = v1.create_namespaced_pod(NS, pod("a"))
    ssh = service("a-ssh")
    ssh["metadata"]["ownerReferences"] = owned_by(owner)
    v1.create_persistent_volume(volume("disk", ownerReferences=owned_by(owner)))
    v1.create_namespaced_service(NS, ssh)

    v1.delete_namespaced_pod("a", NS)

    until(lambda: not v1.list_namespaced_service(NS).items)
    assert v1.read_persistent_volume("disk")
