"""Each alert fires for its fault, alone, and none in a fleet that is well: asked of promtool."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from worlds.fleet import REPOSITORY

RULES = REPOSITORY / "deploy/chart/files/alerts.yaml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
# A fleet that is well, a sample a minute: name and labels, and its values as promtool writes them.
WELL = {
    'pgfleet_gpus{gpu_type="h100",state="total"}': "16x300",
    'pgfleet_gpus{gpu_type="h100",state="free"}': "4x300",
    'pgfleet_gpus{gpu_type="h100",state="waiting"}': "8x300",
    'pgfleet_oldest_wait_seconds{gpu_type="h100"}': "5000x300",
    'pgfleet_oldest_ready_age_seconds{queue="disk_operations"}': "0x300",
    'pgfleet_ready{queue="disk_operations",instance="a"}': "1x300",
    'pgfleet_ready{queue="disk_operations",instance="b"}': "0x300",
    'pgfleet_outage{dependency="kubernetes",calls="read",instance="a"}': "0x300",
    'pgfleet_dead_letters{queue="disk_operations",class="failure"}': "0x300",
    'pgfleet_dead_letters{queue="disk_operations",class="rejection"}': "90x300",
    'pgfleet_offline_sweep_held_back{machine="node"}': "0x300",
    "pgfleet_reservations_stuck": "0x300",
    "pgfleet_feed_held_seconds": "0x300",
    'pgfleet_leases_lost_total{queue="disk_operations"}': "0+0x300",
    'pgfleet_watch_connected{resource="pods",instance="a"}': "1x300",
    'pgfleet_watch_connected{resource="pods",instance="b"}': "0x300",
    'pgfleet_http_requests_total{status="2xx"}': "0+600x300",
    'pgfleet_http_requests_total{status="5xx"}': "0+1x300",
    'pgfleet_http_request_seconds_bucket{endpoint="list_disks",le="0.1"}': "0+600x300",
    'pgfleet_http_request_seconds_bucket{endpoint="list_disks",le="5"}': "0+600x300",
    'pgfleet_http_request_seconds_bucket{endpoint="list_disks",le="+Inf"}': "0+600x300",
    'pgfleet_http_strangers_refused_total{reason="not_proven"}': "0+6x300",
    'pgfleet_build_info{version="1",fleet="eu-1"}': "1x300",
    'pgfleet_build_info{version="3",fleet="us-1"}': "1x300",
}
# What is otherwise when an alert has to fire; None: nobody says it any more.
FAULTS: dict[str, dict[str, str | None]] = {
    "PgfleetNobodyCounts": {name: None for name in WELL if name.startswith("pgfleet_gpus")},
    "PgfleetNobodyTakes": {'pgfleet_oldest_ready_age_seconds{queue="disk_operations"}': "0+60x300"},
    "PgfleetNotReady": {'pgfleet_ready{queue="disk_operations",instance="a"}': "0x300"},
    "PgfleetOutage": {'pgfleet_outage{dependency="kubernetes",calls="read",instance="a"}': "1x300"},
    "PgfleetDeadLetters": {'pgfleet_dead_letters{queue="disk_operations",class="failure"}': "1x300"},
    "PgfleetSweepHeldBack": {'pgfleet_offline_sweep_held_back{machine="node"}': "1x300"},
    "PgfleetStuckReservations": {"pgfleet_reservations_stuck": "2x300"},
    "PgfleetGpusFreeWhileSomebodyWaits": {'pgfleet_gpus{gpu_type="h100",state="free"}': "8x300"},
    "PgfleetPaused": {'pgfleet_paused{what="deletes"}': "1x300"},
    "PgfleetEventsHeldBack": {"pgfleet_feed_held_seconds": "0+60x300"},
    "PgfleetLeasesLost": {'pgfleet_leases_lost_total{queue="disk_operations"}': "0+2x300"},
    "PgfleetBlind": {'pgfleet_watch_connected{resource="pods",instance="a"}': "0x300"},
    "PgfleetApiFails": {'pgfleet_http_requests_total{status="5xx"}': "0+60x300"},
    "PgfleetApiSlow": {'pgfleet_http_request_seconds_bucket{endpoint="list_disks",le="0.1"}': "0+500x300"},
    "PgfleetSomebodyGuesses": {'pgfleet_http_strangers_refused_total{reason="not_proven"}': "0+600x300"},
    "PgfleetVersionsDiffer": {'pgfleet_build_info{version="2",fleet="eu-1"}': "1x300"},
}


def fired(folder: Path, fault: dict[str, str | None], minute: int, *expected: str) -> subprocess.CompletedProcess[str]:
    """Whether those alerts fire at that minute, each once, and no other does."""
    series = [{"series": name, "values": values} for name, values in {**WELL, **fault}.items() if values is not None]
    asked = [
        {"alertname": name, "eval_time": f"{minute}m", "exp_alerts": [{}] if name in expected else []}
        for name in ALERTS
    ]
    # promtool compares labels and texts, too: here it is asked whether it fires, and how many do.
    rules = [{"alert": name, "expr": f"count({rule['expr']}) > 0", "for": rule["for"]} for name, rule in ALERTS.items()]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "pgfleet", "rules": rules}]}))
    tests = [{"interval": "1m", "input_series": series, "alert_rule_test": asked}]
    (folder / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests})
    )
    command = ["promtool", "test", "rules", str(folder / "test.yaml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_rules_are_rules() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("minute", [1, 30, 240])
def test_in_a_fleet_that_is_well_none_fires(tmp_path: Path, minute: int) -> None:
    asked = fired(tmp_path, {}, minute)

    assert asked.returncode == 0, asked.stdout + asked.stderr


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_each_fires_for_its_fault_and_no_other_does(tmp_path: Path, name: str) -> None:
    asked = fired(tmp_path, FAULTS[name], 120, name)

    assert asked.returncode == 0, asked.stdout + asked.stderr


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_each_waits_before_it_fires(tmp_path: Path, name: str) -> None:
    """A moment of trouble wakes nobody."""
    assert fired(tmp_path, FAULTS[name], 1).returncode == 0


def test_a_queue_that_is_paused_waits_for_no_worker(tmp_path: Path) -> None:
    fault = {**FAULTS["PgfleetNobodyTakes"], 'pgfleet_paused{what="disk_operations"}': "1x300"}

    asked = fired(tmp_path, fault, 30)

    assert asked.returncode == 0, asked.stdout + asked.stderr


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_what_each_says_can_be_written(tmp_path: Path, name: str) -> None:
    """Its text is a template, which Prometheus writes without a mistake, and its severity is one of two."""
    rule = ALERTS[name]
    said = [rule["annotations"][key] for key in ("summary", "description")]

    assert all(text and text.count("{{") == text.count("}}") for text in said)
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_each_has_a_section_that_says_what_to_do() -> None:
    page = (REPOSITORY / "deploy/ALERTS.md").read_text()

    assert [line[3:] for line in page.splitlines() if line.startswith("## Pgfleet")] == list(ALERTS)
