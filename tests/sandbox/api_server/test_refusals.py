"""The sandbox refuses in the words, and in the shape, in which a real API server does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, pod, service, told
from worlds.outside.texts import names, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1

Rule = tuple[str, dict[str, Any]]


def same(status: dict[str, Any], path: str) -> None:
    """`<word>` in the text stands for anything."""
    expected = text(f"refusals/{path}")
    pattern = re.sub(r"<\w+>", ".+", re.escape(expected.pop("message")).replace(r"\<", "<").replace(r"\>", ">"))
    message = status.pop("message")
    assert re.fullmatch(pattern, message), message
    if "continue" in expected["metadata"]:
        expected["metadata"] = status["metadata"]
    assert status == expected


def refused(call: Callable[[], Any]) -> Any:
    with pytest.raises(client.ApiException) as error:
        call()
    status = told(error)
    assert status["code"] == error.value.status
    return status


def secured(**security: Any) -> dict[str, Any]:
    """A pod that the standard `restricted` lets pass, but for what is given."""
    body = pod("a")
    defaults = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    defaults |= {"seccompProfile": {"type": "RuntimeDefault"}}
    body["spec"]["containers"][0]["securityContext"] = defaults | security
    return body


def limited(**limits: str) -> dict[str, Any]:
    body = pod("a")
    body["spec"]["containers"][0]["resources"] = {"limits": limits}
    return body


GPUS = {"hard": {"requests.nvidia.com/gpu": "12"}}
IMAGE = {"image": "^busybox"}


@pytest.mark.parametrize("dry_run", [{}, {"dry_run": "All"}], ids=["real", "dry"])
@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (("quota", GPUS), "quota-exceeded"),
        (("quota", {"hard": {"limits.cpu": "4"}}), "quota-unspecified"),
        (("limit-range", {"max": {"nvidia.com/gpu": "4"}}), "limit-range"),
        (("pod-security", {}), "pod-security"),
        (("webhook", {"down": True}), "webhook-down"),
        (("webhook", IMAGE), "webhook-denies"),
        (("webhook", IMAGE | {"code": 400}), "webhook-denies-400"),
        (("policy", IMAGE), "policy-denies"),
        (("terminating", {}), "namespace-terminating"),
        (("no-service-account", {}), "service-account-missing"),
        (("rights", {"missing": ["create pods"]}), "rbac-create"),
        (("tokens", {"known": ["new"]}), "unauthorized"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod_is_refused_by_a_rule_until_it_is_off(
    box: Box, v1: Api, rule: Rule, path: str, dry_run: dict[str, str]
) -> None:
    v1.create_namespaced_pod(NS, pod("before"))
    kind, fields = rule
    box.rule(kind, **fields)

    same(refused(lambda: v1.create_namespaced_pod(NS, pod("a"), **dry_run)), path)
    box.clear_rules()
    v1.create_namespaced_pod(NS, pod("a"), **dry_run)


def test_a_pod_that_asks_for_too_much_twice_is_told_both(box: Box, v1: Api) -> None:
    box.rule("limit-range", max={"cpu": "4", "memory": "1Gi"})

    status = refused(lambda: v1.create_namespaced_pod(NS, limited(cpu="8", memory="2Gi")))

    same(status, "limit-range-two")


def test_a_limit_range_gives_what_a_container_leaves_open(box: Box, v1: Api) -> None:
    box.rule("limit-range", default={"cpu": "2"}, default_request={"cpu": "1"})

    made = v1.create_namespaced_pod(NS, pod("a"))

    resources = made.spec.containers[0].resources
    assert (resources.limits["cpu"], resources.requests["cpu"]) == ("2", "1")


def test_the_most_that_a_limit_range_allows_is_what_a_container_gets(box: Box, v1: Api) -> None:
    box.rule("limit-range", max={"cpu": "4"}, min={"memory": "1Gi"})

    made = v1.create_namespaced_pod(NS, pod("a"))

    resources = made.spec.containers[0].resources
    assert (resources.limits["cpu"], resources.requests["cpu"], resources.requests["memory"]) == ("4", "4", "1Gi")


def test_a_charge_of_a_quota_may_meet_another_one(box: Box, v1: Api) -> None:
    box.rule("quota", **GPUS, conflicts=1)

    same(refused(lambda: v1.create_namespaced_pod(NS, pod("a"))), "quota-conflict")
    v1.create_namespaced_pod(NS, pod("a"))


def test_a_pod_that_has_ended_is_not_counted_by_a_quota(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("before"))
    sandbox_cluster.ready(v1, "before")
    box.behave(NS, "before", "succeed")
    sandbox_cluster.until(lambda: v1.read_namespaced_pod("before", NS).status.phase, lambda phase: phase == "Succeeded")

    box.rule("quota", **GPUS)

    v1.create_namespaced_pod(NS, pod("a"))


def test_a_quota_counts_node_ports(box: Box, v1: Api) -> None:
    box.rule("quota", name="ports", hard={"services.nodeports": "1"})
    v1.create_namespaced_service(NS, service("a"))

    status = refused(lambda: v1.create_namespaced_service(NS, service("b")))

    assert status["message"] == (
        'services "b" is forbidden: exceeded quota: ports, requested: services.nodeports=1,'
        " used: services.nodeports=1, limited: services.nodeports=1"
    )


def test_a_pod_as_the_restricted_standard_wants_it_passes(box: Box, v1: Api) -> None:
    box.rule("pod-security")

    v1.create_namespaced_pod(NS, secured())


@pytest.mark.parametrize(
    ("security", "why"),
    [
        ({"runAsNonRoot": False}, 'runAsNonRoot != true (container "main" must not set'),
        ({"runAsUser": 0}, 'runAsUser=0 (container "main" must not set runAsUser=0)'),
        ({"privileged": True}, 'privileged (container "main" must not set securityContext.privileged=true)'),
        ({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}, 'must not include "SYS_ADMIN" in'),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile ("),
    ],
)
def test_the_restricted_standard_judges_the_body(box: Box, v1: Api, security: dict[str, Any], why: str) -> None:
    box.rule("pod-security")

    status = refused(lambda: v1.create_namespaced_pod(NS, secured(**security)))

    assert status["message"].startswith('pods "a" is forbidden: violates PodSecurity "restricted:latest": ')
    assert why in status["message"]


def test_the_baseline_lets_an_ordinary_pod_pass(box: Box, v1: Api) -> None:
    box.rule("pod-security", level="baseline")

    v1.create_namespaced_pod(NS, pod("a"))
    body = pod("b")
    body["spec"]["volumes"] = [{"name": "root", "hostPath": {"path": "/"}}]

    assert 'hostPath volumes (volume "root")' in refused(lambda: v1.create_namespaced_pod(NS, body))["message"]


@pytest.mark.parametrize(
    ("security", "of_pod", "more", "why"),
    [
        (
            {"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}},
            {},
            {},
            'non-default capabilities (container "main" must not include "NET_ADMIN" in securityContext.capabilities',
        ),
        ({}, {}, {"ports": [{"containerPort": 22, "hostPort": 22}]}, 'hostPort (container "main" uses hostPort 22)'),
        (
            {"procMount": "Unmasked"},
            {},
            {},
            'procMount (container "main" must not set securityContext.procMount to "Unmasked")',
        ),
        (
            {"seccompProfile": {"type": "Unconfined"}},
            {"seccompProfile": {"type": "Unconfined"}},
            {},
            'pod and container "main" must not set securityContext.seccompProfile.type to "Unconfined"',
        ),
        ({}, {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}, {}, "forbidden sysctls (kernel.msgmax)"),
        ({"privileged": True}, {}, {}, "must not set securityContext.privileged=true"),
    ],
    ids=["capabilities", "host ports", "proc", "seccomp", "sysctls", "privileged"],
)
def test_the_baseline_holds_from_the_start(
    box: Box, v1: Api, security: dict[str, Any], of_pod: dict[str, Any], more: dict[str, Any], why: str
) -> None:
    body = pod("a")
    body["spec"]["securityContext"] = of_pod
    body["spec"]["containers"][0] |= {"securityContext": security} | more

    message = refused(lambda: v1.create_namespaced_pod(NS, body))["message"]

    assert message.startswith('pods "a" is forbidden: violates PodSecurity "baseline:latest": ')
    assert why in message


def test_a_webhook_with_side_effects_takes_no_dry_run(box: Box, v1: Api) -> None:
    box.rule("webhook", side_effects=True)

    same(refused(lambda: v1.create_namespaced_pod(NS, pod("a"), dry_run="All")), "webhook-without-dry-run")
    v1.create_namespaced_pod(NS, pod("a"))


def test_a_webhook_denies_only_what_it_is_about(box: Box, v1: Api) -> None:
    box.rule("webhook", image="^other")

    v1.create_namespaced_pod(NS, pod("a"))


def test_no_node_port_is_left(box: Box, v1: Api) -> None:
    box.rule("node-ports-full")

    for dry_run in ({}, {"dry_run": "All"}):
        same(refused(lambda: v1.create_namespaced_service(NS, service("a"), **dry_run)), "node-ports-full")  # noqa: B023 - called at once
    v1.create_namespaced_service(NS, service("a", "ClusterIP"))


def test_a_node_port_of_another_service_is_taken(v1: Api) -> None:
    v1.create_namespaced_service(NS, service("a", nodePort=30022))

    same(refused(lambda: v1.create_namespaced_service(NS, service("b", nodePort=30022))), "node-port-taken")


def test_a_priority_class_has_to_be_there(box: Box, v1: Api) -> None:
    body = pod("a")
    body["spec"]["priorityClassName"] = "gpu-dev"

    same(refused(lambda: v1.create_namespaced_pod(NS, body)), "priority-class-missing")
    box.priority_class("gpu-dev", 1000)
    assert v1.create_namespaced_pod(NS, body).spec.priority == 1000


@pytest.mark.parametrize(
    ("missing", "call", "path"),
    [
        ("get pods", lambda v1: v1.read_namespaced_pod("a", NS), "rbac-get"),
        ("list nodes", lambda v1: v1.list_node(), "rbac-list-nodes"),
        ("create pods/exec", lambda v1: v1.connect_get_namespaced_pod_exec("a", NS, command=["ls"]), "rbac-exec"),
    ],
)
def test_a_right_may_be_missing(box: Box, v1: Api, missing: str, call: Callable[[Api], Any], path: str) -> None:
    box.rule("rights", missing=[missing])

    same(refused(lambda: call(v1)), path)
    v1.list_namespaced_service(NS)


def test_rights_may_not_be_known_yet(box: Box, v1: Api) -> None:
    box.rule("rights", missing=["* *"], why='RBAC: role.rbac.authorization.k8s.io "pgfleet-reservation" not found')

    same(refused(lambda: v1.list_namespaced_pod(NS)), "rbac-not-synced")


def test_what_is_common_is_refused_in_the_same_words(v1: Api) -> None:
    same(refused(lambda: v1.read_namespaced_pod("a", NS)), "not-found")
    v1.create_namespaced_pod(NS, pod("a"))

    same(refused(lambda: v1.create_namespaced_pod(NS, pod("a"))), "already-exists")
    same(refused(lambda: v1.create_namespaced_pod("nowhere", pod("a"))), "namespace-missing")
    stale = {"metadata": {"resourceVersion": "1"}}
    same(refused(lambda: v1.patch_namespaced_pod("a", NS, stale)), "conflict")
    other = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    same(refused(lambda: v1.delete_namespaced_pod("a", NS, body=other)), "conflict-uid")
    future = {"resource_version": "999999"}
    same(refused(lambda: v1.list_namespaced_pod(NS, **future)), "resource-version-too-large")


def test_a_rule_that_there_is_not_is_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="has no such rule"):
        box.rule("gravity")


def test_one_rule_may_be_off_while_another_is_on(box: Box, v1: Api) -> None:
    box.rule("terminating")
    box.rule("webhook", down=True)

    box.clear_rules("terminating")

    same(refused(lambda: v1.create_namespaced_pod(NS, pod("a"))), "webhook-down")


@pytest.mark.parametrize("path", names("refusals"))
def test_any_answer_can_be_ordered_as_it_is_kept(box: Box, v1: Api, path: str) -> None:
    box.fault("/pods$", body=text(path))

    assert refused(lambda: v1.list_namespaced_pod(NS)) == text(path)
