"""The reference of metrics is that of the code, and alerts are about metrics that there are."""

import re
import subprocess
import sys

import yaml

from worlds.fleet import REPOSITORY

RULES = REPOSITORY / "deploy/chart/files/alerts.yaml"
PAGE = REPOSITORY / "deploy/METRICS.md"


def test_the_reference_is_that_of_the_code() -> None:
    written = "import sys; sys.path.insert(0, 'deploy'); from metrics import page; print(page(), end='')"

    made = subprocess.run(
        [sys.executable, "-c", written], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout

    assert made == PAGE.read_text(), "run make generated"


def test_every_metric_of_an_alert_is_one_that_there_is() -> None:
    known = set(re.findall(r"^\| `(pgfleet_\w+)`", PAGE.read_text(), re.MULTILINE))
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]

    asked = {re.sub(r"_bucket$", "", name) for rule in rules for name in re.findall(r"pgfleet_\w+", rule)}

    assert asked - known == set()
