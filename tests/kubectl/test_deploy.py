"""The manifests render, and fit the program; run by `pytest tests/kubectl` where kubectl is on the PATH."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
from base64 import b64decode
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes import client

from pgfleet.console.commands.running.worker import kinds
from pgfleet.console.sandbox.kubernetes.rules.new import New
from pgfleet.console.sandbox.kubernetes.rules.pod_security import PodSecurity
from pgfleet.console.sandbox.kubernetes.store import Store
from pgfleet.producers.http.settings import read_serve_settings
from pgfleet.schema.settings import read_settings
from pgfleet.workers.clients.kubernetes.rights import IN_CLUSTER, IN_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BASE, OVERLAY = "deploy/kustomize/base", "deploy/kustomize/example"
CONTROL_PLANE = "gpu-controlplane"
# What deploy/README.md asks the operator for.
PROVIDED = {("Secret", f"pgfleet-db-{name}") for name in (*kinds(), "api", "migrator")}
# `read_namespaced_pod` in the client is `get pods` for RBAC.
CALL = re.compile(r"^(read|list|create|patch|replace|delete)_(?:namespaced_)?([a-z_]+?)(?:_for_all_namespaces)?$")
VERBS = {"read": "get", "replace": "update"}
EXEC = "connect_get_namespaced_pod_exec"
SUBRESOURCES = {"podlogs": "pods/log"}
PLURALS = {"networkpolicys": "networkpolicies.networking.k8s.io"}
# What calls other clusters than the worker's, with rights that are theirs to give.
ELSEWHERE = {"usage.py"}

ADMISSION = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")

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
                verbs[_full(resource, *rule["apiGroups"])] |= set(rule["verbs"])
    return verbs


def _full(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def called() -> dict[str, set[str]]:
    """The verbs that the clients use, by resource: every `self.api.read_namespaced_pod(...)` there is.

    A command in a pod is a GET that newer servers take for a creation too. A `Resource(...)` is watched.
    """
    verbs: dict[str, set[str]] = defaultdict(set)
    for path in (path for path in (ROOT / "workers" / "clients").rglob("*.py") if path.name not in ELSEWHERE):
        for part in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(part, ast.Attribute) and part.attr == EXEC:
                verbs["pods/exec"] |= {"get", "create"}
            elif isinstance(part, ast.Attribute) and part.attr != "api_client" and _is_api(part.value):
                match = CALL.match(part.attr)
                assert match, f"{path.name} calls {part.attr}: teach this test what right that needs"
                resource = match[2].replace("_", "") + "s"
                verbs[(SUBRESOURCES | PLURALS).get(resource, resource)].add(VERBS.get(match[1], match[1]))
            elif isinstance(part, ast.Call) and ast.unparse(part.func) == "Resource":
                verbs[str(ast.literal_eval(part.args[0]))].add("watch")
    return verbs


def _is_api(value: ast.expr) -> bool:
    """Whether it is `api`, `self.api`, `self.pods.api` or the API of network policies."""
    return f".{ast.unparse(value)}".endswith((".api", ".policies"))


def looked_for() -> dict[str, set[str]]:
    """The verbs that a worker looks for when it starts, by resource."""
    verbs: dict[str, set[str]] = defaultdict(set)
    for resource, wanted in (*IN_NAMESPACE.items(), *IN_CLUSTER.items()):
        verbs[resource] |= set(wanted)
    return verbs


def test_there_is_one_deployment_for_each_kind_of_worker_and_one_for_the_api(documents: list[Document]) -> None:
    deployed = {
        deployment["metadata"]["name"]: [c["args"] for c in deployment["spec"]["template"]["spec"]["containers"]]
        for deployment in of_kind(documents, "Deployment")
    }

    workers = {f"pgfleet-{kind}": [["worker", kind, "--threads=4"]] for kind in kinds()}
    assert deployed == workers | {"pgfleet-api": [["serve", "--host=0.0.0.0", "--port=8080"]]}


def test_a_new_kind_has_a_file_without_an_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    with_a_new_one = [*kinds(), "new"]
    monkeypatch.setattr("pgfleet.console.commands.running.worker.kinds", lambda: with_a_new_one)
    monkeypatch.setattr(sys, "argv", ["manifests.py"])

    runpy.run_path(str(tmp_path / "deploy" / "manifests.py"), run_name="__main__")

    found = {path.stem for path in (tmp_path / "deploy" / "chart" / "kinds").glob("*.yaml")}
    assert found == set(with_a_new_one)


def test_the_migration_has_the_hash_of_the_sql_files_in_its_name() -> None:
    checked = subprocess.run(
        [sys.executable, "deploy/schema_hash.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    (job,) = of_kind(render(BASE), "Job")

    assert checked.returncode == 0, checked.stderr
    assert re.fullmatch(r"pgfleet-migrate-[0-9a-f]{8}-[0-9a-f]{5}", job["metadata"]["name"])
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["migrate", "--wait=300"]
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
    assert all(f"`{name}`" in readme for name in ("pgfleet-db-<kind>", "pgfleet-db-api", "pgfleet-db-migrator"))


def test_the_example_brings_its_secrets_without_a_password() -> None:
    documents = render(OVERLAY)
    secrets = {secret["metadata"]["name"]: secret["data"] for secret in of_kind(documents, "Secret")}
    needed = {name for pod in pods(documents) for kind, name in referenced(pod) if kind == "Secret"}

    addresses = [b64decode(address).decode() for data in secrets.values() for address in data.values()]

    assert needed == secrets.keys()
    assert all(":PASSWORD@" in address for address in addresses)


def test_each_kind_the_api_and_the_migration_has_a_login_of_its_own(documents: list[Document]) -> None:
    logins = [{name for kind, name in referenced(pod) if kind == "Secret"} for pod in pods(documents)]

    assert all(len(login) == 1 for login in logins)
    assert len(set.union(*logins)) == len(kinds()) + 2


def test_the_kind_that_calls_kubernetes_alone_has_a_token(documents: list[Document]) -> None:
    mounted = {
        deployment["metadata"]["name"]
        for deployment in of_kind(documents, "Deployment")
        if deployment["spec"]["template"]["spec"].get("automountServiceAccountToken", True)
    }
    given = {
        account["metadata"]["name"]
        for account in of_kind(documents, "ServiceAccount")
        if account.get("automountServiceAccountToken", True)
    }

    assert mounted == given == {"pgfleet-reservation"}
    assert all(pod["enableServiceLinks"] is False for pod in pods(documents))


def test_manifests_have_no_field_that_kubernetes_does_not_know(documents: list[Document]) -> None:
    for document in documents:
        getattr(client, f"V1{document['kind']}").model_validate(document)


def test_what_belongs_to_no_namespace_names_none(documents: list[Document]) -> None:
    cluster = ("ClusterRole", "ClusterRoleBinding", "PriorityClass", *ADMISSION)

    assert {"namespace" in d["metadata"] for d in of_kind(documents, *cluster)} == {False}
    assert {d["metadata"].get("namespace") for d in documents if d["kind"] not in cluster} == {CONTROL_PLANE, "gpu-dev"}


def test_policies_are_about_the_account_and_the_namespace_that_there_are(documents: list[Document]) -> None:
    (settings,) = of_kind(documents, "ConfigMap")
    (account,) = (a for a in of_kind(documents, "ServiceAccount") if a["metadata"]["name"] == "pgfleet-reservation")
    user = f"system:serviceaccount:{account['metadata']['namespace']}:{account['metadata']['name']}"
    found = of_kind(documents, ADMISSION[0])

    for policy in found:
        (condition,) = policy["spec"]["matchConditions"]

        assert condition["expression"] == f"request.userInfo.username == '{user}'"
    named = {
        name for policy in found for name in re.findall(r"amespace == '([^']*)'", str(policy["spec"]["validations"]))
    }
    assert named == {settings["data"]["PGFLEET_NAMESPACE"]}


def test_workers_look_for_the_rights_that_their_clients_use_and_no_more() -> None:
    assert called() == looked_for()


def test_the_roles_grant_the_rights_that_a_start_looks_for_and_no_more(documents: list[Document]) -> None:
    assert granted(documents) == looked_for()
    for role in of_kind(documents, "Role", "ClusterRole"):
        wanted = IN_NAMESPACE if role["kind"] == "Role" else IN_CLUSTER

        given = {_full(name, *rule["apiGroups"]) for rule in role["rules"] for name in rule["resources"]}
        assert given == wanted.keys()


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

    fields = {**type(read_settings()).model_fields, **type(read_serve_settings()).model_fields}
    known = {f"PGFLEET_{name.upper()}" for name in fields}

    assert names <= known | {"DATABASE_URL", "DATABASE_DIRECT_URL", "PGFLEET_LOG_LEVEL", "AWS_REGION"}


def test_pods_of_reservations_have_a_class_that_there_is_and_displace_nobody(documents: list[Document]) -> None:
    (settings,) = of_kind(documents, "ConfigMap")
    (priority,) = of_kind(documents, "PriorityClass")

    assert settings["data"]["PGFLEET_PRIORITY_CLASS"] == priority["metadata"]["name"]
    assert "namespace" not in priority["metadata"]
    assert (priority["value"], priority["preemptionPolicy"], priority["globalDefault"]) == (100_000, "Never", False)


def test_workers_are_within_the_standard_that_their_namespace_is_held_to(documents: list[Document]) -> None:
    (namespace,) = (
        each
        for each in yaml.safe_load_all((ROOT / "deploy" / "namespaces.yaml").read_text("utf-8"))
        if each["metadata"]["name"] == CONTROL_PLANE
    )
    standard = PodSecurity(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"])

    for pod in pods(documents):
        standard.check(New(("pods", CONTROL_PLANE, "a"), {"spec": pod}, dry_run=False), Store())

    assert standard.level == "restricted"


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
        (settings,) = of_kind(documents, "ConfigMap")

        assert grace_s > int(settings["data"]["PGFLEET_DRAIN_S"]) + 10, deployment["metadata"]["name"]


def test_the_metrics_port_is_the_same_everywhere(documents: list[Document]) -> None:
    for deployment in of_kind(documents, "Deployment"):
        template = deployment["spec"]["template"]
        (container,) = template["spec"]["containers"]
        (port,) = (v["value"] for v in container["env"] if v["name"] == "PGFLEET_METRICS_PORT")

        assert template["metadata"]["annotations"]["prometheus.io/port"] == port
        assert [p["containerPort"] for p in container["ports"] if p["name"] == "metrics"] == [int(port)]
        asked = "http" if "serve" in container["args"] else "metrics"
        for probe, path in {"readinessProbe": "/readyz", "livenessProbe": "/livez", "startupProbe": "/livez"}.items():
            assert container[probe]["httpGet"] == {"path": path, "port": asked}


def test_metrics_are_shown_at_the_address_of_the_pod(documents: list[Document]) -> None:
    for deployment in of_kind(documents, "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        (host,) = (v["valueFrom"] for v in container["env"] if v["name"] == "PGFLEET_METRICS_HOST")

        assert host == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_nothing_runs_as_root_or_writes_to_its_image(documents: list[Document]) -> None:
    for pod in pods(documents):
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            security = container["securityContext"]

            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]  # noqa: S108  # in the pod
            assert {"memory", "ephemeral-storage"} <= container["resources"]["limits"].keys()
        assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"])


def test_the_service_is_of_the_pods_of_the_api_and_each_budget_of_one_deployment(documents: list[Document]) -> None:
    (service,) = of_kind(documents, "Service")
    deployments = {each["metadata"]["name"]: each["spec"]["template"] for each in of_kind(documents, "Deployment")}
    budgets = {each["metadata"]["name"]: each["spec"] for each in of_kind(documents, "PodDisruptionBudget")}

    def chosen(selector: dict[str, str]) -> list[str]:
        return [name for name, pod in deployments.items() if selector.items() <= pod["metadata"]["labels"].items()]

    assert chosen(service["spec"]["selector"]) == ["pgfleet-api"]
    assert budgets.keys() == deployments.keys()
    assert all(chosen(budget["selector"]["matchLabels"]) == [name] for name, budget in budgets.items())
    assert [(port["name"], port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [
        ("http", 8080, "http")
    ]
    assert service["spec"]["type"] == "ClusterIP"


def test_the_api_may_lose_a_replica_and_has_them_apart(documents: list[Document]) -> None:
    (api,) = (each for each in of_kind(documents, "Deployment") if each["metadata"]["name"] == "pgfleet-api")
    budget = next(
        each for each in of_kind(documents, "PodDisruptionBudget") if each["metadata"]["name"] == "pgfleet-api"
    )
    spread = api["spec"]["template"]["spec"]["topologySpreadConstraints"]

    assert api["spec"]["replicas"] > budget["spec"]["maxUnavailable"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for each in spread:
        assert each["labelSelector"]["matchLabels"] == api["spec"]["selector"]["matchLabels"]
