"""A release through its life, by helm itself, at a server that stores the objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worlds.chart.objects import Objects, object_server
from worlds.chart.rendering import CHART, CONTROL_PLANE, VARIANTS, helm, rendered

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def cluster() -> Iterator[Objects]:
    with object_server() as objects:
        for name in (CONTROL_PLANE, "gpu-dev"):
            objects.make_namespace(name)
        yield objects


def asked(cluster: Objects, *arguments: str) -> str:
    ended = helm(*arguments, f"--namespace={CONTROL_PLANE}", "--kube-apiserver", cluster.url, "--kube-token=none")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def images(cluster: Objects) -> set[str]:
    deployments = cluster.of_kind("Deployment").values()
    return {c["image"] for each in deployments for c in each["spec"]["template"]["spec"]["containers"]}


def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled(cluster: Objects) -> None:
    wanted = {(d["kind"], d["metadata"].get("namespace", ""), d["metadata"]["name"]) for d in rendered()}

    asked(cluster, "install", "pgfleet", str(CHART))
    installed, first_image, first_jobs = cluster.names(), images(cluster), set(cluster.of_kind("Job"))
    asked(cluster, "upgrade", "pgfleet", str(CHART), "--set=image.tag=0.2.0", f"--values={VARIANTS['ingress']}")
    upgraded, second_image, second_jobs = cluster.names(), images(cluster), set(cluster.of_kind("Job"))
    asked(cluster, "rollback", "pgfleet", "1")
    rolled_back, third_image = cluster.names(), images(cluster)
    asked(cluster, "uninstall", "pgfleet")

    assert installed == wanted
    assert upgraded - installed >= {("Ingress", CONTROL_PLANE, "pgfleet-api")}
    # A Job can't be changed: a new image is a new Job, of the same schema.
    assert first_jobs & second_jobs == set()
    assert {name.rsplit("-", 1)[0] for name in first_jobs} == {name.rsplit("-", 1)[0] for name in second_jobs}
    assert first_image == third_image != second_image
    assert rolled_back == installed
    assert cluster.names() == set()
    assert set(cluster.of_kind("Namespace")) == {CONTROL_PLANE, "gpu-dev"}


def test_the_same_release_again_makes_no_pod_anew(cluster: Objects) -> None:
    asked(cluster, "install", "pgfleet", str(CHART))
    before = {name: each["spec"] for name, each in cluster.of_kind("Deployment").items()}

    asked(cluster, "upgrade", "pgfleet", str(CHART))

    assert {name: each["spec"] for name, each in cluster.of_kind("Deployment").items()} == before


def test_changed_settings_roll_out(cluster: Objects) -> None:
    asked(cluster, "install", "pgfleet", str(CHART))
    before = {name: each["spec"]["template"] for name, each in cluster.of_kind("Deployment").items()}

    asked(cluster, "upgrade", "pgfleet", str(CHART), "--set-string=settings.PGFLEET_MAX_HOURS=48")

    after = {name: each["spec"]["template"] for name, each in cluster.of_kind("Deployment").items()}
    assert cluster.of_kind("ConfigMap")["pgfleet-settings"]["data"]["PGFLEET_MAX_HOURS"] == "48"
    assert all(after[name] != template for name, template in before.items())


def test_without_the_namespace_of_the_reservations_nothing_is_deployed(cluster: Objects) -> None:
    del cluster.stored[next(place for place in cluster.stored if place.name == "gpu-dev")]

    ended = helm(
        *("install", "pgfleet", str(CHART), f"--namespace={CONTROL_PLANE}"),
        *("--kube-apiserver", cluster.url, "--kube-token=none"),
    )

    assert ended.returncode == 1
    assert 'namespaces "gpu-dev" not found' in ended.stderr
