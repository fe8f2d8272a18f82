"""kubectl can use the sandbox; run by `pytest tests/kubectl` where kubectl is on the PATH."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pgfleet.console import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox import Box

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "namespace": "gpu-dev", "labels": {"app": "x"}},
    "spec": {
        "nodeSelector": {"GpuType": "h100"},
        "containers": [{"name": "main", "image": "busybox", "resources": {"limits": {"nvidia.com/gpu": "8"}}}],
    },
}


@pytest.fixture
def box() -> Iterator[Box]:
    with sandbox.running(["h100:1x8"], ready_delay_s=0.05, termination_delay_s=0.05) as running:
        yield running


def kubectl(box: Box, *arguments: str, document: Any = None) -> str:
    command = ["kubectl", f"--kubeconfig={box.kubeconfig}", *arguments]
    text = json.dumps(document) if document else None
    ended = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_kubectl_creates_waits_describes_and_deletes(box: Box) -> None:
    created = kubectl(box, "create", "--validate=false", "-f", "-", document=POD)
    kubectl(box, "wait", "--for=condition=Ready", "pod/a", "--timeout=30s")
    described = kubectl(box, "describe", "pod", "a")
    listed = kubectl(box, "get", "pods", "-A", "--no-headers")
    log = kubectl(box, "logs", "a")
    deleted = kubectl(box, "delete", "pod", "a")

    assert created == "pod/a created\n"
    assert "Successfully assigned gpu-dev/a to h100-1" in described
    assert listed.split()[:2] == ["gpu-dev", "a"]
    assert log == "sandbox: the container runs\n"
    assert 'pod "a" deleted' in deleted
    assert kubectl(box, "get", "pods", "-o", "name") == ""


def test_kubectl_applies_changes(box: Box) -> None:
    kubectl(box, "apply", "--validate=false", "-f", "-", document=POD)
    changed = POD | {"metadata": {"name": "a", "namespace": "gpu-dev", "labels": {"app": "z"}}}

    told = kubectl(box, "apply", "--validate=false", "-f", "-", document=changed)

    assert told == "pod/a configured\n"
    assert kubectl(box, "get", "pods", "-l", "app=z", "-o", "name") == "pod/a\n"


def test_kubectl_shows_volumes_and_runs_commands(box: Box) -> None:
    modes, storage = ["ReadWriteOnce"], {"storage": "10Gi"}
    csi = {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"}
    kinds = {
        "PersistentVolume": {"accessModes": modes, "capacity": storage, "csi": csi},
        "PersistentVolumeClaim": {"accessModes": modes, "resources": {"requests": storage}, "volumeName": "d"},
    }
    for kind, spec in kinds.items():
        document = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "d"}, "spec": spec}
        kubectl(box, "create", "--validate=false", "-f", "-", document=document)
    kubectl(box, "create", "--validate=false", "-f", "-", document=POD)
    kubectl(box, "wait", "--for=condition=Ready", "pod/a", "--timeout=30s")

    volumes = kubectl(box, "get", "pv,pvc", "--no-headers")
    listing = kubectl(box, "exec", "a", "--", "ls")
    kubectl(box, "delete", "pvc", "d")
    kubectl(box, "delete", "pv", "d")

    assert [line.split()[0] for line in volumes.splitlines() if "Bound" in line] == [
        "persistentvolume/d",
        "persistentvolumeclaim/d",
    ]
    assert listing.startswith("1.2G\t/home/dev\n")
    assert kubectl(box, "get", "pv,pvc", "-o", "name") == ""
