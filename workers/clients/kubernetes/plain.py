"""Bodies about nobody: what a dry run sends to find out whose trouble a refusal is.

They have the shape of a reservation's and the template of the settings, and nothing that a user wrote. If such a pod is
refused, the reason is in no reservation.
"""

import secrets
from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.manifest import About, Size, assembled, labels, size_of, ssh_service_spec
from pgfleet.workers.clients.kubernetes.names import keys_name, ssh_name
from pgfleet.workers.clients.kubernetes.template.reading import Template

TINY = Size(gpu_type=None, gpus=0, cpu_m=10, memory_mi=16)


def plain_pod(template: Template) -> dict[str, Any]:
    """A tiny pod for any node."""
    return _pod(TINY, template)


def plain_pod_like(row: Row, gpu_type: Row, template: Template) -> dict[str, Any]:
    """A pod of a row's type, GPUs, CPU and memory."""
    return _pod(size_of(row, gpu_type), template)


def plain_service(namespace: str) -> dict[str, Any]:
    """A service for SSH, to no pod."""
    pod = _name()
    return {
        "metadata": {"name": ssh_name(pod), "namespace": namespace, "labels": labels(pod)},
        "spec": ssh_service_spec(pod),
    }


def plain_keys(namespace: str) -> dict[str, Any]:
    """A config map of SSH keys, without any, of no pod."""
    pod = _name()
    return {"metadata": {"name": keys_name(pod), "namespace": namespace, "labels": labels(pod)}, "data": {}}


def _pod(size: Size, template: Template) -> dict[str, Any]:
    return assembled(About(_name(), {}, size, {"image": template.image}), template)


def _name() -> str:
    return f"gpu-dev-probe-{secrets.token_hex(5)}"
