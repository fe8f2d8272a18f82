"""Every panel of the dashboards shows something of real processes, and Grafana can read what they are written as."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import httpx
import pytest

from pgfleet.console.sandbox.box import Box
from worlds.api.login import serving_dsn
from worlds.api.process import serving_process
from worlds.database import Connection
from worlds.fleet import REPOSITORY, until, worker_process
from worlds.network.ports import free_port
from worlds.reservations import create
from worlds.watching.prometheus import WINDOW, Prometheus, prometheus

FOLDER = REPOSITORY / "deploy/chart/files/dashboards"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
# What has no series while nothing is wrong, or while nobody uses it.
QUIET = {
    "All other rows by state",
    "Outages",
    "Paused",
    "Nodes that are heard of",
    "Leases lost, and decisions made again",
    "Deliveries of events",
}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = board["panels"]
    return found


@dataclass(frozen=True)
class Watched:
    prometheus: Prometheus
    conn: Connection
    url: str

    def use(self) -> bool:
        """A reservation and a request; a rate is that of the second look, so one use would be in none."""
        create(self.conn, gpu_count=1)
        httpx.get(f"{self.url}/v1/me", headers={"Authorization": "Bearer guessed"}, trust_env=False)
        return False


@pytest.fixture
def watched(dsn: str, conn: Connection, box: Box, tmp_path: Path) -> Iterator[Watched]:
    """The API and two workers, which are scraped."""
    ports = {kind: free_port() for kind in ("reservation", "event")}
    with ExitStack() as stack:
        own = stack.enter_context(serving_dsn(dsn))
        serve = stack.enter_context(serving_process(own, tmp_path))
        targets = [serve.metrics_url.removeprefix("http://"), *(f"127.0.0.1:{port}" for port in ports.values())]
        found = stack.enter_context(prometheus(tmp_path, *targets))
        for kind, port in ports.items():
            module = f"pgfleet.workers.{kind}"
            stack.enter_context(worker_process(dsn, box, module, metrics_port=port, pod_poll_s=0.2))
        until(lambda: found.is_scraping(3) and found.values("pgfleet_ready") == [1, 1])
        yield Watched(found, conn, serve.url)


def test_every_panel_shows_something(watched: Watched) -> None:
    asked = {
        (panel["title"], target["expr"].replace("$__rate_interval", WINDOW))
        for board in BOARDS.values()
        for panel in panels(board)
        for target in panel["targets"]
        if panel["title"] not in QUIET
    }

    def answered() -> bool:
        asked.difference_update(
            {each for each in asked if not all(isnan(value) for value in watched.prometheus.values(each[1]))}
        )
        return not asked

    try:
        until(answered, work=watched.use)
    except AssertionError:
        raise AssertionError(f"nothing is shown by {sorted(asked)}") from None


def test_what_is_quiet_is_asked_without_a_mistake(watched: Watched) -> None:
    quiet = [panel for board in BOARDS.values() for panel in panels(board) if panel["title"] in QUIET]

    assert {panel["title"] for panel in quiet} == QUIET
    for target in [target for panel in quiet for target in panel["targets"]]:
        watched.prometheus.values(target["expr"].replace("$__rate_interval", WINDOW))


def test_a_metric_that_nobody_has_shows_nothing(watched: Watched) -> None:
    assert watched.prometheus.values("max by (queue) (pgfleet_no_such_thing)") == []


@pytest.mark.parametrize("name", BOARDS)
def test_grafana_can_read_it(name: str) -> None:
    board = BOARDS[name]
    ids = [panel["id"] for panel in panels(board)]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels(board)]
    chosen = {"type": "prometheus", "uid": "${datasource}"}

    assert board["schemaVersion"] >= 36
    assert board["uid"] == f"pgfleet-{name}"
    assert len(board["uid"]) <= 40
    assert [(each["name"], each["type"]) for each in board["templating"]["list"]] == [("datasource", "datasource")]
    assert len(set(ids)) == len(ids)
    assert len(set(places)) == len(places)
    assert all(x + 8 <= 24 for x, _ in places)
    for panel in panels(board):
        assert panel["datasource"] == chosen
        assert [target["datasource"] for target in panel["targets"]] == [chosen] * len(panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert panel["title"]
        assert panel["description"]


def test_no_title_is_there_twice() -> None:
    titles = [panel["title"] for board in BOARDS.values() for panel in panels(board)]

    assert len(set(titles)) == len(titles)
