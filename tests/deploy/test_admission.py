"""What the token of the reservation worker may make: all that the program makes, and nothing that hurts anybody."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from kubernetes import client

from pgfleet.workers.clients.kubernetes.template.allowed import mistakes
from pgfleet.workers.clients.kubernetes.template.security import CAPABILITIES
from worlds.cluster.admission import WORKER, Asked, documents, policies
from worlds.cluster.bodies import NS, RICH, Body, bodies, makers

POLICIES = policies()
BODIES = bodies()
OURS = {"app.kubernetes.io/managed-by": "pgfleet"}


def refusals(asked: Asked) -> list[str]:
    return [message for policy in POLICIES for message in policy.refusals(asked)]


def made(resource: str, body: dict[str, Any], **asked: Any) -> Asked:
    where: dict[str, Any] = {} if resource != "persistentvolumes" else {"namespace": None}
    return Asked("CREATE", resource, body, **(where | group_of(resource) | asked))


def group_of(resource: str) -> dict[str, str]:
    return {"group": "networking.k8s.io"} if resource == "networkpolicies" else {}


def of(made_by: str, number: int = 0) -> dict[str, Any]:
    return deepcopy([each.body for each in BODIES if each.made_by == made_by][number])


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """With a value at a path such as `spec.containers.0.env`; None takes it away."""
    *way, last = path.split(".")
    at: Any = body
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
    if value is None:
        del at[last]
    elif last == "+":
        at.append(value)
    else:
        at[last] = value
    return body


def as_stored(body: Body) -> dict[str, Any]:
    """With what an API server adds before it judges."""
    stored = deepcopy(body.body)
    stored["metadata"] |= {"uid": "uid-9", "creationTimestamp": "2026-11-29T00:00:00Z"}
    if body.resource == "pods":
        stored["spec"] |= {"serviceAccountName": "default", "serviceAccount": "default", "dnsPolicy": "ClusterFirst"}
        stored["spec"] |= {"schedulerName": "default-scheduler", "preemptionPolicy": "Never", "priority": 0}
        stored["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP"
    return stored


def test_every_function_that_makes_a_body_is_tried() -> None:
    assert {each.made_by for each in BODIES} == makers()


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_all_that_the_program_makes_is_let_in(body: Body) -> None:
    assert refusals(made(body.resource, body.body)) == []
    assert refusals(made(body.resource, as_stored(body))) == []


def container(**given: Any) -> dict[str, Any]:
    """A pod with a container that somebody has added, which is as good as ours but for what is given."""
    body = of("pod_body")
    added = deepcopy(body["spec"]["containers"][0]) | {"name": "second"}
    security = added["securityContext"] | given.pop("securityContext", {})
    body["spec"]["containers"].append(added | {"securityContext": security} | given)
    return body


VOLUMES = "a volume is empty with a limit"
NODE = "a pod shares nothing with its node"
ACCOUNT = "a pod has no service account"
PRIVILEGES = "a container has no privileges"
VARIABLES = "a variable gives no GPUs"
SECCOMP = "a pod has the seccomp profile"
LIMITS = "a container has limits"
MOUNTS = "a mount is of a file system"
ADD = "spec.volumes.+"
TOKEN = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
ANNOTATIONS = "no annotation of a pod gives it devices"
PODS: list[tuple[str, Any, str]] = [
    ("metadata.annotations", {"cdi.k8s.io/gpu": "nvidia.com/gpu=all"}, ANNOTATIONS),
    (
        "metadata.annotations",
        {"container.apparmor.security.beta.kubernetes.io/gpu-dev": "unconfined"},
        ANNOTATIONS,
    ),
    ("metadata.name", "coredns", "a pod is called gpu-dev-"),
    ("metadata.labels", {"reservation": "gpu-dev-other", **OURS}, "a pod is called gpu-dev-"),
    ("metadata.labels", {"reservation": "gpu-dev-mmloahe6du"}, "a pod is called gpu-dev-"),
    ("spec.hostNetwork", True, NODE),
    ("spec.hostPID", True, NODE),
    ("spec.hostIPC", True, NODE),
    ("spec.nodeName", "control-plane-1", NODE),
    ("spec.priorityClassName", "system-node-critical", NODE),
    ("spec.resourceClaims", [{"name": "gpu", "resourceClaimName": "all"}], NODE),
    ("spec.automountServiceAccountToken", True, ACCOUNT),
    ("spec.automountServiceAccountToken", None, ACCOUNT),
    ("spec.serviceAccountName", "admin", ACCOUNT),
    ("spec.enableServiceLinks", True, ACCOUNT),
    ("spec.enableServiceLinks", None, ACCOUNT),
    (ADD, {"name": "a", "hostPath": {"path": "/"}}, VOLUMES),
    (ADD, {"name": "a", "emptyDir": {}}, VOLUMES),
    (ADD, {"name": "a", "emptyDir": {"sizeLimit": "0"}}, VOLUMES),
    (ADD, {"name": "a", "persistentVolumeClaim": {"claimName": "gpu-dev-another000-home"}}, VOLUMES),
    (ADD, {"name": "a", "persistentVolumeClaim": {"claimName": "postgres-data"}}, VOLUMES),
    (ADD, {"name": "a", "secret": {"secretName": "pgfleet-db-migrator"}}, VOLUMES),
    (ADD, {"name": "a", "secret": {"secretName": "gpu-dev-another000-gang-0123456789"}}, VOLUMES),
    (ADD, {"name": "a", "configMap": {"name": "gpu-dev-another000-keys"}}, VOLUMES),
    (ADD, {"name": "a", "projected": TOKEN}, VOLUMES),
    (ADD, {"name": "a", "csi": {"driver": "secrets-store.csi.k8s.io"}}, VOLUMES),
    (ADD, {"name": "a", "nfs": {"server": "10.0.0.1", "path": "/"}}, VOLUMES),
    (ADD, {"name": "a", "ephemeral": {"volumeClaimTemplate": {}}}, VOLUMES),
    (ADD, {"name": "a", "image": {"reference": "x"}}, VOLUMES),
    ("spec.securityContext", None, SECCOMP),
    ("spec.securityContext.seccompProfile.type", "Unconfined", SECCOMP),
    ("spec.containers.0.securityContext", None, PRIVILEGES),
    ("spec.containers.0.resources.limits", {"memory": "1Gi"}, LIMITS),
    ("spec.containers.0.resources.limits", {"ephemeral-storage": "1Gi"}, LIMITS),
    ("spec.initContainers", [{"name": "first", "image": "x"}], PRIVILEGES),
]


@pytest.mark.parametrize(("path", "value", "refused"), PODS)
def test_a_pod_that_is_none_of_a_user_is_refused(path: str, value: Any, refused: str) -> None:
    found = refusals(made("pods", changed(of("pod_body"), path, value)))

    assert [each for each in found if each.startswith(refused)], found


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"securityContext": {"privileged": True}}, PRIVILEGES),
        ({"securityContext": {"allowPrivilegeEscalation": True}}, PRIVILEGES),
        ({"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}}, PRIVILEGES),
        ({"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}}, PRIVILEGES),
        ({"securityContext": {"capabilities": {"drop": ["NET_RAW"]}}}, PRIVILEGES),
        ({"securityContext": {"capabilities": {}}}, PRIVILEGES),
        ({"securityContext": {"procMount": "Unmasked"}}, PRIVILEGES),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, SECCOMP),
        ({"ports": [{"containerPort": 22, "hostPort": 22}]}, "a container has no port of its node"),
        ({"resources": {}}, LIMITS),
        ({"volumeDevices": [{"name": "a", "devicePath": "/dev/a"}]}, MOUNTS),
        ({"volumeMounts": [{"name": "a", "mountPath": "/a", "mountPropagation": "Bidirectional"}]}, MOUNTS),
        ({"volumeMounts": [{"name": "a", "mountPath": "/a", "subPathExpr": "$(A)"}]}, MOUNTS),
        ({"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}, VARIABLES),
        ({"env": [{"name": "NVIDIA_VISIBLE_DEVICES"}]}, VARIABLES),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}}]}, VARIABLES),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "other", "key": "a"}}}]}, VARIABLES),
        ({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"path": "a"}}}]}, VARIABLES),
        ({"envFrom": [{"secretRef": {"name": "database"}}]}, VARIABLES),
    ],
    ids=str,
)
def test_no_container_of_a_pod_is_worse_than_ours(given: dict[str, Any], refused: str) -> None:
    first, added = container(**deepcopy(given)), container(**deepcopy(given))
    first["spec"]["initContainers"] = [first["spec"]["containers"].pop()]

    for body in (first, added):
        found = refusals(made("pods", body))

        assert [each for each in found if each.startswith(refused)], found


def test_a_second_container_as_good_as_ours_is_let_in() -> None:
    assert refusals(made("pods", container())) == []


def test_a_pod_of_a_gang_mounts_the_keys_of_no_other() -> None:
    body = changed(of("pod_body"), "metadata.labels.pgfleet/gang", "gpu-dev-mmloahe6du")

    for name, is_its in {"gpu-dev-mmloahe6du-gang-0": True, "gpu-dev-another000-gang-0": False}.items():
        found = refusals(made("pods", changed(deepcopy(body), ADD, {"name": "a", "secret": {"secretName": name}})))
        assert bool(found) is not is_its


SERVICE, CLAIM, VOLUME = of("ssh_service_body"), of("claim_body"), of("volume_body")
BELONGINGS: list[tuple[str, str, str, Any, str]] = [
    ("services", "ssh_service_body", "spec.type", "LoadBalancer", "a service is a port of the nodes"),
    ("services", "ssh_service_body", "spec.type", "ExternalName", "a service is a port of the nodes"),
    ("services", "ssh_service_body", "spec.externalName", "db.example", "a service is a port of the nodes"),
    ("services", "ssh_service_body", "spec.externalIPs", ["10.0.0.1"], "a service is a port of the nodes"),
    ("services", "ssh_service_body", "spec.selector", {"app": "db"}, "a service leads to its own pod"),
    ("services", "ssh_service_body", "spec.selector", None, "a service leads to its own pod"),
    ("services", "ssh_service_body", "spec.ports", [{"port": 5432}], "a service is for SSH"),
    ("services", "ssh_service_body", "metadata.name", "kubernetes", "a service is called after its pod"),
    ("services", "ssh_service_body", "metadata.labels", {"reservation": "gpu-dev-mmloahe6du"}, "a service is called"),
    ("configmaps", "keys_body", "data", {"authorized_keys": "", "sshd_config": ""}, "a config map has SSH keys"),
    ("configmaps", "keys_body", "binaryData", {"a": "AA=="}, "a config map has SSH keys"),
    ("configmaps", "keys_body", "metadata.name", "kube-root-ca.crt", "a config map is called after its pod"),
    ("persistentvolumeclaims", "claim_body", "spec.storageClassName", "gp3", "a claim is of the volume of its name"),
    ("persistentvolumeclaims", "claim_body", "spec.storageClassName", None, "a claim is of the volume of its name"),
    ("persistentvolumeclaims", "claim_body", "spec.volumeName", "other", "a claim is of the volume of its name"),
    ("persistentvolumeclaims", "claim_body", "spec.dataSource", {"name": "a"}, "a claim is of the volume of its name"),
    ("persistentvolumeclaims", "claim_body", "metadata.name", "postgres-data", "a claim is called after its pod"),
    ("secrets", "secret_body", "type", "kubernetes.io/service-account-token", "a secret has the SSH keys of a gang"),
    ("secrets", "secret_body", "stringData", {"token": "a"}, "a secret has the SSH keys of a gang"),
    ("secrets", "secret_body", "data", {"token": "YQ=="}, "a secret has the SSH keys of a gang"),
    ("secrets", "secret_body", "metadata.name", "pgfleet-db-migrator", "a secret is called after the first pod"),
    ("networkpolicies", "policy_body", "spec.podSelector", {}, "a network policy lets the pods of one gang"),
    ("networkpolicies", "policy_body", "spec.egress", [{}], "a network policy lets the pods of one gang"),
    ("networkpolicies", "policy_body", "spec.egress", [{"to": []}], "a network policy lets the pods of one gang"),
    (
        "networkpolicies",
        "policy_body",
        "spec.ingress.0.from.+",
        {"ipBlock": {}},
        "a network policy lets the pods of one",
    ),
    ("networkpolicies", "policy_body", "metadata.name", "internet", "a network policy is called after the first pod"),
    ("persistentvolumes", "volume_body", "spec.csi", None, "a volume is one of EBS"),
    ("persistentvolumes", "volume_body", "spec.csi.driver", "nfs.csi.k8s.io", "a volume is one of EBS"),
    ("persistentvolumes", "volume_body", "spec.csi.volumeHandle", "/dev/sda", "a volume is one of EBS"),
    ("persistentvolumes", "volume_body", "spec.csi.nodePublishSecretRef", {"name": "a"}, "a volume is one of EBS"),
    ("persistentvolumes", "volume_body", "spec.csi.volumeAttributes", {"a": "b"}, "a volume is one of EBS"),
    ("persistentvolumes", "volume_body", "spec.claimRef.namespace", "kube-system", "a volume is for the claim"),
    ("persistentvolumes", "volume_body", "spec.claimRef.name", "gpu-dev-another000-home", "a volume is for the claim"),
    ("persistentvolumes", "volume_body", "spec.claimRef", None, "a volume is for the claim"),
    ("persistentvolumes", "volume_body", "spec.persistentVolumeReclaimPolicy", "Delete", "a volume is kept"),
    ("persistentvolumes", "volume_body", "spec.storageClassName", "gp3", "a volume is kept"),
    ("persistentvolumes", "volume_body", "spec.mountOptions", ["exec"], "a volume is kept"),
    ("persistentvolumes", "volume_body", "metadata.name", "postgres-data", "a volume is called after its pod"),
]


@pytest.mark.parametrize(("resource", "made_by", "path", "value", "refused"), BELONGINGS)
def test_what_goes_with_a_pod_is_its_own(resource: str, made_by: str, path: str, value: Any, refused: str) -> None:
    found = refusals(made(resource, changed(of(made_by), path, value)))

    assert [each for each in found if each.startswith(refused)], found


def test_a_volume_of_a_path_of_a_node_is_refused() -> None:
    body = changed(changed(VOLUME, "spec.csi", None), "spec.hostPath", {"path": "/"})

    assert "a volume is one of EBS" in refusals(made("persistentvolumes", body))


# Of a pod that runs.
CHANGED: list[tuple[str, Any]] = [
    ("spec.containers.0.image", "evil"),
    ("spec.tolerations.+", {"operator": "Exists"}),
    ("metadata.labels.reservation", "gpu-dev-other"),
    ("metadata.finalizers", ["acme.com/kept"]),
    ("metadata.annotations.other", "x"),
    ("metadata.annotations.pgfleet/reservation-id", "another"),
]


def test_keys_are_added_and_the_pod_is_told() -> None:
    pod, keys = of("pod_body"), of("keys_body")
    more = changed(of("keys_body"), "data.authorized_keys", "ssh-rsa A\nssh-rsa B\n")
    told = of("pod_body")
    told["metadata"]["annotations"] = {**pod["metadata"]["annotations"], "pgfleet/keys-version": "7"}

    assert refusals(Asked("UPDATE", "configmaps", more, keys)) == []
    assert refusals(Asked("UPDATE", "pods", told, pod)) == []
    assert refusals(Asked("UPDATE", "pods", pod, told)) != []


def test_a_config_map_that_is_changed_has_keys_and_nothing_else() -> None:
    more = of("keys_body")
    more["data"]["profile"] = "x"

    assert refusals(Asked("UPDATE", "configmaps", more, of("keys_body"))) == ["a config map has SSH keys"]


@pytest.mark.parametrize(
    "asked",
    [
        Asked("CREATE", "pods", of("pod_body"), namespace="kube-system"),
        Asked("DELETE", "secrets", None, {"metadata": {"labels": OURS}}),
        Asked("DELETE", "networkpolicies", None, {"metadata": {"labels": OURS}}, group="networking.k8s.io"),
        Asked("UPDATE", "networkpolicies", {}, {}, group="networking.k8s.io"),
        Asked("CREATE", "serviceaccounts/token", {}),
        Asked("CREATE", "pods/eviction", {}),
        Asked("CREATE", "pods/binding", {}),
        Asked("UPDATE", "pods/ephemeralcontainers", of("pod_body"), of("pod_body")),
        *(Asked("UPDATE", "pods", changed(of("pod_body"), *to), of("pod_body")) for to in CHANGED),
        Asked("UPDATE", "configmaps", changed(of("keys_body"), "metadata.ownerReferences", []), of("keys_body")),
        Asked("UPDATE", "configmaps", of("keys_body"), changed(of("keys_body"), "metadata.labels", {"app": "db"})),
        Asked("UPDATE", "services", of("ssh_service_body"), of("ssh_service_body")),
        Asked("UPDATE", "persistentvolumes", VOLUME, VOLUME, namespace=None),
        Asked("UPDATE", "nodes", {}, {}, namespace=None),
        Asked("UPDATE", "nodes/status", {}, {}, namespace=None),
        Asked("DELETE", "nodes", None, {"metadata": {"labels": OURS}}, namespace=None),
        Asked("UPDATE", "namespaces", {}, {}, namespace=None),
        Asked("CREATE", "clusterrolebindings", {}, namespace=None, group="rbac.authorization.k8s.io"),
        Asked("CREATE", "deployments", {}, group="apps"),
        Asked("CONNECT", "pods/exec", {}, namespace="gpu-controlplane"),
        Asked("CONNECT", "pods/portforward", {}),
        Asked("CONNECT", "nodes/proxy", {}, namespace=None),
        Asked("CONNECT", "services/proxy", {}),
        Asked("DELETE", "pods", None, {"metadata": {"labels": {"app": "db"}}}),
        Asked("DELETE", "persistentvolumes", None, {"metadata": {}}, namespace=None),
        Asked("DELETE", "persistentvolumeclaims", None, {"metadata": {"labels": OURS}}, namespace="production"),
    ],
    ids=lambda asked: f"{asked.operation} {asked.resource}",
)
def test_whatever_else_the_account_is_granted_it_may_not_do(asked: Asked) -> None:
    assert [each for each in refusals(asked) if each.startswith("the reservation worker")]


# These go with what owns them.
OWNED = ("secrets", "networkpolicies")


@pytest.mark.parametrize("body", [each for each in BODIES if each.resource not in OWNED], ids=str)
def test_what_was_made_may_be_deleted(body: Body) -> None:
    namespace = None if body.resource == "persistentvolumes" else NS

    assert refusals(Asked("DELETE", body.resource, None, body.body, namespace=namespace)) == []


@pytest.mark.parametrize(
    "asked",
    [
        Asked("CONNECT", "pods/exec", {"container": "gpu-dev", "command": ["/bin/sh"]}),
        Asked("CREATE", "selfsubjectaccessreviews", {}, namespace=None, group="authorization.k8s.io"),
    ],
    ids=lambda asked: asked.resource,
)
def test_what_else_the_worker_asks_for_is_let_pass(asked: Asked) -> None:
    assert refusals(asked) == []


def test_others_are_none_of_these_policies_business() -> None:
    body = changed(of("pod_body"), "spec.hostNetwork", True)

    assert refusals(made("pods", body, user="system:node:node-1")) == []
    assert refusals(made("pods", body, user=WORKER)) != []


def test_policies_are_of_the_form_that_kubernetes_takes_and_each_is_in_force() -> None:
    found, bindings = documents("ValidatingAdmissionPolicy"), documents("ValidatingAdmissionPolicyBinding")
    for policy in found:
        client.V1ValidatingAdmissionPolicy.model_validate(policy)

        assert policy["spec"]["failurePolicy"] == "Fail"
        assert all(each["reason"] == "Forbidden" for each in policy["spec"]["validations"])
    for binding in bindings:
        client.V1ValidatingAdmissionPolicyBinding.model_validate(binding)

        assert binding["spec"]["validationActions"] == ["Deny"]
        assert "matchResources" not in binding["spec"]

    assert [each["metadata"]["name"] for each in found] == [each["spec"]["policyName"] for each in bindings]


def test_capabilities_are_the_same_in_the_program_and_in_the_policy() -> None:
    (pods,) = (each for each in POLICIES if each.name == "pgfleet-reservation-pods")
    (listed,) = (each["expression"] for each in pods.spec["variables"] if each["name"] == "capabilities")

    assert set(CAPABILITIES) == set(listed.replace("'", " ").replace(",", " ").strip("[]").split()) - {"[", "]"}


def test_what_a_template_may_say_is_let_in_by_the_policy_that_follows() -> None:
    assert list(mistakes(RICH)) == []
    assert {each.of for each in BODIES} >= {"GPUs and a template", "no GPUs and a template", "nobody and a template"}
