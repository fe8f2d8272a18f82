"""The pod template of the settings: read and checked when a worker starts."""

import json
from pathlib import Path
from typing import Any

import pytest

from pgfleet.schema.errors import FleetError
from pgfleet.schema.settings import read_settings
from pgfleet.workers.clients.kubernetes.template.reading import Template, read_template

GOOD = """
apiVersion: v1
kind: Pod
metadata:
  labels:
    team: research
spec:
  tolerations:
    - key: dedicated
      operator: Exists
      tolerationSeconds: 30
  containers:
    - name: gpu-dev
      resources:
        limits:
          cpu: 4
          memory: 16Gi
      env:
        - name: HTTPS_PROXY
          value: http://proxy:3128
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "template.yaml"


def read(file: Path, text: str, **settings: Any) -> Template:
    file.write_text(text, encoding="utf-8")
    return read_template(read_settings(pod_template=str(file), **settings))


def test_without_a_template_pods_are_as_they_are() -> None:
    assert read_template(read_settings(pod_image="acme/dev:1")) == Template("acme/dev:1", "gpu-dev", {})


def test_an_image_of_the_settings_that_is_none_is_said_at_the_start() -> None:
    with pytest.raises(FleetError, match="PGFLEET_POD_IMAGE: must be an image as registries name them"):
        read_settings(pod_image="acme/my dev")


def test_a_template_is_a_part_of_a_pod(file: Path) -> None:
    pod = read(file, GOOD).pod

    assert pod["metadata"] == {"labels": {"team": "research"}}
    assert pod["spec"]["tolerations"] == [{"key": "dedicated", "operator": "Exists", "tolerationSeconds": 30}]
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "16Gi"}


def test_json_is_yaml(file: Path) -> None:
    assert read(file, json.dumps({"spec": {"schedulerName": "volcano"}})).pod["spec"]["schedulerName"] == "volcano"


def test_an_empty_part_is_none(file: Path) -> None:
    assert "tolerations" not in read(file, "metadata:\nspec:\n  tolerations:\n").pod["spec"]


def test_a_priority_class_of_the_settings_is_every_pods(file: Path) -> None:
    assert read_template(read_settings(priority_class="reservations")).pod["spec"] == {
        "priorityClassName": "reservations"
    }
    assert read(file, GOOD, priority_class="reservations").pod["spec"]["priorityClassName"] == "reservations"


def test_two_priority_classes_are_one_too_many(file: Path) -> None:
    with pytest.raises(FleetError, match="PGFLEET_PRIORITY_CLASS is mine"):
        read(file, "spec: {priorityClassName: theirs}", priority_class="mine")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("spec: [", "neither YAML nor JSON"),
        ("- a", "has no object in it"),
        ("", "has no object in it"),
        ("kind: Deployment", "is a Pod of v1"),
        ("spec: 7", "spec: Input should be"),
        ("status: {phase: Running}", "status: a pod template may not set it"),
        ("metadata: {name: mine}", "metadata.name: a pod template may not set it"),
        ("metadata: {labels: {reservation: mine}}", "metadata.labels.reservation: is decided by pgfleet"),
        ("metadata: {labels: {a: true}}", "metadata.labels.a: Input should be a valid string"),
        ("metadata: {labels: {a b: c}}", "metadata.labels.a b: is no label"),
        ("metadata: {labels: {a: -c}}", "metadata.labels.a: is no label"),
        ("metadata: {annotations: {pgfleet/reservation-id: x}}", "pgfleet/reservation-id: is decided by pgfleet"),
        ("spec: {tolerationss: []}", "spec.tolerationss: Extra inputs are not permitted"),
        ("spec: {tolerations: [{key: 7}]}", "spec.tolerations.0.key: Input should be a valid string"),
        ("spec: {restartPolicy: Always}", "spec.restartPolicy: a pod template may not set it"),
        ("spec: {hostNetwork: true}", "spec.hostNetwork: a pod template may not set it"),
        ("spec: {automountServiceAccountToken: true}", "spec.automountServiceAccountToken: a pod template may not"),
        ("spec: {nodeSelector: {GpuType: a100}}", "spec.nodeSelector.GpuType: is decided by pgfleet"),
        ("spec: {volumes: [{name: keys, emptyDir: {}}]}", "spec.volumes.keys: is decided by pgfleet"),
        ("spec: {containers: [{name: other, image: x}]}", "spec.containers.other: the only container"),
        ("spec: {containers: [{image: x}]}", "spec.containers.0.name: Field required"),
        ("spec: {containers: [{name: gpu-dev, image: x}]}", "spec.containers.gpu-dev.image: a pod template may not"),
        (
            "spec: {containers: [{name: gpu-dev, env: [{name: RESERVATION_ID, value: x}]}]}",
            "spec.containers.gpu-dev.env.RESERVATION_ID: is decided by pgfleet",
        ),
        (
            "spec: {containers: [{name: gpu-dev, volumeMounts: [{name: a, mountPath: /home/dev/}]}]}",
            "volumeMounts./home/dev/: is decided by pgfleet",
        ),
        (
            "spec: {containers: [{name: gpu-dev, resources: {limits: {nvidia.com/gpu: 1}}}]}",
            "resources.limits.nvidia.com/gpu: is decided by pgfleet",
        ),
        (
            "spec: {containers: [{name: gpu-dev, resources: {limits: {memory: 16 GB}}}]}",
            "resources.limits.memory: 16 GB is no quantity",
        ),
    ],
)
def test_what_a_template_may_not_say_is_refused_by_its_name(file: Path, text: str, wrong: str) -> None:
    with pytest.raises(FleetError) as refused:
        read(file, text)

    assert f"PGFLEET_POD_TEMPLATE: {file}" in str(refused.value)
    assert wrong in str(refused.value)


OF_CONTAINER = "spec: {{containers: [{{name: gpu-dev, {}}}]}}"
OF_VOLUME = "spec: {{volumes: [{{name: data, {}}}]}}"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (OF_CONTAINER.format("securityContext: {privileged: true}"), "gpu-dev.securityContext.privileged: a pod temp"),
        (OF_CONTAINER.format("securityContext: {allowPrivilegeEscalation: true}"), "allowPrivilegeEscalation: a pod"),
        (OF_CONTAINER.format("securityContext: {capabilities: {add: [SYS_ADMIN]}}"), "capabilities: a pod template"),
        (OF_CONTAINER.format("securityContext: {procMount: Unmasked}"), "procMount: a pod template may not"),
        (OF_CONTAINER.format("securityContext: {seccompProfile: {type: Unconfined}}"), "seccompProfile: a pod templ"),
        (OF_CONTAINER.format("ports: [{containerPort: 1, hostPort: 1}]"), "gpu-dev.ports: a pod template may not"),
        (OF_CONTAINER.format("env: [{name: NVIDIA_VISIBLE_DEVICES, value: all}]"), "DEVICES: is decided by pgfleet"),
        (
            OF_CONTAINER.format("env: [{name: A, valueFrom: {secretKeyRef: {name: database, key: url}}}]"),
            "env.A.valueFrom.secretKeyRef.name: a pod template may only name what is called shared-",
        ),
        (OF_CONTAINER.format("envFrom: [{secretRef: {name: database}}]"), "envFrom.secretRef.name: a pod template may"),
        (
            OF_CONTAINER.format("volumeMounts: [{name: a, mountPath: /a, subPathExpr: $(USER)}]"),
            "volumeMounts./a.subPathExpr: a pod template may not",
        ),
        (
            OF_CONTAINER.format("volumeMounts: [{name: a, mountPath: /a, mountPropagation: Bidirectional}]"),
            "volumeMounts./a.mountPropagation: a pod template may not",
        ),
        (OF_CONTAINER.format("resources: {requests: {memory: 1Gi}}"), "resources.limits.memory: is needed"),
        (OF_CONTAINER.format("resources: {requests: {ephemeral-storage: 1Gi}}"), "limits.ephemeral-storage: is needed"),
        (OF_VOLUME.format("hostPath: {path: /}"), "spec.volumes.data.hostPath: a volume of a pod template is one of"),
        (OF_VOLUME.format("projected: {sources: [{serviceAccountToken: {path: t}}]}"), "data.projected: a volume of"),
        (OF_VOLUME.format("csi: {driver: x}"), "spec.volumes.data.csi: a volume of a pod template is one of"),
        (OF_VOLUME.format("emptyDir: {}"), "spec.volumes.data.emptyDir.sizeLimit: is needed"),
        (OF_VOLUME.format("emptyDir: {sizeLimit: 0Gi}"), "spec.volumes.data.emptyDir.sizeLimit: is needed, and 0 is"),
        (
            OF_VOLUME.format("persistentVolumeClaim: {claimName: gpu-dev-mmloahe6du-home}"),
            "spec.volumes.data.persistentVolumeClaim.claimName: a pod template may only name what is called shared-",
        ),
        (OF_VOLUME.format("secret: {secretName: database}"), "data.secret.secretName: a pod template may only name"),
        ("spec: {volumes: [{name: workspace, hostPath: {path: /}}]}", "spec.volumes.workspace.hostPath: a volume of"),
        ("spec: {securityContext: {seccompProfile: {type: Unconfined}}}", "spec.securityContext.seccompProfile: a pod"),
        ("spec: {securityContext: {sysctls: [{name: a, value: b}]}}", "spec.securityContext.sysctls: a pod template"),
        ("spec: {serviceAccountName: admin}", "spec.serviceAccountName: a pod template may not set it"),
        ("spec: {hostIPC: true}", "spec.hostIPC: a pod template may not set it"),
        ("spec: {enableServiceLinks: true}", "spec.enableServiceLinks: a pod template may not set it"),
        ("spec: {initContainers: [{name: a, image: b}]}", "spec.initContainers: a pod template may not set it"),
        ("spec: {nodeName: control-plane-1}", "spec.nodeName: a pod template may not set it"),
        ("spec: {priorityClassName: system-node-critical}", "spec.priorityClassName: classes called system-"),
        (
            "metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/gpu-dev: unconfined}}",
            "kubernetes.io/gpu-dev: is decided by pgfleet",
        ),
        ("metadata: {annotations: {cdi.k8s.io/gpu: nvidia.com/gpu=all}}", "cdi.k8s.io/gpu: is decided by pgfleet"),
    ],
)
def test_what_would_weaken_every_pod_is_refused_by_its_name(file: Path, text: str, wrong: str) -> None:
    with pytest.raises(FleetError) as refused:
        read(file, text)

    assert wrong in str(refused.value)


def test_what_all_pods_may_have_is_called_shared(file: Path) -> None:
    volumes = "[{name: data, persistentVolumeClaim: {claimName: shared-data}}, {name: tmp, emptyDir: {sizeLimit: 1Gi}}]"
    env = "[{name: TOKEN, valueFrom: {secretKeyRef: {name: shared-registry, key: token}}}]"
    container = f"{{name: gpu-dev, env: {env}, envFrom: [{{configMapRef: {{name: shared-settings}}}}]}}"

    spec = read(file, f"spec: {{volumes: {volumes}, containers: [{container}]}}").pod["spec"]

    assert [each["name"] for each in spec["volumes"]] == ["data", "tmp"]


def test_a_priority_class_of_the_cluster_is_not_for_reservations() -> None:
    with pytest.raises(FleetError, match=r"PGFLEET_PRIORITY_CLASS: classes called system-"):
        read_template(read_settings(priority_class="system-cluster-critical"))


def test_all_that_is_wrong_is_told_at_once(file: Path) -> None:
    with pytest.raises(FleetError) as refused:
        read(file, "metadata: {name: mine}\nspec: {hostPID: true}")

    assert "metadata.name" in str(refused.value)
    assert "spec.hostPID" in str(refused.value)


def test_a_template_that_is_not_there_is_told_by_its_path() -> None:
    with pytest.raises(FleetError, match=r"PGFLEET_POD_TEMPLATE: /nowhere/t\.yaml can't be read"):
        read_template(read_settings(pod_template="/nowhere/t.yaml"))
