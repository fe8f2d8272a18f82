"""What is sent to Kubernetes for a reservation: by its row, its type and the template of the settings."""

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from pgfleet.workers.clients.kubernetes.manifest import keys_body, pod_body, ssh_service_body
from pgfleet.workers.clients.kubernetes.names import UNASKED
from pgfleet.workers.clients.kubernetes.plain import plain_pod, plain_pod_like, plain_service
from pgfleet.workers.clients.kubernetes.template.reading import Template
from pgfleet.workers.clients.kubernetes.template.security import CAPABILITIES
from pgfleet.workers.reservation.pod.refusals import elsewhere

ID, POD = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "gpu-dev-mmloahe6du"
H100: Any = SimpleNamespace(max_gpus=8, cpus=192, memory_gb=2048)
CPU: Any = SimpleNamespace(max_gpus=0, cpus=32, memory_gb=64)


def row(**given: Any) -> Any:
    plain: dict[str, Any] = {"env_vars": {}, "dockerimage": None, "command": None, "preserve_entrypoint": False}
    asked = {"reservation_id": ID, "pod_name": POD, "gpu_type": "h100", "gpu_count": 2}
    return SimpleNamespace(**(plain | asked | given))


def pod(pod_template: dict[str, Any] | None = None, *, home: bool = False, **given: Any) -> dict[str, Any]:
    body = pod_body(row(**given), H100, Template("acme/dev:1", "gpu-dev", pod_template or {}), home=home)
    client.V1Pod.model_validate(body)
    return body


def container(pod_template: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    (only,) = pod(pod_template, **given)["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def environment(pod_template: dict[str, Any] | None = None, **given: Any) -> dict[str, str]:
    """Without what images are kept from."""
    found = {each["name"]: each["value"] for each in container(pod_template, **given)["env"]}
    return {name: value for name, value in found.items() if name not in UNASKED}


def of_container(**given: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "gpu-dev", **given}]}}


