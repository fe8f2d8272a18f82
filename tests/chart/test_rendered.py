"""What is rendered from the chart, or told it by the code, is in step with it."""

import subprocess
import sys

import pytest

from pgfleet.console.commands.running.worker import kinds
from worlds.chart.rendering import CHART, ROOT


@pytest.mark.parametrize(
    "program", [("manifests.py",), ("schema_hash.py",), ("kustomized.py", "helm"), ("dashboards.py",)]
)
def test_what_is_written_by_a_program_is_what_it_would_write(program: tuple[str, ...]) -> None:
    command = [sys.executable, f"deploy/{program[0]}", *program[1:], "--check"]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_chart_has_a_file_for_each_kind_and_no_others() -> None:
    assert {path.stem for path in (CHART / "kinds").glob("*.yaml")} == set(kinds())
