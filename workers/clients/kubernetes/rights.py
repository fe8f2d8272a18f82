"""The rights that a worker needs at its cluster: its start looks for them, and deploy/ grants them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes import client

from pgfleet.workers.clients.kubernetes.answers import asked, or_none
from pgfleet.workers.runtime.outcomes import NeverError, NoPlaceError, NotNowError, TryAgainError

# What workers/clients/kubernetes/ calls, and no more; tests/kubectl/test_deploy.py compares. `make generated` writes
# deploy/chart/files/rights.yaml from it. A watch is the call of a list, with a right of its own.
IN_NAMESPACE: Mapping[str, tuple[str, ...]] = {
    "namespaces": ("get",),
    # Patched: a note that its keys have changed, which no admission lets be anything else.
    "pods": ("get", "list", "watch", "create", "patch", "delete"),
    # A command's websocket is opened by GET; from Kubernetes 1.35 on it needs the right to create as well.
    "pods/exec": ("get", "create"),
    "pods/log": ("get",),
    "services": ("get", "list", "watch", "create", "delete"),
    "configmaps": ("get", "list", "create", "patch", "delete"),
    "persistentvolumeclaims": ("get", "list", "create", "delete"),
    # The SSH keys that a gang has of its own, and what lets its pods in to each other. Nobody reads either, and both
    # go with the config map that owns them.
    "secrets": ("create",),
    "networkpolicies.networking.k8s.io": ("create",),
    "events": ("list", "watch"),
}
# Nodes and the volumes of disks belong to no namespace; and pods of others have GPUs of the same nodes.
IN_CLUSTER: Mapping[str, tuple[str, ...]] = {
    "nodes": ("get", "list", "watch"),
    "pods": ("list",),
    "persistentvolumes": ("get", "list", "create", "delete"),
}
HOW_TO_GRANT = "deploy/chart grants all of them (files/rights.yaml): helm upgrade, or kubectl apply -k your overlay"
TROUBLE = (NotNowError, NoPlaceError, TryAgainError, NeverError)


@dataclass(frozen=True, slots=True)
class Right:
    verb: str
    resource: str  # with its subresource: pods/exec; or with its group: networkpolicies.networking.k8s.io
    namespace: str | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """As an access review wants it."""
        path, _, subresource = self.resource.partition("/")
        resource, _, group = path.partition(".")
        where = {"namespace": self.namespace} if self.namespace else {}
        name = {"name": self.namespace} if self.namespace and resource == "namespaces" else {}
        of_group = {"group": group} if group else {}
        return {"verb": self.verb, "resource": resource, "subresource": subresource, **of_group, **where, **name}

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f" in namespace {self.namespace}" if self.namespace else "")

    @property
    def question(self) -> str:
        """The command that asks the same."""
        resource, _, subresource = self.resource.partition("/")
        options = f" --subresource={subresource}" if subresource else ""
        return f"kubectl auth can-i {self.verb} {resource}{options}" + (
            f" --namespace={self.namespace}" if self.namespace else ""
        )


def needed(namespace: str) -> Iterator[Right]:
    """Every right of a worker whose pods are in this namespace."""
    for resource, verbs in IN_NAMESPACE.items():
        yield from (Right(verb, resource, namespace) for verb in verbs)
    for resource, verbs in IN_CLUSTER.items():
        yield from (Right(verb, resource) for verb in verbs)


def lacking(api: client.CoreV1Api, namespace: str, timeout_s: float) -> list[str]:
    """What a worker lacks at its cluster, in words, with the commands that show and mend it; empty if nothing."""
    try:
        refused = [right for right in needed(namespace) if not _allowed(api, right, timeout_s)]
        if refused:
            return [f"the right to {right} ({right.question})" for right in refused] + [HOW_TO_GRANT]
        if or_none(lambda: api.read_namespace(namespace, _request_timeout=timeout_s)) is None:
            return [f"the namespace {namespace}: kubectl create namespace {namespace}, or set PGFLEET_NAMESPACE"]
    except TROUBLE as error:
        where = api.api_client.configuration.host
        return [f"an answer of Kubernetes at {where}: {error} (PGFLEET_KUBECONFIG, or the pod's service account)"]
    return []


def _allowed(api: client.CoreV1Api, right: Right, timeout_s: float) -> bool:
    """What the server says of itself, by one access review."""
    body: Any = {"spec": {"resourceAttributes": right.attributes}}
    review = client.V1SelfSubjectAccessReview.model_validate(body)
    reviews = client.AuthorizationV1Api(api.api_client)
    answer = asked(lambda: reviews.create_self_subject_access_review(review, _request_timeout=timeout_s))
    return bool(answer.status and answer.status.allowed)
