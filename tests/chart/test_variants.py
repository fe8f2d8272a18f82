"""Each variant of the chart's values: as Kubernetes and KEDA take it, and within the policies of the house."""

from __future__ import annotations

import re
import subprocess
from copy import deepcopy

import pytest
import yaml

from pgfleet.console.commands.running.worker import kinds
from pgfleet.console.sandbox.kubernetes.rules.new import New
from pgfleet.console.sandbox.kubernetes.rules.pod_security import PodSecurity
from pgfleet.console.sandbox.kubernetes.store import Store
from worlds.chart.rendering import (
    CHART,
    CONTROL_PLANE,
    ROOT,
    VARIANTS,
    Document,
    helm,
    named,
    of_kind,
    of_variant,
    pods,
    rendered,
)

SCHEMAS = [str(ROOT / ".venv-chart" / "bin" / "python"), str(ROOT / "tests" / "worlds" / "chart" / "schemas.py")]
# Words that a secret's value would stand beside.
SECRET = re.compile(r"password|token|secret[_-]?key|api[_-]?key", re.IGNORECASE)


@pytest.fixture(params=["defaults", *VARIANTS])
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return rendered() if request.param == "defaults" else of_variant(request.param)


@pytest.mark.parametrize("variant", VARIANTS)
def test_helm_finds_nothing_to_say(variant: str) -> None:
    ended = helm("lint", "--strict", str(CHART), f"--values={VARIANTS[variant]}")

    assert ended.returncode == 0, ended.stdout
    assert "[WARNING]" not in ended.stdout


def mistakes(documents: list[Document]) -> str:
    """What the schemas say; of all at once, as it takes seconds to read them."""
    given = yaml.safe_dump_all(documents)
    return subprocess.run(SCHEMAS, input=given, capture_output=True, text=True, timeout=300, check=False).stderr


def test_objects_are_as_the_oldest_and_the_newest_kubernetes_and_keda_take_them() -> None:
    everything = [each for variant in VARIANTS for each in of_variant(variant)]

    assert mistakes(rendered() + everything) == ""


def test_a_field_that_nobody_knows_would_be_found() -> None:
    everything = of_variant("keda") + of_variant("monitoring")
    wrong = [deepcopy(of_kind(everything, kind)[0]) for kind in ("Deployment", "ScaledObject", "PodMonitor")]
    for number, each in enumerate(wrong):
        each["spec"][f"replicaz{number}"] = 2

    said = mistakes(wrong)

    assert [number for number in range(3) if f"replicaz{number}" in said] == [0, 1, 2]


def test_each_kind_that_is_on_has_a_deployment_an_account_and_a_budget(documents: list[Document]) -> None:
    names = {each["metadata"]["name"] for each in of_kind(documents, "Deployment")}
    prefix = min(names).split("-api")[0].removesuffix("-assignment")
    off = {"event"} if prefix == "fleet-b" else set()

    assert names == {f"{prefix}-{kind}" for kind in {*kinds(), "api"} - off}
    for kind in ("ServiceAccount", "PodDisruptionBudget"):
        assert {each["metadata"]["name"] for each in of_kind(documents, kind)} == names


def test_pods_are_within_the_standard_restricted(documents: list[Document]) -> None:
    for pod in pods(documents):
        PodSecurity("restricted").check(New(("pods", CONTROL_PLANE, "a"), {"spec": pod}, dry_run=False), Store())
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_secret_is_made_and_none_is_written_out(documents: list[Document]) -> None:
    variables = [v for pod in pods(documents) for c in pod["containers"] for v in c["env"]]
    settings = [pair for each in of_kind(documents, "ConfigMap") for pair in each["data"].items()]

    assert of_kind(documents, "Secret") == []
    assert [v["name"] for v in variables if SECRET.search(v["name"]) and "value" in v] == []
    assert [name for name, _ in settings if SECRET.search(name)] == []
    for value in [v.get("value", "") for v in variables] + [value for _, value in settings]:
        assert not re.search(r"://[^/\s]*@", value), value


def test_every_container_says_what_it_needs_and_every_server_how_it_does(documents: list[Document]) -> None:
    for pod in pods(documents):
        for container in pod["containers"]:
            assert {"cpu", "memory", "ephemeral-storage"} <= container["resources"]["requests"].keys()
            assert {"memory", "ephemeral-storage"} <= container["resources"]["limits"].keys()
    for deployment in of_kind(documents, "Deployment"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            assert {"readinessProbe", "livenessProbe", "startupProbe"} <= container.keys()


def test_a_pod_has_longer_to_end_than_its_program_takes(documents: list[Document]) -> None:
    (settings,) = (each for each in of_kind(documents, "ConfigMap") if each["metadata"]["name"].endswith("-settings"))

    for deployment in of_kind(documents, "Deployment"):
        grace_s = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace_s == int(settings["data"]["PGFLEET_DRAIN_S"]) + 30


def test_images_are_of_a_fixed_tag_or_a_digest(documents: list[Document]) -> None:
    images = {container["image"] for pod in pods(documents) for container in pod["containers"]}

    assert len(images) == 1
    assert all(re.search(r"(:[\d.]+|@sha256:[0-9a-f]{64})$", image) for image in images)


def test_whoever_is_selected_is_there(documents: list[Document]) -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(documents, "Deployment")]
    selectors = [each["spec"]["selector"]["matchLabels"] for each in of_kind(documents, "PodDisruptionBudget")]
    selectors += [each["spec"]["selector"] for each in of_kind(documents, "Service")]

    for selector in selectors:
        assert sum(selector.items() <= each.items() for each in labels) == 1, selector


