"""The bodies of a reservation's pod and service, made from its row alone (SPEC 2.1)."""

from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.pod import RESERVATION_ID

# A cpu type has no GPUs to take a proportion of: four reservations share one machine.
CPU_TYPE_SHARE = 0.25
REQUESTED_PART = 0.9
SSH_PORT = 22
HOME = "/home/dev"
CONTAINER = "gpu-dev"
GRACE_S = 10


def pod_body(  # noqa: PLR0913  # all that the row doesn't say
    row: Row, gpu_type: Row, keys: list[str], default_image: str, namespace: str, *, home: bool = False
) -> dict[str, Any]:
    """The pod: its readiness is SSH answering, so the worker needs no route to the node.

    With a `home`, the claim of its name is mounted at /home/dev; the pod waits until there is one.
    """
    body: dict[str, Any] = {
        "metadata": {
            "name": row.pod_name,
            "namespace": namespace,
            "labels": labels(row),
            "annotations": {RESERVATION_ID: row.reservation_id},
        },
        "spec": {
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": GRACE_S,
            "nodeSelector": {"GpuType": row.gpu_type},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "containers": [_container(row, gpu_type, keys, default_image)],
            "volumes": [
                {"name": "workspace", "emptyDir": {}},
                {"name": "dshm", "emptyDir": {"medium": "Memory"}},
            ],
        },
    }
    if home:
        _mount_home(body["spec"], home_name(row.pod_name))
    return body


def ssh_service_body(row: Row, pod_uid: str, namespace: str) -> dict[str, Any]:
    """The NodePort that SSH comes in by; owned by the pod, so it never outlives it."""
    return {
        "metadata": {
            "name": f"{row.pod_name}-ssh",
            "namespace": namespace,
            "labels": labels(row),
            "annotations": {RESERVATION_ID: row.reservation_id},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": row.pod_name, "uid": pod_uid}],
        },
        "spec": {
            "type": "NodePort",
            "selector": {"reservation": row.pod_name},
            "ports": [{"name": "ssh", "port": SSH_PORT, "targetPort": SSH_PORT, "protocol": "TCP"}],
        },
    }


def home_name(pod: str) -> str:
    """The name of a pod's persistent volume and of its claim."""
    return f"{pod}-home"


def labels(row: Row) -> dict[str, str]:
    return {"reservation": row.pod_name, "app.kubernetes.io/managed-by": "pgfleet"}


def _mount_home(spec: dict[str, Any], claim: str) -> None:
    spec["volumes"].append({"name": "home", "persistentVolumeClaim": {"claimName": claim}})
    for container in spec["containers"]:
        container["volumeMounts"].append({"name": "home", "mountPath": HOME})


def _container(row: Row, gpu_type: Row, keys: list[str], default_image: str) -> dict[str, Any]:
    environment = {**row.env_vars, "RESERVATION_ID": row.reservation_id, "SSH_PUBLIC_KEYS": "\n".join(keys)}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": row.dockerimage or default_image,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"containerPort": SSH_PORT}],
        "readinessProbe": {"tcpSocket": {"port": SSH_PORT}, "periodSeconds": 5},
        "resources": _resources(row, gpu_type),
        "volumeMounts": [
            {"name": "workspace", "mountPath": "/workspace"},
            {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108  # a mount point in the pod
        ],
    }
    if row.command:
        part = "args" if row.preserve_entrypoint else "command"
        container[part] = ["/bin/sh", "-c", row.command]
    return container


def _resources(row: Row, gpu_type: Row) -> dict[str, dict[str, str]]:
    share = row.gpu_count / gpu_type.max_gpus if gpu_type.max_gpus else CPU_TYPE_SHARE
    cpu_m, memory_mi = gpu_type.cpus * 1000 * share, gpu_type.memory_gb * 1024 * share
    gpus = {"nvidia.com/gpu": str(row.gpu_count)} if row.gpu_count else {}
    return {
        "requests": {
            "cpu": f"{int(cpu_m * REQUESTED_PART)}m",
            "memory": f"{int(memory_mi * REQUESTED_PART)}Mi",
            **gpus,
        },
        "limits": {"cpu": f"{int(cpu_m)}m", "memory": f"{int(memory_mi)}Mi", **gpus},
    }
