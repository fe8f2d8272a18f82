"""The manifests render, and fit the program; run by `pytest tests/kubectl` where kubectl is on the PATH."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pgfleet.console.commands.worker import SHUTDOWN_MS, kinds
from pgfleet.schema.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BASE, OVERLAY = "deploy/base", "deploy/overlays/example"
CONTROL_PLANE = "gpu-controlplane"
# What deploy/README.md asks the operator for.
PROVIDED = {("Secret", "pgfleet-database")}
# `read_namespaced_pod` in the client is `get pods` for RBAC.
CALL = re.compile(r"^(read|list|create|patch|replace|delete)_(?:namespaced_)?([a-z_]+)$")
VERBS = {"read": "get", "replace": "update"}
EXEC = "connect_get_namespaced_pod_exec"

Document = dict[str, Any]


def render(folder: str) -> list[Document]:
    ended = subprocess.run(
        ["kubectl", "kustomize", folder], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return list(yaml.safe_load_all(ended.stdout))


@pytest.fixture(scope="module", params=[BASE, OVERLAY])
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return render(request.param)


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def pods(documents: list[Document]) -> Iterator[Document]:
    for document in of_kind(documents, "Deployment", "Job"):
        yield document["spec"]["template"]["spec"]


def containers(documents: list[Document]) -> Iterator[Document]:
    for pod in pods(documents):
        yield from pod["containers"]


def referenced(pod: Document) -> Iterator[tuple[str, str]]:
    """The kinds and names of what a pod can't start without."""
    if "serviceAccountName" in pod:
        yield "ServiceAccount", pod["serviceAccountName"]
    for container in pod["containers"]:
        for source in container.get("envFrom", []):
            yield from (("ConfigMap", ref["name"]) for key, ref in source.items() if key == "configMapRef")
            yield from (("Secret", ref["name"]) for key, ref in source.items() if key == "secretRef")
        for variable in container.get("env", []):
            ref = variable.get("valueFrom", {}).get("secretKeyRef")
            if ref:
                yield "Secret", ref["name"]


def granted(documents: list[Document]) -> dict[str, set[str]]:
    """The verbs that the roles give, by resource."""
    verbs: dict[str, set[str]] = defaultdict(set)
    for role in of_kind(documents, "Role", "ClusterRole"):
        for rule in role["rules"]:
            for resource in rule["resources"]:
                verbs[resource] |= set(rule["verbs"])
    return verbs


def called() -> dict[str, set[str]]:
    """The verbs that the clients use, by resource: every `self.api.read_namespaced_pod(...)` there is.

    A command in a pod is a GET that newer servers take for a creation too.
    """
    verbs: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "workers" / "clients").rglob("*.py"):
        for part in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(part, ast.Attribute) and part.attr == EXEC:
                verbs["pods/exec"] |= {"get", "create"}
            elif isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self.api":
                match = CALL.match(part.attr)
                assert match, f"{path.name} calls {part.attr}: teach this test what right that needs"
                verbs[match[2].replace("_", "") + "s"].add(VERBS.get(match[1], match[1]))
    return verbs


def test_there_is_one_deployment_for_each_kind_of_worker(documents: list[Document]) -> None:
    deployed = {
        deployment["metadata"]["name"]: [c["args"] for c in deployment["spec"]["template"]["spec"]["containers"]]
        for deployment in of_kind(documents, "Deployment")
    }

    assert deployed == {f"pgfleet-{kind}": [["worker", kind]] for kind in kinds()}


