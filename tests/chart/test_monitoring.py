"""What Prometheus and Grafana are given: only what is asked for, of all processes, each alert with its page."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from worlds.chart.rendering import ROOT, Document, named, of_kind, of_variant, rendered

ALERTS = yaml.safe_load((ROOT / "deploy/chart/files/alerts.yaml").read_text())
SECTIONS = [line[3:] for line in (ROOT / "deploy/ALERTS.md").read_text().splitlines() if line.startswith("## ")]


def rules(documents: list[Document]) -> list[dict[str, Any]]:
    (found,) = of_kind(documents, "PrometheusRule")
    return [rule for group in found["spec"]["groups"] for rule in group["rules"]]


def dashboards(documents: list[Document]) -> list[Document]:
    return [each for each in of_kind(documents, "ConfigMap") if "dashboard" in each["metadata"]["name"]]


def test_nothing_of_it_is_made_unless_it_is_asked_for() -> None:
    documents = rendered()

    assert of_kind(documents, "PodMonitor", "PrometheusRule") == []
    assert dashboards(documents) == []


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_each_part_is_asked_for_by_itself(kind: str) -> None:
    value = {"PodMonitor": "podMonitor", "PrometheusRule": "rules"}[kind]

    documents = rendered(f"--set=monitoring.{value}.enabled=true")

    assert [each["kind"] for each in of_kind(documents, "PodMonitor", "PrometheusRule")] == [kind]
    assert dashboards(documents) == []


def test_the_port_of_every_deployment_is_scraped() -> None:
    documents = of_variant("monitoring")
    (monitor,) = of_kind(documents, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]

    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    for deployment in of_kind(documents, "Deployment"):
        template = deployment["spec"]["template"]
        (container,) = template["spec"]["containers"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        assert endpoint["port"] in {port["name"] for port in container["ports"]}


def test_the_rules_are_those_of_the_file() -> None:
    (made,) = of_kind(rendered("--set=monitoring.rules.enabled=true"), "PrometheusRule")

    assert made["spec"] == ALERTS


def test_each_alert_leads_to_its_section_where_the_page_can_be_read() -> None:
    page = "https://github.com/pgfleet/pgfleet/blob/v0.1.0/deploy/ALERTS.md"

    links = [rule["annotations"]["runbook_url"] for rule in rules(of_variant("monitoring"))]

    assert links == [f"{page}#{section.lower()}" for section in SECTIONS]


def test_dashboards_are_found_by_grafana_as_they_are() -> None:
    documents = of_variant("monitoring")
    files = sorted((ROOT / "deploy/chart/files/dashboards").glob("*.json"))

    assert len(dashboards(documents)) == len(files) > 0
    for file in files:
        made = named(documents, "ConfigMap", f"pgfleet-dashboard-{file.stem}")
        assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(made["data"][file.name]) == json.loads(file.read_text())


def test_every_process_is_told_where_traces_go_and_may_reach_it() -> None:
    documents = of_variant("monitoring")
    (settings,) = (each for each in of_kind(documents, "ConfigMap") if each["metadata"]["name"] == "pgfleet-settings")
    (egress,) = named(documents, "NetworkPolicy", "traces")["spec"]["egress"]

    assert settings["data"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.monitoring:4318"
    assert egress["ports"] == [{"protocol": "TCP", "port": 4318}]
    assert "traces" not in [each["metadata"]["name"] for each in of_kind(rendered(), "NetworkPolicy")]
