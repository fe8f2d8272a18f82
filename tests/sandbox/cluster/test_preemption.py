"""Pods of a higher priority take the place of others; gates, affinity and taints keep pods from nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, events, is_gone, pod, ready, until

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def test_a_pod_of_higher_priority_preempts_one_of_lower(box: Box, v1: Api) -> None:
    box.priority_class("urgent", 1000)
    for name in ("a", "b"):
        v1.create_namespaced_pod(NS, pod(name, finalizers=["example.com/hold"]))
        ready(v1, name)

    preemptor = v1.create_namespaced_pod(NS, prioritised("urgent", "urgent"))

    victims = until(lambda: [each for each in pods(v1, "a", "b") if each.metadata.deletion_timestamp])
    seen = ready(v1, "urgent")
    (victim,) = victims
    target = condition(victim, "DisruptionTarget")
    assert (target.status, target.reason) == ("True", "PreemptionByScheduler")
    assert target.message == "default-scheduler: preempting to accommodate a higher priority pod"
    assert seen.spec.node_name == victim.spec.node_name
    (event,) = until(lambda: events(v1, victim.metadata.name, "Preempted"))
    assert event.message == f"Preempted by pod {preemptor.metadata.uid} on node {victim.spec.node_name}"
    assert (event.type, event.action) == ("Normal", "Preempting")
    assert (preemptor.spec.priority, preemptor.spec.preemption_policy) == (1000, "PreemptLowerPriority")


def test_the_fewest_pods_go_and_those_of_the_lowest_priority(box: Box, v1: Api) -> None:
    box.priority_class("middle", 10)
    box.priority_class("urgent", 1000)
    node = {"kubernetes.io/hostname": "h100-1"}
    bodies = [prioritised("middle", "middle", 4), pod("low", 2), pod("lower", 2)]
    for body in bodies:
        body["spec"]["nodeSelector"] = node
        v1.create_namespaced_pod(NS, body)
        ready(v1, body["metadata"]["name"])
    urgent = prioritised("urgent", "urgent", 2)
    urgent["spec"]["nodeSelector"] = node

    v1.create_namespaced_pod(NS, urgent)

    ready(v1, "urgent")
    assert not is_gone(v1, "middle")
    assert is_gone(v1, "low") != is_gone(v1, "lower")


def test_a_class_that_never_preempts_waits(box: Box, v1: Api) -> None:
    box.priority_class("patient", 1000, preemptionPolicy="Never")
    for name in ("a", "b"):
        v1.create_namespaced_pod(NS, pod(name))
        ready(v1, name)

    v1.create_namespaced_pod(NS, prioritised("patient", "patient"))

    (event,) = until(lambda: events(v1, "patient", "FailedScheduling"))
    assert event.message.endswith("preemption: not eligible due to preemptionPolicy=Never..")
    assert not any(each.metadata.deletion_timestamp for each in pods(v1, "a", "b"))


def test_a_gated_pod_is_not_looked_at_until_its_gates_are_gone(v1: Api) -> None:
    body = pod("a")
    body["spec"]["schedulingGates"] = [{"name": "example.com/wait"}]
    v1.create_namespaced_pod(NS, body)

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: seen.status.conditions)
    v1.patch_namespaced_pod("a", NS, {"spec": {"schedulingGates": None}})

    (told,) = seen.status.conditions
    assert (told.type, told.status, told.reason) == ("PodScheduled", "False", "SchedulingGated")
    assert told.message == "Scheduling is blocked due to non-empty scheduling gates"
    assert events(v1, "a", "FailedScheduling") == []
    ready(v1, "a")


def test_a_scheduler_that_is_down_says_nothing(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("before"))
    ready(v1, "before")
    box.scheduler(down=True)

    v1.create_namespaced_pod(NS, pod("a"))
    v1.delete_namespaced_pod("before", NS)
    until(lambda: is_gone(v1, "before"))
    seen = v1.read_namespaced_pod("a", NS)
    box.scheduler(down=False)

    assert (seen.spec.node_name, seen.status.conditions) == (None, None)
    ready(v1, "a")


def test_a_pod_of_another_scheduler_is_left_alone(v1: Api) -> None:
    body = pod("a")
    body["spec"]["schedulerName"] = "another"
    v1.create_namespaced_pod(NS, body)

    v1.create_namespaced_pod(NS, pod("b"))

    ready(v1, "b")
    assert v1.read_namespaced_pod("a", NS).status.conditions is None


def test_pods_are_spread_over_the_least_allocated_nodes(v1: Api) -> None:
    for name in ("a", "b"):
        body = pod(name, 1)
        body["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "10", "memory": "10Gi"}
        v1.create_namespaced_pod(NS, body)
        ready(v1, name)

    assert {each.spec.node_name for each in pods(v1, "a", "b")} == {"h100-1", "h100-2"}


@pytest.mark.parametrize("tolerates", [True, False])
def test_a_tainted_node_takes_only_what_tolerates_it(v1: Api, tolerates: bool) -> None:  # noqa: FBT001
    for node in ("h100-1", "h100-2"):
        v1.patch_node(node, {"spec": {"taints": [{"key": "dedicated", "value": "ml", "effect": "NoSchedule"}]}})
    body = pod("a")
    body["spec"]["tolerations"] = [{"key": "dedicated", "operator": "Equal", "value": "ml"}] if tolerates else []

    v1.create_namespaced_pod(NS, body)

    if tolerates:
        ready(v1, "a")
    else:
        (event,) = until(lambda: events(v1, "a", "FailedScheduling"))
        assert "2 node(s) had untolerated taint(s)" in event.message


@pytest.mark.parametrize(
    ("operator", "values", "node"),
    [("In", ["h100-2"], "h100-2"), ("NotIn", ["h100-1"], "h100-2"), ("In", ["nowhere"], None)],
)
def test_a_pod_goes_where_its_affinity_sends_it(v1: Api, operator: str, values: list[str], node: str | None) -> None:
    expression = {"key": "kubernetes.io/hostname", "operator": operator, "values": values}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    body = pod("a")
    body["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}

    v1.create_namespaced_pod(NS, body)

    if node:
        assert ready(v1, "a").spec.node_name == node
    else:
        (event,) = until(lambda: events(v1, "a", "FailedScheduling"))
        assert "3 node(s) didn't match Pod's node affinity/selector" in event.message


def prioritised(name: str, priority_class: str, gpus: int = 8) -> dict[str, Any]:
    body = pod(name, gpus)
    body["spec"]["priorityClassName"] = priority_class
    return body


def pods(v1: Api, *names: str) -> list[Any]:
    return [each for each in v1.list_namespaced_pod(NS).items if each.metadata.name in names]


def condition(seen: Any, kind: str) -> Any:
    return next(each for each in seen.status.conditions if each.type == kind)
