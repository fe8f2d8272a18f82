"""A real Prometheus with the rules, which wait for seconds here: each fault is told, and nothing else is."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from pgfleet.console.sandbox.box import Box
from worlds.api.login import serving_dsn
from worlds.api.process import Process, serving_process
from worlds.database import Connection
from worlds.fleet import PATIENCE_S, REPOSITORY, until, worker_process
from worlds.network.ports import free_port
from worlds.reservations import create

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


@dataclass(frozen=True)
class Fleet:
    """A worker, the API, and who watches them."""

    watched: Prometheus
    serve: Process
    box: Box
    dsn: str
    worker_port: int

    def tells(self, *names: str) -> None:
        """Until those fire, and no others."""
        fired: set[str] = set()

        def told() -> bool:
            fired.clear()
            fired.update(self.watched.firing())
            return fired == set(names)

        try:
            until(told, within_s=60)
        except AssertionError:
            raise AssertionError(f"{fired} fire, not {set(names)}") from None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prometheus")


@pytest.fixture
def fleet(dsn: str, box: Box, tmp_path: Path) -> Iterator[Fleet]:
    port = free_port()
    with (
        serving_dsn(dsn) as own,
        serving_process(own, tmp_path) as serve,
        prometheus(tmp_path, serve.metrics_url.removeprefix("http://"), f"127.0.0.1:{port}") as watched,
    ):
        yield Fleet(watched, serve, box, dsn, port)


@contextmanager
def working(fleet: Fleet) -> Iterator[None]:
    """A worker runs and is ready, and nothing is told."""
    with worker_process(fleet.dsn, fleet.box, metrics_port=fleet.worker_port, pod_poll_s=0.2):
        until(lambda: fleet.watched.values("pgfleet_ready") == [1], within_s=120)
        fleet.tells()
        yield


def test_a_queue_that_nobody_takes_from_is_told_until_a_worker_comes(fleet: Fleet, conn: Connection) -> None:
    create(conn)

    fleet.tells("PgfleetNobodyTakes")

    with working(fleet):
        fleet.tells()


def test_a_cluster_that_does_not_answer_is_told_until_it_does(fleet: Fleet, conn: Connection) -> None:
    with working(fleet):
        fleet.box.outage(status=503)
        create(conn)
        # Watches are gone with all else.
        fleet.tells("PgfleetOutage", "PgfleetBlind")

        fleet.box.clear_faults()
        fleet.tells()


def test_a_pause_is_told_and_strangers_are(fleet: Fleet, conn: Connection) -> None:
    with working(fleet):
        conn.execute("insert into public.pauses (what, by_whom, reason) values ('disk_operations', 'ada', 'x')")
        fleet.tells("PgfleetPaused")

        conn.execute("delete from public.pauses")
        for _ in range(200):
            httpx.get(f"{fleet.serve.url}/v1/me", headers={"Authorization": "Bearer guessed"}, trust_env=False)
        until(lambda: "PgfleetSomebodyGuesses" in fleet.watched.firing(), within_s=60)
        fleet.tells()


def test_a_letter_of_ours_and_events_that_are_held_back_are_told(fleet: Fleet, conn: Connection) -> None:
    with working(fleet), psycopg.connect(fleet.dsn) as held:
        conn.execute("""
            insert into public.dead_letters (queue, msg_id, message, reason, attempts, enqueued_at, verdict)
            values ('disk_operations', 1, '{}', 'ours', 3, now(), 'failure')""")
        fleet.tells("PgfleetDeadLetters")
        conn.execute("update public.dead_letters set answered_at = now(), answered_by = 'ada', answer = 'discarded'")
        fleet.tells()

        held.execute("create table public.held ()")
        create(conn)
        fleet.tells("PgfleetEventsHeldBack")
        held.rollback()
        fleet.tells()


def test_when_the_api_has_ended_nobody_counts(fleet: Fleet) -> None:
    with working(fleet):
        fleet.serve.running.terminate()
        fleet.serve.ended()

        fleet.tells("PgfleetNobodyCounts")
