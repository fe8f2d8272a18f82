"""The sandbox takes what a real API server takes, and refuses the rest in its words."""

from __future__ import annotations

import json
import types
import typing
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from kubernetes import client

from pgfleet.console.sandbox.kubernetes.validation import fields
from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, pod, service
from worlds.outside.texts import text

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1

KINDS = ("Pod", "Service", "ConfigMap", "Secret", "Node", "PersistentVolume", "PersistentVolumeClaim")
QUANTITIES = frozenset({"limits", "requests", "capacity", "allocatable", "overhead", "allocatedResources"})
QUANTITIES |= {"sizeLimit", "divisor"}
BASE64 = {("Secret", "data"), ("ConfigMap", "binaryData")}
MIB = 1024 * 1024


def posted(box: Box, plural: str, body: dict[str, Any] | bytes, query: str = "") -> tuple[Any, list[str]]:
    """What is answered, and the warnings beside it."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"{box.url}/api/v1/namespaces/{NS}/{plural}{query}"
    answered = urllib3.request("POST", url, body=raw, headers={"Content-Type": "application/json"}, retries=False)
    return json.loads(answered.data), answered.headers.getlist("Warning")


def refused(box: Box, body: dict[str, Any], plural: str = "pods") -> Any:
    status, _ = posted(box, plural, body)
    assert status["kind"] == "Status", f"it was taken: {status}"
    return status


def containing(**fields: Any) -> dict[str, Any]:
    """A pod whose container has these fields."""
    body = pod("a", 0)
    body["spec"]["containers"][0] |= fields
    return body


def asking(limits: dict[str, Any] | None = None, requests: dict[str, Any] | None = None) -> dict[str, Any]:
    return containing(resources={"limits": limits or {}, "requests": requests or {}})


def mounting(*mounts: tuple[str, str]) -> dict[str, Any]:
    body = containing(volumeMounts=[{"name": name, "mountPath": path} for name, path in mounts])
    body["spec"]["volumes"] = [{"name": "one", "emptyDir": {}}, {"name": "two", "emptyDir": {}}]
    return body


def config_map(**data: str) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "data": data}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (pod("A_b"), "name"),
        ({"metadata": {}, "spec": pod("a")["spec"]}, "name-missing"),
        (pod("a", labels={"a b": "c"}), "label-key"),
        (pod("a", labels={"a": "a b"}), "label-value"),
        (pod("a", labels={"a": "x" * 64}), "label-value-long"),
        (pod("a", annotations={"a b": "c"}), "annotation-key"),
        (pod("a", annotations={"a": "x" * 200_000, "b": "x" * 70_000}), "annotations-size"),
        (containing(env=[{"name": "", "value": "x"}]), "env-name-missing"),
        (containing(env=[{"name": "A=B", "value": "x"}]), "env-name"),
        (mounting(("nope", "/data")), "mount-unknown"),
        (mounting(("one", "/data"), ("two", "/data")), "mount-twice"),
        (asking({"nvidia.com/gpu": "500m"}), "gpu-fraction"),
        (asking({"nvidia.com/gpu": 0.5}), "gpu-fraction"),
        (asking({"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "1"}), "gpu-request"),
        (asking({}, {"nvidia.com/gpu": "1"}), "gpu-limit-missing"),
        (asking({"cpu": "1"}, {"cpu": "2"}), "cpu-request"),
        (containing(image=" busybox"), "image-spaces"),
        (containing(image=""), "image-missing"),
        ({"metadata": {"name": "a"}, "spec": {"containers": []}}, "containers-missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod_is_invalid(box: Box, body: dict[str, Any], path: str) -> None:
    assert refused(box, body) == text(f"refusals/invalid-{path}")


@pytest.mark.parametrize(
    "body",
    [
        pod("a.b-c"),
        pod("a", labels={"example.com/a": "", "b": "A.b_c-1"}, annotations={"Example.com/a": "any thing"}),
        containing(env=[{"name": "a b.c-1%", "value": "$(x)"}, {"name": "A", "value": ""}]),
        containing(image="registry.example.com:5000/Team/Image"),
        mounting(("one", "/data"), ("one", "/other:path")),
        asking({"nvidia.com/gpu": 2, "cpu": "1.5", "memory": "1e9"}, {"cpu": "100m"}),
    ],
)
def test_a_pod_is_taken(box: Box, body: dict[str, Any]) -> None:
    made, warnings = posted(box, "pods", body)

    assert (made["kind"], warnings) == ("Pod", [])


def test_all_that_is_wrong_is_told_at_once(box: Box) -> None:
    body = containing(image="", env=[{"name": "A=B"}])
    body["metadata"]["labels"] = {"a b": "c"}

    status = refused(box, body)

    assert [cause["field"] for cause in status["details"]["causes"]] == [
        "metadata.labels",
        "spec.containers[0].image",
        "spec.containers[0].env[0].name",
    ]
    assert status["message"].startswith('Pod "a" is invalid: [metadata.labels: ')


def test_a_change_is_looked_at_as_a_new_object_is(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", 0))

    with pytest.raises(client.ApiException) as refusal:
        v1.patch_namespaced_pod("a", NS, {"metadata": {"labels": {"a b": "c"}}})

    assert json.loads(refusal.value.body or "") == text("refusals/invalid-label-key")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (asking({"cpu": "lots"}), text("refusals/not-a-quantity")["message"]),
        (
            containing(env=[{"name": "A", "value": 1}]),
            (
                'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field'
                " EnvVar.spec.containers.env.value of type string"
            ),
        ),
        (
            pod("a", labels={"a": 1}),
            (
                'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field'
                " ObjectMeta.metadata.labels of type string"
            ),
        ),
    ],
)
def test_what_cannot_be_decoded_is_a_bad_request(box: Box, body: dict[str, Any], why: str) -> None:
    status = refused(box, body)

    assert (status["code"], status["reason"], status["message"]) == (400, "BadRequest", why)


def test_a_field_that_is_not_known_is_dropped_with_a_warning(box: Box) -> None:
    body = containing(colour="red")

    made, warnings = posted(box, "pods", body, "?dryRun=All")
    silent = posted(box, "pods", body, "?dryRun=All&fieldValidation=Ignore")

    assert "colour" not in made["spec"]["containers"][0]
    assert warnings == ['299 - "unknown field \\"spec.containers[0].colour\\""']
    assert silent[1] == []


def test_a_field_that_is_not_known_is_refused_where_that_is_asked_for(box: Box) -> None:
    body = pod("a")
    body["spec"]["colour"] = "red"

    status, _ = posted(box, "pods", body, "?fieldValidation=Strict")

    assert status == text("refusals/strict-unknown-field")


def test_a_body_has_a_largest_size(box: Box) -> None:
    huge = containing(env=[{"name": "A", "value": "x" * (3 * MIB)}])
    large = containing(env=[{"name": "A", "value": "x" * (2 * MIB)}])

    assert refused(box, huge) == text("refusals/body-too-large")
    assert refused(box, large) == text("refusals/etcd-request-too-large")
    assert posted(box, "pods", containing(env=[{"name": "A", "value": "x" * MIB}]))[0]["kind"] == "Pod"


def test_a_name_may_be_made_of_a_beginning(box: Box) -> None:
    made, _ = posted(box, "pods", {"metadata": {"generateName": "a-"}, "spec": pod("a")["spec"]})

    assert made["metadata"]["name"].startswith("a-")
    assert len(made["metadata"]["name"]) == 7


def test_a_service_has_a_name_that_begins_with_a_letter_and_ports(box: Box) -> None:
    body = service("1a")
    body["spec"]["ports"] = []

    status = refused(box, body, "services")

    assert [cause["field"] for cause in status["details"]["causes"]] == ["metadata.name", "spec.ports"]


def test_a_config_map_belongs_to_its_pod(v1: Api) -> None:
    owner = v1.create_namespaced_pod(NS, pod("a"))
    owners = {"ownerReferences": sandbox_cluster.owned_by(owner)}
    v1.create_namespaced_config_map(NS, {"metadata": {"name": "a"} | owners, "data": {"keys": "ssh-ed25519 AAAA"}})
    read = v1.read_namespaced_config_map("a", NS)

    v1.delete_namespaced_pod("a", NS)

    sandbox_cluster.until(lambda: v1.list_namespaced_config_map(NS).items, lambda left: not left)
    assert read.data == {"keys": "ssh-ed25519 AAAA"}


def test_a_config_map_has_keys_of_letters_and_a_largest_size(box: Box) -> None:
    small = posted(box, "configmaps", config_map(a="x" * (MIB - 1)), "?dryRun=All")[0]

    assert refused(box, config_map(**{"a b": "c"}), "configmaps") == text("refusals/invalid-config-map-key")
    assert refused(box, config_map(a="x" * MIB), "configmaps") == text("refusals/invalid-config-map-size")
    assert small["kind"] == "ConfigMap"


def test_an_immutable_config_map_is_not_changed(v1: Api) -> None:
    v1.create_namespaced_config_map(NS, config_map(a="b") | {"immutable": True})

    with pytest.raises(client.ApiException) as refusal:
        v1.patch_namespaced_config_map("a", NS, {"data": {"a": "c"}})
    v1.patch_namespaced_config_map("a", NS, {"metadata": {"labels": {"a": "c"}}})

    assert json.loads(refusal.value.body or "")["message"] == (
        'ConfigMap "a" is invalid: data: Forbidden: field is immutable when `immutable` is set'
    )


def test_a_secret_keeps_what_was_plain_encoded(v1: Api) -> None:
    v1.create_namespaced_secret(NS, {"metadata": {"name": "a"}, "stringData": {"key": "one"}})

    made = v1.read_namespaced_secret("a", NS)

    assert (made.type, made.data, made.string_data) == ("Opaque", {"key": "b25l"}, None)


def test_a_secret_that_is_no_base64_cannot_be_decoded(box: Box) -> None:
    status = refused(box, {"metadata": {"name": "a"}, "data": {"key": "one!"}}, "secrets")

    assert "illegal base64 data" in status["message"]


def test_fields_and_their_types_are_those_of_the_official_client() -> None:
    known = json.loads(fields.TYPES.read_text())

    assert known == described()


def described() -> dict[str, dict[str, str]]:
    structs: dict[str, dict[str, str]] = {}
    for kind in KINDS:
        _describe(getattr(client, f"V1{kind}"), structs)
    return structs


def _describe(model: Any, structs: dict[str, dict[str, str]]) -> str:
    name = _name(model)
    if name not in structs:
        structs[name] = {}
        for field, info in model.model_fields.items():
            key = info.serialization_alias or field
            shown = _shown(info.annotation, structs)
            structs[name][key] = "any" if key in QUANTITIES and "str" in shown else shown
            if (name, key) in BASE64:
                structs[name][key] = "{}str"
    return name


@cache
def _name(model: Any) -> str:
    return str(model.__name__).removeprefix("Core").removeprefix("V1")


def _shown(kind: Any, structs: dict[str, dict[str, str]]) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _shown(inner[0], structs)
    if origin in (typing.Union, types.UnionType):
        given = [each for each in inner if each is not type(None)]
        return _shown(given[0], structs) if len(given) == 1 else "any"
    if origin is list:
        return f"[]{_shown(inner[0], structs)}"
    if origin is dict:
        value = _shown(inner[1], structs)
        return "any" if value == "any" else f"{{}}{value}"
    if hasattr(kind, "model_fields"):
        return _describe(kind, structs)
    return {"Any": "any", "object": "any"}.get(kind.__name__, str(kind.__name__))
