"""The bodies of a reservation's pod and of what goes with it, made from its row and the template (SPEC 2.1).

    what any pod has <- the template of the settings <- what pgfleet decides

Each is merged over the one before. Kubernetes expands `$(NAME)` in variables, command and arguments: what a user wrote
has each `$` doubled, and so reaches the container as it was written.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.names import (
    CONTAINER,
    DEVICES,
    HOME,
    KEYS_FILE,
    KEYS_FOLDER,
    NVIDIA,
    UNASKED,
    WITHOUT_KEYS,
    home_name,
    jupyter_name,
    keys_name,
    ssh_name,
)
from pgfleet.workers.clients.kubernetes.pod import RESERVATION_ID
from pgfleet.workers.clients.kubernetes.template.merging import merged
from pgfleet.workers.clients.kubernetes.template.reading import Template
from pgfleet.workers.clients.kubernetes.template.security import CONTAINER_SECURITY, POD_SECURITY
from pgfleet.workers.clients.kubernetes.template.taints import OF_GPUS
from pgfleet.workers.clients.kubernetes.zones import GPU, GPU_TYPE

# A cpu type has no GPUs to take a proportion of: four reservations share one machine.
CPU_TYPE_SHARE = 0.25
REQUESTED_PART = 0.9
# Of the pod's memory. Shared memory counts as the container's; all else that is written is on the node's disk, which
# others share. Nodes have disks of any size, so little is asked for: whoever writes more than that goes first when a
# disk is full, and whoever doesn't stays.
SHARED_MEMORY_PART = 0.5
WORKSPACE_PART = 2
WRITTEN_PART = 2.5  # the workspace, the image's own files and the logs
WRITTEN_REQUEST_PART = 1 / 32
WRITTEN = "ephemeral-storage"
SSH_PORT = 22
JUPYTER_PORT = 8888
GRACE_S = 10
KEYS_VARIABLE = "SSH_PUBLIC_KEYS_FILE"


@dataclass(frozen=True, slots=True)
class Size:
    """What a pod may use; `gpu_type` None is any node."""

    gpu_type: str | None
    gpus: int
    cpu_m: int
    memory_mi: int


@dataclass(frozen=True, slots=True)
class About:
    """What is special about one pod. `container` is what its user chose: image, command, variables."""

    name: str
    annotations: Mapping[str, str]
    size: Size
    container: Mapping[str, Any]
    home: bool = False


def pod_body(row: Row, gpu_type: Row, template: Template, *, home: bool = False) -> dict[str, Any]:
    """The pod: its readiness is SSH answering, so the worker needs no route to the node.

    With a `home`, the claim of its name is mounted at /home/dev. The pod waits until there is one, and until there is
    the config map with its users' SSH keys.
    """
    annotations = {RESERVATION_ID: row.reservation_id}
    return assembled(About(row.pod_name, annotations, size_of(row, gpu_type), _chosen(row, template), home), template)


def assembled(about: About, template: Template) -> dict[str, Any]:
    """A body of its own: who changes it changes no other, and not the template."""
    body = merged(merged(_defaults(about.size, template.pod), template.pod), _decided(about, template.namespace))
    return deepcopy(body)


def size_of(row: Row, gpu_type: Row) -> Size:
    """In proportion to its GPUs."""
    share = row.gpu_count / gpu_type.max_gpus if gpu_type.max_gpus else CPU_TYPE_SHARE
    cpu_m, memory_mi = gpu_type.cpus * 1000 * share, gpu_type.memory_gb * 1024 * share
    return Size(row.gpu_type, row.gpu_count, int(cpu_m), int(memory_mi))


def ssh_service_body(row: Row, pod_uid: str, namespace: str) -> dict[str, Any]:
    """The NodePort that SSH comes in by; owned by the pod, so it never outlives it."""
    return {"metadata": owned(row, ssh_name(row.pod_name), pod_uid, namespace), "spec": ssh_service_spec(row.pod_name)}


def ssh_service_spec(pod: str) -> dict[str, Any]:
    return _port_of_nodes(pod, "ssh", SSH_PORT)


def jupyter_service_body(row: Row, pod_uid: str, namespace: str) -> dict[str, Any]:
    """The NodePort that Jupyter is reached by; owned by the pod, too."""
    metadata = owned(row, jupyter_name(row.pod_name), pod_uid, namespace)
    return {"metadata": metadata, "spec": _port_of_nodes(row.pod_name, "jupyter", JUPYTER_PORT)}


def _port_of_nodes(pod: str, name: str, port: int) -> dict[str, Any]:
    """Of both families where the cluster has both: which address of a node is handed out, is the node's to say."""
    return {
        "type": "NodePort",
        "ipFamilyPolicy": "PreferDualStack",
        "selector": {"reservation": pod},
        "ports": [{"name": name, "port": port, "targetPort": port, "protocol": "TCP"}],
    }


def keys_body(
    row: Row, pod_uid: str, keys: Sequence[str], namespace: str, without: Sequence[str] = ()
) -> dict[str, Any]:
    """The config map with the SSH keys of a pod's users: a variable holds no more than 128 KiB.

    It says which users are `without` keys, for a worker that finds it.
    """
    text = "".join(f"{key}\n" for key in keys)
    metadata = owned(row, keys_name(row.pod_name), pod_uid, namespace)
    if without:
        metadata["annotations"][WITHOUT_KEYS] = ",".join(without)
    return {"metadata": metadata, "data": {KEYS_FILE: text}}


