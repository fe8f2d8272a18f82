"""What is installed: each package pinned with hashes, from no host that is named, and under a licence that is fine."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINS = ROOT / "deploy" / "constraints"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FILES = ("build", "worker", "dev")
# The image runs workers and the HTTP API, and may send traces.
IN_FILES = [("worker", "worker"), ("worker", "serve"), ("worker", "otel"), ("dev", "dev")]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def pinned(file: str) -> dict[str, str]:
    """Versions by names. Each line that begins one is followed by its hashes; nothing else is in the file."""
    versions: dict[str, str] = {}
    text = (PINS / f"{file}.txt").read_text("utf-8")
    for entry in re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines():
        words = entry.split(" --", 1)[0]
        hashes = entry[len(words) :].split()
        assert hashes, entry
        assert all(HASH.fullmatch(each) for each in hashes), entry
        wanted = Requirement(words)
        (version,) = wanted.specifier
        assert version.operator == "==", entry
        versions[canonicalize_name(wanted.name)] = version.version
    return versions


def asked_for(extra: str) -> list[Requirement]:
    """What pyproject.toml asks for with an extra, with those that it contains, and without any."""
    direct = PROJECT["project"]["optional-dependencies"].get(extra, PROJECT["project"]["dependencies"])
    found = []
    for wanted in map(Requirement, direct):
        contained = [*wanted.extras, ""] if wanted.name == "pgfleet" else []
        found += [each for name in contained for each in asked_for(name)] or [wanted]
    return found


@pytest.mark.parametrize("file", FILES)
def test_no_host_is_named(file: str) -> None:
    text = (PINS / f"{file}.txt").read_text("utf-8")

    assert not re.search(r"://|-index|--find-links|--trusted-host", text)


@pytest.mark.parametrize(("file", "extra"), IN_FILES)
def test_all_that_is_asked_for_is_pinned_at_a_version_that_will_do(file: str, extra: str) -> None:
    versions = pinned(file)

    for wanted in asked_for(extra):
        assert versions[canonicalize_name(wanted.name)] in wanted.specifier, wanted


@pytest.mark.parametrize(("file", "extra"), IN_FILES)
def test_all_that_comes_with_it_is_pinned_too(file: str, extra: str) -> None:
    needed = runpy.run_path(str(ROOT / "deploy" / "licences.py"))["needed"]

    names = {canonicalize_name(name) for name in needed("pgfleet", frozenset({extra}))} - {"pgfleet"}

    assert names <= pinned(file).keys()
    assert len(names) > 15


def test_what_builds_the_project_is_pinned() -> None:
    for text in PROJECT["build-system"]["requires"]:
        wanted = Requirement(text)

        assert pinned("build")[canonicalize_name(wanted.name)] in wanted.specifier


def test_the_image_has_the_versions_that_the_tests_ran_with() -> None:
    tested = pinned("dev")

    assert {**tested, **pinned("worker"), **pinned("build")} == tested


def test_the_base_of_the_image_is_named_once() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text("utf-8").splitlines()

    assert [line for line in lines if "python:" in line] == ["ARG BASE=python:3.11-slim"]
    assert [line.split()[1] for line in lines if line.startswith("FROM")] == ["${BASE}", "${BASE}"]


def test_every_licence_is_known_to_be_fine() -> None:
    program = [sys.executable, str(ROOT / "deploy" / "licences.py")]

    ended = subprocess.run(program, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "psycopg" in ended.stdout


@pytest.mark.parametrize("said", ["GPL-3.0-only", "GPL-3.0-only AND (MIT OR Apache-2.0)", "unknown", "MIT AND x"])
def test_a_licence_that_is_not_known_to_be_fine_is_told(said: str) -> None:
    is_fine = runpy.run_path(str(ROOT / "deploy" / "licences.py"))["is_fine"]

    assert not is_fine(said)
