"""A real Prometheus that scrapes given ports, with the alerts as fast as a test can wait for."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from worlds.fleet import PATIENCE_S, REPOSITORY, until
from worlds.network.ports import free_port

RULES = REPOSITORY / "deploy/chart/files/alerts.yaml"
# What takes minutes there takes so long here, and what is old after five minutes is so after three seconds.
HELD_S, WINDOW, OLD_S = 2, "15s", 3


def hurried(rules: str) -> str:
    """The rules, with every duration as short as a test can wait for."""
    rules = re.sub(r"\[\d+m\]", f"[{WINDOW}]", re.sub(r"for: \d+[mh]", f"for: {HELD_S}s", rules))
    return re.sub(r"(age_seconds\)|held_seconds\)) > \d+", rf"\1 > {OLD_S}", rules)


@dataclass(frozen=True)
class Prometheus:
    url: str

    def firing(self) -> set[str]:
        alerts = self._get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def values(self, query: str) -> list[float]:
        return [float(each["value"][1]) for each in self._get("query", query=query)["result"]]

    def is_scraping(self, number: int) -> bool:
        return len(self.values("up == 1")) == number

    def _get(self, what: str, **asked: str) -> dict[str, list[dict[str, Any]]]:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=asked, timeout=PATIENCE_S, trust_env=False)
        answer.raise_for_status()
        found: dict[str, list[dict[str, Any]]] = answer.json()["data"]
        return found


@contextmanager
def prometheus(folder: Path, *targets: str) -> Iterator[Prometheus]:
    (folder / "rules.yaml").write_text(hurried(RULES.read_text()))
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "pgfleet", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    options = {
        "config.file": folder / "prometheus.yaml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": address,
    }
    with (folder / "prometheus.log").open("wb") as log:
        running = subprocess.Popen(
            ["prometheus", *(f"--{name}={value}" for name, value in options.items())], stderr=log
        )
    try:
        found = Prometheus(f"http://{address}")
        until(lambda: answers(found), within_s=PATIENCE_S, what="Prometheus to answer")
        yield found
    finally:
        running.terminate()
        running.wait(PATIENCE_S)


def answers(found: Prometheus) -> bool:
    try:
        return httpx.get(f"{found.url}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False
