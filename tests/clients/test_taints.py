"""Which taints keep pods of ours away, by what the template of pods tolerates."""

from typing import Any

import pytest
from kubernetes import client

from pgfleet.workers.clients.kubernetes.template.reading import Template
from pgfleet.workers.clients.kubernetes.template.taints import closed_by, tolerations_of
from pgfleet.workers.clients.kubernetes.watch.nodes import gpu_node, pod_gpus
from pgfleet.workers.clients.kubernetes.zones import machine

DEDICATED = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}


def node(*taints: dict[str, Any], gpus: str = "8") -> Any:
    return client.V1Node.model_validate(
        {
            "metadata": {"name": "n"},
            "spec": {"taints": list(taints)},
            "status": {
                "allocatable": {"nvidia.com/gpu": gpus},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
    )


@pytest.mark.parametrize(
    ("toleration", "is_open"),
    [
        ({"key": "dedicated", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}, True),
        ({"key": "dedicated", "value": "gpu"}, True),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "dedicated", "value": "cpu"}, False),
        ({"key": "dedicated"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_a_taint_is_tolerated_as_the_scheduler_has_it(toleration: dict[str, Any], *, is_open: bool) -> None:
    tolerations = tolerations_of(Template("image", "gpu-dev", {"spec": {"tolerations": [toleration]}}))

    closed = closed_by(node(DEDICATED), tolerations)

    assert (closed is None) == is_open
    assert machine(node(DEDICATED), closed).open == is_open
    assert gpu_node(node(DEDICATED), tolerations).problem == (None if is_open else "is tainted dedicated")


def test_what_kubernetes_itself_closes_is_closed_whatever_is_tolerated() -> None:
    silent = node({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"})

    assert closed_by(silent, [{"operator": "Exists"}]) == "node.kubernetes.io/unreachable"


def test_a_thousand_gpus_are_read_as_kubernetes_writes_them() -> None:
    """Time slicing makes many of one."""
    wants = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1k"}}}
    pod = client.V1Pod.model_validate({"spec": {"containers": [wants]}})

    assert (gpu_node(node(gpus="1k")).gpus, machine(node(gpus="1k")).gpus, pod_gpus(pod)) == (1000, 1000, 1000)
