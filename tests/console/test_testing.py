"""`pgfleet.testing`, for those who test programs of their own against a fleet: the page's example, and the rest."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pgfleet.console.testing import server
from pgfleet.producers import event as producer
from pgfleet.producers.reservation import create_reservation
from pgfleet.testing import CameElsewhere, TookTooLong, running
from worlds.fleet import PATIENCE_S, REPOSITORY
from worlds.receiver import Receiver, receiving

PAGE = REPOSITORY / "console/testing/README.md"
EXAMPLE = re.compile(r"<!-- example: (\w+\.py) -->\n```python\n(.*?)```", re.DOTALL)
BUILT_OF = ("schema", "producers", "workers", "console", "fixtures", "src", "pyproject.toml", "README.md", "LICENSE")
# An interpreter in which a module can't be found.
WITHOUT = """
import sys
class Nothing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Nothing())
import pgfleet.testing
"""


@pytest.fixture
def template_dsn(server_dsn: str, template: str) -> str:
    return urlsplit(server_dsn)._replace(path=f"/{template}").geturl()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel installs."""
    context, wheel, target = (tmp_path_factory.mktemp(name) for name in ("context", "wheel", "target"))
    for name in BUILT_OF:
        place = REPOSITORY / name
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        if place.is_dir():
            shutil.copytree(place, context / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(place, context / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ("wheel", "--no-index", "--no-deps", "--no-build-isolation", f"--wheel-dir={wheel}", ".")
    subprocess.run([*pip, *build], cwd=context, check=True)
    subprocess.run(
        [*pip, "install", "--no-index", "--no-deps", f"--target={target}", *map(str, wheel.iterdir())], check=True
    )
    return target


def test_the_example_of_the_page_is_a_test_that_passes_where_the_wheel_is_installed(
    installed: Path, tmp_path: Path
) -> None:
    """In a pytest of its own, in an empty folder, with every warning an error."""
    [(name, text)] = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    (tmp_path / name).write_text(text, encoding="utf-8")
    environment = {each: value for each, value in os.environ.items() if not each.startswith(("PGFLEET", "DATABASE"))}
    environment["PYTHONPATH"] = str(installed)

    ended, asked = (
        subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE_S,
            check=False,
        )
        for arguments in (
            ("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir=.", name),
            ("-c", "import pgfleet; print(pgfleet.__file__)"),
        )
    )

    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr
    assert asked.stdout.startswith(str(installed))
    assert len(text.splitlines()) < 30


def test_a_refused_request_ends_the_wait_with_its_reason(template_dsn: str) -> None:
    """And so does a reservation that has ended in another state."""
    with running(template_dsn, ["t4:1x4"]) as fleet:
        too_many = create_reservation(user_id="ada", github_user="ada", gpu_type="t4", gpu_count=4, duration_hours=4)
        fleet.reaches(too_many, "active")
        fleet.conn.execute(
            "select pgmq.send('gpu_reservations', jsonb_build_object('action', 'cancel', 'user_id', 'eve',"
            " 'reservation_id', %s::text))",
            (too_many,),
        )
        with pytest.raises(CameElsewhere, match="does not belong to eve"):
            fleet.reaches(too_many, "cancelled")


def test_trouble_of_the_cluster_is_lived_through_and_told_to_a_webhook(template_dsn: str) -> None:
    """What waits for the end of an outage is no reason not to be settled."""
    with receiving() as receiver, running(template_dsn) as fleet:
        assert os.environ["DATABASE_URL"] == fleet.dsn
        producer.subscribe("ada", receiver.url, machines=["reservation"], states=["active"])
        fleet.settled()
        fleet.box.outage(status=503)
        asked = create_reservation(user_id="ada", github_user="ada", gpu_type="h100", gpu_count=1)
        fleet.until(lambda: any(event.type == "fleet.outage.open" for event in fleet.events("outage")))
        with pytest.raises(TookTooLong):
            fleet.reaches(asked, "active", within_s=0.2)

        fleet.box.clear_faults()
        fleet.move_clock(60)
        fleet.reaches(asked, "active")
        fleet.until(lambda: told(receiver))

    assert told(receiver) == [asked]
    assert os.environ.get("DATABASE_URL") != fleet.dsn


def told(receiver: Receiver) -> list[str]:
    return receiver.subjects


def test_without_workers_what_was_sent_is_there_to_be_looked_at(template_dsn: str) -> None:
    with running(template_dsn, kinds=[]) as fleet:
        create_reservation(user_id="ada", github_user="ada", gpu_type="h100", gpu_count=1)

        sent = fleet.conn.execute("select message ->> 'action' from pgmq.q_gpu_reservations").fetchall()

    assert sent == [("create_reservation",)]


@pytest.mark.parametrize(("module", "extra"), [("aiohttp", "local"), ("dramatiq", "worker"), ("pytest", "testing")])
def test_what_is_not_installed_is_named_with_its_extra(module: str, extra: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module=module)], capture_output=True, text=True, check=False
    )

    assert f"ImportError: pgfleet.testing: {module} is not installed: pip install 'pgfleet[{extra}]'" in ended.stderr
    assert "pip install 'pgfleet[testing]'" in ended.stderr


def test_the_server_of_a_run_that_was_killed_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One whose run goes on stays."""
    monkeypatch.setattr(server, "PLACE", tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, ours = (tmp_path / f"{server.PREFIX}{number}-x" for number in (ended.pid, os.getpid()))
    for folder in (left, ours):
        (folder / "data").mkdir(parents=True)

    server.remove_left()

    assert (left.exists(), ours.exists()) == (False, True)
