"""Whatever the program makes for a user, it has the fields that keep others safe: on each container of each pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from worlds.cluster.bodies import Body, bodies, makers

if TYPE_CHECKING:
    from collections.abc import Iterator

BODIES = bodies()
PODS = [each for each in BODIES if each.resource == "pods"]
# Whatever the value, these have no place in anything that we make.
NEVER = {
    "externalIPs",
    "externalName",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPath",
    "hostPort",
    "loadBalancerIP",
    "nodeName",
    "procMount",
    "projected",
    "serviceAccount",
    "serviceAccountName",
    "subPathExpr",
    "sysctls",
    "volumeDevices",
}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())]


def fields(thing: Any) -> Iterator[str]:
    if isinstance(thing, dict):
        yield from thing
    for each in thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else ():
        yield from fields(each)


def test_all_that_is_made_is_looked_at() -> None:
    assert {each.made_by for each in BODIES} == makers()


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_nothing_that_is_made_leads_to_a_node_an_account_or_another_address(body: Body) -> None:
    assert NEVER & set(fields(body.body)) == set()


@pytest.mark.parametrize("body", PODS, ids=str)
def test_a_pod_has_no_token_no_links_and_the_runtimes_seccomp_profile(body: Body) -> None:
    spec = body.body["spec"]

    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("body", PODS, ids=str)
def test_a_container_has_no_privileges_but_those_of_sshd(body: Body) -> None:
    for container in containers(body.body):
        security = container["securityContext"]

        assert (security["allowPrivilegeEscalation"], security["privileged"]) == (False, False)
        assert security["capabilities"]["drop"] == ["ALL"]
        assert not {"NET_RAW", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "MKNOD"} & set(security["capabilities"]["add"])
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("body", PODS, ids=str)
def test_all_that_a_container_uses_and_writes_has_a_limit(body: Body) -> None:
    for container in containers(body.body):
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]

        assert {"cpu", "memory", "ephemeral-storage"} <= limits.keys()
        assert {"cpu", "memory", "ephemeral-storage"} <= requests.keys()
    for volume in body.body["spec"]["volumes"]:
        assert volume.get("emptyDir", {"sizeLimit": "-"})["sizeLimit"] != "0Mi"


@pytest.mark.parametrize("body", PODS, ids=str)
def test_a_pod_sees_the_gpus_that_it_was_given(body: Body) -> None:
    for container in containers(body.body):
        devices = [each["value"] for each in container["env"] if each["name"] == "NVIDIA_VISIBLE_DEVICES"]

        assert devices == ([] if container["resources"]["limits"].get("nvidia.com/gpu") else ["void"])
