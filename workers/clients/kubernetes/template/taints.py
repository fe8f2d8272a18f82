"""Taints of nodes that no pod of ours tolerates: such a node takes none."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from pgfleet.workers.clients.kubernetes.template.reading import Template
from pgfleet.workers.clients.kubernetes.zones import GPU

Toleration: TypeAlias = Mapping[str, Any]
# Nodes with GPUs have this taint, so that nothing else goes there.
OF_GPUS: Toleration = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
# Of Kubernetes' own, and of who takes a node away: whoever tolerates these is not a pod of a user.
CLOSING = ("node.kubernetes.io/", "ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted")
CORDONED = "node.kubernetes.io/unschedulable"
SHUT = ("NoSchedule", "NoExecute")


def tolerations_of(template: Template) -> tuple[Toleration, ...]:
    """What every pod of ours tolerates."""
    spec = template.pod.get("spec") or {}
    return *(spec.get("tolerations") or ()), OF_GPUS


def closed_by(node: Any, tolerations: Iterable[Toleration]) -> str | None:
    """The key of a taint of a `V1Node` that keeps pods of ours away; None where they may go there. Not of a cordon."""
    for taint in (node.spec.taints if node.spec else None) or []:
        if taint.effect not in SHUT or taint.key == CORDONED:
            continue
        if taint.key.startswith(CLOSING) or not any(_tolerates(each, taint) for each in tolerations):
            return str(taint.key)
    return None


def _tolerates(toleration: Toleration, taint: Any) -> bool:
    """As the scheduler compares them: without a key all keys, without an effect all effects."""
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.key)
    return toleration.get("key") == taint.key and (toleration.get("value") or "") == (taint.value or "")