def labels(pod: str) -> dict[str, str]:
    return {"reservation": pod, "app.kubernetes.io/managed-by": "pgfleet"}


def as_written(text: str) -> str:
    """So that Kubernetes expands nothing in it."""
    return text.replace("$", "$$")


def owned(row: Row, name: str, pod_uid: str, namespace: str) -> dict[str, Any]:
    """The metadata of what goes with its pod, and goes when that goes."""
    return {
        "name": name,
        "namespace": namespace,
        "labels": labels(row.pod_name),
        "annotations": {RESERVATION_ID: row.reservation_id},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": row.pod_name, "uid": pod_uid}],
    }


def _chosen(row: Row, template: Template) -> dict[str, Any]:
    environment = {name: as_written(value) for name, value in (row.env_vars or {}).items()}
    environment |= {"RESERVATION_ID": row.reservation_id}
    chosen = {
        "image": row.dockerimage or template.image,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
    }
    if row.command:
        part = "args" if row.preserve_entrypoint else "command"
        chosen[part] = ["/bin/sh", "-c", as_written(row.command)]
    return chosen


def _defaults(size: Size, template: Mapping[str, Any]) -> dict[str, Any]:
    """What a template may change."""
    container = {
        "name": CONTAINER,
        "env": [{"name": name, "value": value} for name, value in UNASKED.items()],
        "resources": _resources(size, _given_amounts(template)),
        "volumeMounts": [
            {"name": "workspace", "mountPath": "/workspace"},
            {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108  # a mount point in the pod
        ],
    }
    return {
        "spec": {
            "tolerations": [dict(OF_GPUS)],
            "containers": [container],
            "volumes": [
                {"name": "workspace", "emptyDir": {"sizeLimit": _part(size, WORKSPACE_PART)}},
                {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": _part(size, SHARED_MEMORY_PART)}},
            ],
        }
    }


def _resources(size: Size, given: frozenset[str]) -> dict[str, dict[str, str]]:
    """What the template does not speak of: its request and our limit might contradict each other."""
    requests = {
        "cpu": f"{int(size.cpu_m * REQUESTED_PART)}m",
        "memory": _part(size, REQUESTED_PART),
        WRITTEN: _part(size, WRITTEN_REQUEST_PART),
    }
    limits = {"cpu": f"{size.cpu_m}m", "memory": _part(size, 1), WRITTEN: _part(size, WRITTEN_PART)}
    both = {"requests": requests, "limits": limits}
    return {part: {name: each for name, each in amounts.items() if name not in given} for part, amounts in both.items()}


def _part(size: Size, of_memory: float) -> str:
    return f"{max(int(size.memory_mi * of_memory), 1)}Mi"


def _given_amounts(template: Mapping[str, Any]) -> frozenset[str]:
    containers = (template.get("spec") or {}).get("containers") or ()
    parts = [part for container in containers for part in (container.get("resources") or {}).values()]
    return frozenset(name for part in parts for name in part)


def _decided(about: About, namespace: str) -> dict[str, Any]:
    """What no template changes."""
    spec: dict[str, Any] = {
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": GRACE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "containers": [_container(about)],
        "volumes": [{"name": "keys", "configMap": {"name": keys_name(about.name), "defaultMode": 0o444}}],
    }
    if about.size.gpu_type is not None:
        spec["nodeSelector"] = {GPU_TYPE: about.size.gpu_type}
    if about.home:
        spec["volumes"].append({"name": "home", "persistentVolumeClaim": {"claimName": home_name(about.name)}})
    metadata = {
        "name": about.name,
        "namespace": namespace,
        "labels": labels(about.name),
        "annotations": about.annotations,
    }
    return {"metadata": metadata, "spec": spec}


def _container(about: About) -> dict[str, Any]:
    """The keys are a folder and no single file, so that keys that are added later are seen in it."""
    gpus = {GPU: str(about.size.gpus)} if about.size.gpus else {}
    chosen = dict(about.container)
    mounts: list[dict[str, Any]] = [{"name": "keys", "mountPath": KEYS_FOLDER, "readOnly": True}]
    if about.home:
        mounts.append({"name": "home", "mountPath": HOME})
    return {
        "name": CONTAINER,
        **chosen,
        "env": _environment(about, chosen.get("env", ())),
        "securityContext": CONTAINER_SECURITY,
        "ports": [{"containerPort": SSH_PORT}],
        "readinessProbe": {"tcpSocket": {"port": SSH_PORT}, "periodSeconds": 5},
        "resources": {"requests": gpus, "limits": gpus},
        "volumeMounts": mounts,
    }


def _environment(about: About, chosen: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """A pod without GPUs says so to a runtime that would else go by its image; one with GPUs has the device plugin's.

    A variable of a pod goes before that of the plugin, so none of NVIDIA's is taken from its user.
    """
    env = [each for each in chosen if each["name"] != KEYS_VARIABLE and not each["name"].startswith(NVIDIA)]
    env.append({"name": KEYS_VARIABLE, "value": f"{KEYS_FOLDER}/{KEYS_FILE}"})
    return env if about.size.gpus else [*env, {"name": DEVICES, "value": "void"}]