def test_the_manifests_are_those_of_the_kinds_that_there_are() -> None:
    checked = subprocess.run(
        [sys.executable, "deploy/manifests.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr
    assert {path.name for path in (ROOT / BASE / "kinds").iterdir() if path.is_dir()} == set(kinds())


def test_a_new_kind_has_a_manifest_without_an_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    with_a_new_one = [*kinds(), "new"]
    monkeypatch.setattr("pgfleet.console.commands.worker.kinds", lambda: with_a_new_one)
    monkeypatch.setattr(sys, "argv", ["manifests.py"])

    runpy.run_path(str(tmp_path / "deploy" / "manifests.py"), run_name="__main__")

    deployments = {d["metadata"]["name"]: d["spec"] for d in of_kind(render(str(tmp_path / BASE)), "Deployment")}
    (container,) = deployments["pgfleet-new"]["template"]["spec"]["containers"]
    assert deployments.keys() == {f"pgfleet-{kind}" for kind in with_a_new_one}
    assert container["args"] == ["worker", "new"]
    assert deployments["pgfleet-new"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == "new"


def test_the_migration_has_the_hash_of_the_sql_files_in_its_name() -> None:
    checked = subprocess.run(
        [sys.executable, "deploy/schema_hash.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    (job,) = of_kind(render(BASE), "Job")

    assert checked.returncode == 0, checked.stderr
    assert re.fullmatch(r"pgfleet-migrate-[0-9a-f]{8}", job["metadata"]["name"])
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["migrate"]
    assert (job["spec"]["backoffLimit"], job["spec"]["ttlSecondsAfterFinished"]) == (4, 3600)


def test_all_that_pods_refer_to_is_there_or_asked_for(documents: list[Document]) -> None:
    present = {
        (document["kind"], document["metadata"]["name"])
        for document in documents
        if document["metadata"].get("namespace") == CONTROL_PLANE
    }
    needed = {reference for pod in pods(documents) for reference in referenced(pod)}

    readme = (ROOT / "deploy" / "README.md").read_text("utf-8")

    assert needed <= present | PROVIDED
    assert all(name in readme for _, name in PROVIDED)


def test_the_example_brings_its_secret_without_a_password() -> None:
    documents = render(OVERLAY)
    (secret,) = of_kind(documents, "Secret")
    needed = {name for pod in pods(documents) for kind, name in referenced(pod) if kind == "Secret"}

    example = (ROOT / OVERLAY / "database.example.env").read_text("utf-8")

    assert needed == {secret["metadata"]["name"]}
    assert all(":PASSWORD@" in line for line in example.splitlines() if line.startswith("DATABASE_"))


def test_workers_have_the_rights_that_their_clients_use_and_no_more(documents: list[Document]) -> None:
    assert granted(documents) == called()


def test_roles_are_bound_to_accounts_that_exist_in_the_namespace_of_the_reservations(
    documents: list[Document],
) -> None:
    accounts = {(a["metadata"]["namespace"], a["metadata"]["name"]) for a in of_kind(documents, "ServiceAccount")}
    bindings = of_kind(documents, "RoleBinding", "ClusterRoleBinding")
    roles = {(role["kind"], role["metadata"]["name"]) for role in of_kind(documents, "Role", "ClusterRole")}
    (settings,) = of_kind(documents, "ConfigMap")
    namespaces = {document["metadata"]["namespace"] for document in of_kind(documents, "Role", "RoleBinding")}

    assert {(s["namespace"], s["name"]) for binding in bindings for s in binding["subjects"]} <= accounts
    assert {(binding["roleRef"]["kind"], binding["roleRef"]["name"]) for binding in bindings} == roles
    assert namespaces == {settings["data"]["PGFLEET_NAMESPACE"]}


def test_every_setting_is_one_that_the_program_has(documents: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
    (settings,) = of_kind(documents, "ConfigMap")
    names = set(settings["data"]) | {v["name"] for c in containers(documents) for v in c["env"]}
    for name, value in settings["data"].items():
        monkeypatch.setenv(name, value)

    known = {f"PGFLEET_{name.upper()}" for name in type(read_settings()).model_fields}

    assert names <= known | {"DATABASE_URL", "DATABASE_DIRECT_URL", "PGFLEET_LOG_LEVEL", "AWS_REGION"}


def test_every_image_has_a_fixed_tag(documents: list[Document]) -> None:
    images = [container["image"] for container in containers(documents)]
    images += [
        m["data"]["PGFLEET_POD_IMAGE"] for m in of_kind(documents, "ConfigMap") if "PGFLEET_POD_IMAGE" in m["data"]
    ]

    tags = [image.rpartition("/")[2].partition(":")[2] for image in images]

    assert all(tags), images
    assert "latest" not in tags


def test_workers_are_killed_only_after_their_own_shutdown_has_ended(documents: list[Document]) -> None:
    for deployment in of_kind(documents, "Deployment"):
        grace_s = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

        assert grace_s > SHUTDOWN_MS / 1000 + 10, deployment["metadata"]["name"]


def test_the_metrics_port_is_the_same_everywhere(documents: list[Document]) -> None:
    for deployment in of_kind(documents, "Deployment"):
        template = deployment["spec"]["template"]
        (container,) = template["spec"]["containers"]
        (port,) = (v["value"] for v in container["env"] if v["name"] == "PGFLEET_METRICS_PORT")

        assert template["metadata"]["annotations"]["prometheus.io/port"] == port
        assert [p["containerPort"] for p in container["ports"] if p["name"] == "metrics"] == [int(port)]
        assert container["readinessProbe"]["httpGet"]["port"] == "metrics"


def test_nothing_runs_as_root_or_writes_to_its_image(documents: list[Document]) -> None:
    for pod in pods(documents):
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            security = container["securityContext"]

            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]  # noqa: S108  # in the pod