def test_a_pod_of_a_user_has_no_rights_and_knows_nobody() -> None:
    spec = pod()["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["restartPolicy"] == "OnFailure"
    assert spec["nodeSelector"] == {"GpuType": "h100"}


def test_cpu_memory_and_room_are_in_proportion_to_gpus() -> None:
    body = pod(gpu_count=2)

    resources = body["spec"]["containers"][0]["resources"]
    assert resources["requests"] == {
        "cpu": "43200m",
        "memory": "471859Mi",
        "ephemeral-storage": "16384Mi",
        "nvidia.com/gpu": "2",
    }
    assert resources["limits"] == {
        "cpu": "48000m",
        "memory": "524288Mi",
        "ephemeral-storage": "1310720Mi",
        "nvidia.com/gpu": "2",
    }
    limits = {each["name"]: each["emptyDir"]["sizeLimit"] for each in body["spec"]["volumes"] if "emptyDir" in each}
    assert limits == {"workspace": "1048576Mi", "dshm": "262144Mi"}


def test_without_gpus_it_asks_for_none() -> None:
    body = pod_body(row(gpu_type="cpu-x86", gpu_count=0), CPU, Template("acme/dev:1", "gpu-dev"))

    assert body["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "8000m",
        "memory": "16384Mi",
        "ephemeral-storage": "40960Mi",
    }


def test_without_gpus_no_image_and_no_user_gets_those_of_the_node() -> None:
    asked = row(gpu_type="cpu-x86", gpu_count=0, env_vars={"NVIDIA_VISIBLE_DEVICES": "all", "A": "1"})

    body = pod_body(asked, CPU, Template("acme/dev:1", "gpu-dev"))

    env = [(each["name"], each["value"]) for each in body["spec"]["containers"][0]["env"]]
    assert [value for name, value in env if name == "NVIDIA_VISIBLE_DEVICES"] == ["void"]
    assert ("A", "1") in env


@pytest.mark.parametrize("name", UNASKED)
def test_what_all_gpus_of_a_node_share_is_for_an_operator_to_give(name: str) -> None:
    def value(pod_template: dict[str, Any] | None = None) -> list[str]:
        sent = container(pod_template, env_vars={name: "enabled"})
        return [each["value"] for each in sent["env"] if each["name"] == name]

    assert value() == [UNASKED[name]]
    assert value(of_container(env=[{"name": name, "value": "allowed"}])) == ["allowed"]


@pytest.mark.parametrize("name", ["NVIDIA_VISIBLE_DEVICES", "NVIDIA_DISABLE_REQUIRE", "NVIDIA_MIG_CONFIG_DEVICES"])
def test_with_gpus_the_device_plugin_alone_says_which(name: str) -> None:
    assert not [each for each in environment(env_vars={name: "all"}) if each.startswith("NVIDIA_")]


@pytest.mark.parametrize("text", ["$(HOME)", "$$", "$PATH", "a$", "$(RESERVATION_ID)$$(x)"])
def test_what_a_user_wrote_reaches_the_container_as_it_was_written(text: str) -> None:
    sent = container(env_vars={"A": text}, command=text)

    assert expanded(next(each["value"] for each in sent["env"] if each["name"] == "A")) == text
    assert list(map(expanded, sent["command"])) == ["/bin/sh", "-c", text]
    assert list(map(expanded, container(command=text, preserve_entrypoint=True)["args"])) == ["/bin/sh", "-c", text]


def test_variables_that_pgfleet_sets_are_there_once() -> None:
    sent = container(env_vars={"SSH_PUBLIC_KEYS_FILE": "/tmp/keys", "RESERVATION_ID": "mine", "A": "1"})  # noqa: S108

    found = sorted((each["name"], each["value"]) for each in sent["env"] if each["name"] not in UNASKED)
    assert found == [
        ("A", "1"),
        ("RESERVATION_ID", ID),
        ("SSH_PUBLIC_KEYS_FILE", "/etc/pgfleet/ssh/authorized_keys"),
    ]


def expanded(text: str) -> str:
    """As the kubelet does it (third_party/forked/golang/expansion), where every variable has the value X."""
    done, at = "", 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            done, at = done + text[at], at + 1
        elif text[at + 1] == "$":
            done, at = done + "$", at + 2
        elif text[at + 1] == "(" and ")" in text[at:]:
            done, at = done + "X", text.index(")", at) + 1
        else:
            done, at = done + text[at : at + 2], at + 2
    return done


def test_ssh_keys_are_a_file_and_no_variable() -> None:
    sent = container()

    assert environment() == {"RESERVATION_ID": ID, "SSH_PUBLIC_KEYS_FILE": "/etc/pgfleet/ssh/authorized_keys"}
    assert {"name": "keys", "mountPath": "/etc/pgfleet/ssh", "readOnly": True} in sent["volumeMounts"]
    assert {"name": "keys", "configMap": {"name": f"{POD}-keys", "defaultMode": 0o444}} in pod()["spec"]["volumes"]
    assert keys_body(row(), "uid-1", ["ssh-rsa A", "ssh-rsa B"], "gpu-dev")["data"] == {
        "authorized_keys": "ssh-rsa A\nssh-rsa B\n"
    }


@pytest.mark.parametrize(
    "body", [keys_body(row(), "uid-1", [], "gpu-dev"), ssh_service_body(row(), "uid-1", "gpu-dev")], ids=["keys", "ssh"]
)
def test_what_goes_with_a_pod_is_owned_by_it(body: dict[str, Any]) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": POD, "uid": "uid-1"}

    assert body["metadata"]["ownerReferences"] == [owner]
    assert body["metadata"]["labels"] == {"reservation": POD, "app.kubernetes.io/managed-by": "pgfleet"}


def test_a_template_adds_to_a_pod() -> None:
    given = {
        "metadata": {"labels": {"team": "research"}, "annotations": {"acme.com/cost": "7"}},
        "spec": {
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "registry"}],
            "nodeSelector": {"pool": "dev"},
            "priorityClassName": "pgfleet-reservation",
            "schedulerName": "volcano",
            "securityContext": {"fsGroup": 1000},
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "shared-data"}}],
        },
    }

    body = pod(given)

    assert body["metadata"]["labels"]["team"] == "research"
    assert body["metadata"]["labels"]["reservation"] == POD
    assert body["metadata"]["annotations"] == {"acme.com/cost": "7", "pgfleet/reservation-id": ID}
    spec = body["spec"]
    assert [each["key"] for each in spec["tolerations"]] == ["dedicated", "nvidia.com/gpu"]
    assert spec["nodeSelector"] == {"pool": "dev", "GpuType": "h100"}
    assert spec["securityContext"] == {"fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    assert [each["name"] for each in spec["volumes"]] == ["workspace", "dshm", "data", "keys"]
    assert (spec["imagePullSecrets"], spec["schedulerName"]) == ([{"name": "registry"}], "volcano")
    assert spec["priorityClassName"] == "pgfleet-reservation"


def test_what_a_template_and_a_reservation_both_say_is_the_reservations() -> None:
    given = of_container(
        env=[{"name": "HTTP_PROXY", "value": "http://proxy"}, {"name": "MODE", "value": "$(HTTP_PROXY)"}]
    )

    assert environment(given, env_vars={"MODE": "mine"}) == {
        "HTTP_PROXY": "http://proxy",
        "MODE": "mine",
        "RESERVATION_ID": ID,
        "SSH_PUBLIC_KEYS_FILE": "/etc/pgfleet/ssh/authorized_keys",
    }


def test_a_template_speaks_for_its_own_variables_as_kubernetes_does() -> None:
    assert environment(of_container(env=[{"name": "A", "value": "$(B)"}]))["A"] == "$(B)"


def test_a_resource_that_a_template_speaks_of_is_the_templates() -> None:
    given = {"requests": {"memory": "1Gi"}, "limits": {"ephemeral-storage": "9Gi", "memory": "2Gi"}}

    sent = container(of_container(resources=given))

    assert sent["resources"]["requests"] == {"memory": "1Gi", "cpu": "43200m", "nvidia.com/gpu": "2"}
    limits = {"ephemeral-storage": "9Gi", "memory": "2Gi", "cpu": "48000m", "nvidia.com/gpu": "2"}
    assert sent["resources"]["limits"] == limits


def test_a_volume_of_a_template_has_one_source() -> None:
    scratch = {"name": "workspace", "persistentVolumeClaim": {"claimName": "shared-scratch"}}

    body = pod({"spec": {"volumes": [scratch]}})

    assert scratch in body["spec"]["volumes"]
    assert len(body["spec"]["volumes"]) == 3


def test_a_template_is_not_changed_by_the_pods_that_are_made_of_it() -> None:
    term = {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    given = {"metadata": {"labels": {"team": "research"}}, "spec": {"affinity": {"nodeAffinity": required}}}
    before = deepcopy(given)

    elsewhere(pod(given, home=True), ["node-1"])

    assert given == before


def test_a_plain_pod_has_the_template_and_nothing_of_a_user() -> None:
    template = Template("acme/dev:1", "gpu-dev", {"spec": {"schedulerName": "volcano"}})

    body = plain_pod(template)

    client.V1Pod.model_validate(body)
    (only,) = body["spec"]["containers"]
    assert body["metadata"]["name"].startswith("gpu-dev-probe-")
    assert body["metadata"]["annotations"] == {}
    assert body["spec"]["schedulerName"] == "volcano"
    assert "nodeSelector" not in body["spec"]
    assert only["image"] == "acme/dev:1"
    assert [each["name"] for each in only["env"] if each["name"] not in UNASKED] == [
        "SSH_PUBLIC_KEYS_FILE",
        "NVIDIA_VISIBLE_DEVICES",
    ]
    assert "command" not in only
    assert plain_pod(template)["metadata"]["name"] != body["metadata"]["name"]


def test_a_plain_pod_like_a_reservations_differs_in_what_its_user_wrote() -> None:
    wrote: dict[str, Any] = {"env_vars": {"A": "1"}, "dockerimage": "mine", "command": "x"}
    template = Template("acme/dev:1", "gpu-dev")

    ours, plain = pod(**wrote)["spec"], plain_pod_like(row(**wrote), H100, template)["spec"]

    assert plain["nodeSelector"] == ours["nodeSelector"]
    assert plain["containers"][0]["resources"] == ours["containers"][0]["resources"]
    assert plain["containers"][0]["image"] == "acme/dev:1"
    assert "command" not in plain["containers"][0]


def test_a_plain_service_selects_no_pod_of_a_reservation() -> None:
    body = plain_service("gpu-dev")

    client.V1Service.model_validate(body)
    assert body["spec"]["selector"]["reservation"].startswith("gpu-dev-probe-")
    assert "ownerReferences" not in body["metadata"]
