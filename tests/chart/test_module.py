"""The module of deploy/tofu: it can be read, is in its format, and says of the chart what the chart knows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from worlds.chart.rendering import ROOT, VARIANTS, named, rendered

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "deploy" / "tofu"
FILES = sorted(FOLDER.rglob("*.hcl")) + sorted(FOLDER.glob("*.tf"))
READ = "import hcl2, json, sys; print(json.dumps(hcl2.load(sys.stdin)))"


def read(path: Path) -> dict[str, Any]:
    program = [str(ROOT / ".venv-chart" / "bin" / "python"), "-c", READ]
    ended = subprocess.run(program, input=path.read_text("utf-8"), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_can_be_read(path: Path) -> None:
    assert read(path)


def test_files_are_in_their_format() -> None:
    # Where there is neither, the workflow looks.
    for program in filter(shutil.which, ("tofu", "terraform")):
        command = [program, "fmt", "-check", "-diff", "-recursive", str(FOLDER)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout


def test_each_variable_and_output_says_what_it_is() -> None:
    for name in ("variables.tf", "outputs.tf"):
        for block in re.split(r"^(?=variable|output)", (FOLDER / name).read_text("utf-8"), flags=re.MULTILINE)[1:]:
            assert "description" in block, block.splitlines()[0]


def test_what_it_gives_to_the_chart_are_values_of_the_chart() -> None:
    text = (FOLDER / "release.tf").read_text("utf-8")
    given = set(re.findall(r"^    (\w+) +=", text.partition("given = {")[2].partition("\n  }")[0], flags=re.MULTILINE))
    values = yaml.safe_load((ROOT / "deploy" / "chart" / "values.yaml").read_text("utf-8"))

    assert given == {"image", "reservations", "settings", "workers"}
    assert given <= values.keys()


def test_the_database_of_its_own_is_reached_as_the_variant_of_the_chart_reaches_it() -> None:
    variant = yaml.safe_load(VARIANTS["cloudnativepg"].read_text("utf-8"))["database"]
    text = (FOLDER / "release.tf").read_text("utf-8")

    assert variant["address"].replace("postgres:5432", "${var.postgres.namespace}:5432") in text
    assert f'"{variant["caSecret"]}"' in text


def test_the_database_of_its_own_lets_the_pods_of_the_chart_in() -> None:
    documents = yaml.safe_load_all((ROOT / "deploy" / "postgres" / "cloudnativepg.yaml").read_text("utf-8"))
    (policy,) = (each for each in documents if each["kind"] == "NetworkPolicy")
    (worker, *_) = policy["spec"]["ingress"][0]["from"]

    labels = named(rendered(), "Deployment", "pgfleet-disk")["spec"]["template"]["metadata"]["labels"]

    assert worker["podSelector"]["matchLabels"].items() <= labels.items()
    assert worker["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "gpu-controlplane"}