def test_the_kind_that_calls_kubernetes_alone_has_a_token_and_rights(documents: list[Document]) -> None:
    with_token = {
        each["metadata"]["name"]
        for each in of_kind(documents, "ServiceAccount")
        if each["automountServiceAccountToken"]
    }
    bound = {
        subject["name"]
        for each in of_kind(documents, "RoleBinding", "ClusterRoleBinding")
        for subject in each["subjects"]
    }

    assert with_token == bound
    assert [name.rpartition("-")[2] for name in with_token] == ["reservation"]


def test_a_worker_scaled_by_somebody_has_no_number_of_its_own() -> None:
    for variant, scaler in (("keda", "ScaledObject"), ("hpa", "HorizontalPodAutoscaler")):
        documents = of_variant(variant)
        scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind(documents, scaler)}

        assert scaled == {f"pgfleet-{kind}" for kind in kinds()}
        for name in scaled:
            assert "replicas" not in named(documents, "Deployment", name)["spec"]


def test_keda_asks_the_view_of_loads_and_keeps_workers_while_the_database_is_away() -> None:
    documents = of_variant("keda")
    (proof,) = of_kind(documents, "TriggerAuthentication")
    least = {}
    for each in of_kind(documents, "ScaledObject"):
        kind = each["metadata"]["name"].removeprefix("pgfleet-")
        queries = [trigger["metadata"]["query"] for trigger in each["spec"]["triggers"]]
        least[kind] = each["spec"]["minReplicaCount"]

        assert queries == [
            f"select ready + in_hand from public.queue_load where kind = '{kind}'",
            f"select oldest_s from public.queue_load where kind = '{kind}'",
        ]
        assert each["spec"]["fallback"]["replicas"] >= 1
        assert {t["authenticationRef"]["name"] for t in each["spec"]["triggers"]} == {proof["metadata"]["name"]}

    assert least == {kind: 0 if kind == "assignment" else 1 for kind in kinds()}


def test_a_server_of_certificates_own_is_checked_with_what_a_secret_has() -> None:
    documents = of_variant("cloudnativepg")

    for pod in pods(documents):
        (container,) = pod["containers"]
        given = {v["name"]: v.get("value") for v in container["env"]}
        assert given["DATABASE_URL"].endswith("sslmode=verify-full")
        assert given["PGSSLROOTCERT"] == "/etc/pgfleet/ca/ca.crt"
        assert {"PGUSER", "PGPASSWORD"} <= given.keys()
        assert {"name": "ca", "mountPath": "/etc/pgfleet/ca", "readOnly": True} in container["volumeMounts"]


def test_ports_of_the_database_are_those_that_workers_may_reach() -> None:
    (rule,) = (
        rule
        for rule in named(of_variant("supabase"), "NetworkPolicy", "database")["spec"]["egress"]
        if "to" not in rule
    )

    assert rule["ports"] == [{"protocol": "TCP", "port": 6543}, {"protocol": "TCP", "port": 5432}]


def test_users_are_kept_from_addresses_of_ours_that_are_public() -> None:
    (rule,) = named(of_variant("everything"), "NetworkPolicy", "internet")["spec"]["egress"]
    (ways_in,) = named(of_variant("everything"), "NetworkPolicy", "ways-in")["spec"]["ingress"]

    assert {"198.51.100.7/32", "169.254.0.0/16", "10.0.0.0/8"} <= set(rule["to"][0]["ipBlock"]["except"])
    assert ways_in["from"] == [{"ipBlock": {"cidr": "203.0.113.0/24"}}]


def test_two_fleets_in_a_cluster_share_no_object_of_the_cluster() -> None:
    kinds_of_the_cluster = ("PriorityClass", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy")
    names = [
        {(each["kind"], each["metadata"]["name"]) for each in of_kind(documents, *kinds_of_the_cluster)}
        for documents in (rendered(), of_variant("everything"))
    ]

    assert names[0] & names[1] == set()
    assert len(names[0]) == len(names[1]) > 8


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("imgae.tag=0.2.0", "imgae"),
        ("workers.kinds.reservations.replicas=3", "reservations"),
        ("workers.kinds.disk.replica=3", "replica"),
        ("settings.PGFLEET_NODE_OFLINE_S=300", "PGFLEET_NODE_OFLINE_S"),
        ("settings.PGFLEET_SSH_KEYS_PROXY=http://u:p@proxy", "PGFLEET_SSH_KEYS_PROXY"),
        ("workers.kinds.disk.env.AWS_SECRET_ACCESS_KEY=x", "AWS_SECRET_ACCESS_KEY"),
        ("database.address=postgresql://u:p@h/d", "database/address"),
        ("image.tag=latest", "image/tag"),
        ("api.replicas=two", "api/replicas"),
        ("api.ingress.enabled=true", "the name that the API is asked by"),
        ("workers.defaults.scaling.by=kdea", "scaling/by"),
        ("monitoring.podMonitor.enable=true", "enable"),
        ("monitoring.rules.runbookUrl=ALERTS.md", "runbookUrl"),
        ("monitoring.traces.endpoint=http://u:p@collector:4318", "traces/endpoint"),
    ],
)
def test_what_is_no_value_is_refused_by_its_name(given: str, said: str) -> None:
    ended = helm("template", "pgfleet", str(CHART), "--set-string" if "settings" in given else "--set", given)

    assert ended.returncode == 1
    assert said in ended.stderr
