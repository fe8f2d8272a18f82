"""The workflow and the gate's script ask for what there is, and a shell understands them; no file is half merged."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from worlds.fleet import REPOSITORY

GATE = REPOSITORY / ".ci/run"
WORKFLOW = REPOSITORY / ".github/workflows/checks.yml"
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
# The workflow's own, filled in before a shell sees them.
EXPRESSION = re.compile(r"\$\{\{.*?\}\}")
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
ASKED = re.compile(r"^.*?\bmake ([a-z0-9-]+)|\|\| make ([a-z0-9-]+)|^until_s \d+ ([a-z0-9-]+)", re.MULTILINE)


def tracked() -> list[Path]:
    """All files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name]


def blocks() -> Iterator[tuple[str, str]]:
    """Each `run:` of the workflow with its place."""
    for job, found in JOBS.items():
        for number, step in enumerate(found["steps"]):
            if "run" in step:
                yield f"{job} {number}", EXPRESSION.sub("x", step["run"])


def scripts() -> dict[str, str]:
    shell = re.compile(rb"#!\S*[ /](?:ba)?sh\b")
    files = [path for path in tracked() if path.is_file() and shell.match(path.read_bytes()[:40])]
    return {str(path.relative_to(REPOSITORY)): path.read_text("utf-8") for path in files}


SCRIPTS = scripts()


def test_the_gate_is_among_the_scripts() -> None:
    assert ".ci/run" in SCRIPTS


@pytest.mark.parametrize(("place", "text"), [*SCRIPTS.items(), *blocks()], ids=str)
def test_a_shell_understands_it(place: str, text: str) -> None:
    read = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)

    assert (read.returncode, read.stderr) == (0, ""), place


@pytest.mark.parametrize(("place", "text"), [*SCRIPTS.items(), *blocks()], ids=str)
def test_each_target_that_it_asks_make_for_is_one(place: str, text: str) -> None:
    asked = {name for found in ASKED.findall(text) for name in found if name}

    assert asked - TARGETS == set(), place


def test_the_gate_asks_for_what_has_to_pass() -> None:
    asked = {name for found in ASKED.findall(SCRIPTS[".ci/run"]) for name in found if name}

    assert {"quick", "test", "chart-test", "recovery-test"} <= asked


def test_what_the_workflow_runs_tests_of_is_there() -> None:
    named = {path for _, text in blocks() for path in re.findall(r"(?<!\S)tests/[\w/]+", text)}

    assert named
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []


def test_no_file_is_half_merged() -> None:
    # Begun and ended so: a line of `=` alone is a heading, too.
    marker = re.compile(rb"^(?:<{7}|>{7}|\|{7})(?: |$)", re.MULTILINE)

    assert [str(path) for path in tracked() if path.is_file() and marker.search(path.read_bytes())] == []
