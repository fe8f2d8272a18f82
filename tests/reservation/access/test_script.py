"""The script that starts Jupyter in a pod, run by a real shell with a program called `jupyter` that opens the port."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgfleet.workers.clients.kubernetes.inside.jupyter import look_script, start_script, stop_script
from worlds.fleet import until

OPENS = f"""#!{sys.executable}
import os, socket, sys, time
if "--version" in sys.argv:
    sys.exit(0)
print(os.environ["JUPYTER_TOKEN"] + " in the environment", flush=True)
port = int(next(each for each in sys.argv if each.startswith("--port=")).partition("=")[2])
listening = socket.create_server(("127.0.0.1", port))
time.sleep(600)
"""
ENDS = "#!/bin/sh\n[ \"$2\" = --version ] || { echo 'no kernel here'; exit 1; }\n"


@dataclass
class Pod:
    """A folder instead of a container."""

    folder: Path
    port: int

    def image_has(self, program: str) -> None:
        (self.folder / "bin").mkdir(exist_ok=True)
        path = self.folder / "bin" / "jupyter"
        path.write_text(program)
        path.chmod(0o755)

    def run(self, script: str, typed: str = "") -> list[str]:
        path = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"}
        ended = subprocess.run(
            ["/bin/sh", "-c", script, "test"], input=typed, env=path, capture_output=True, text=True, check=False
        )
        return ended.stdout.splitlines()

    def start(self, token: str = "t1") -> list[str]:  # noqa: S107  # no secret
        return self.run(start_script(self.port, str(self.folder / "jupyter"), str(self.folder)), f"{token}\n")

    def look(self) -> list[str]:
        return self.run(look_script(self.port, str(self.folder / "jupyter")))

    def stop(self) -> list[str]:
        return self.run(stop_script(str(self.folder / "jupyter")))

    @property
    def pid(self) -> int:
        return int((self.folder / "jupyter" / "pid").read_text())

    def is_open(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = Pod(tmp_path, port)
    yield running
    running.stop()


def test_it_runs_with_the_token_in_its_environment_alone(pod: Pod) -> None:
    pod.image_has(OPENS)

    assert pod.start("t1") == ["running"]

    assert b"t1" not in Path(f"/proc/{pod.pid}/cmdline").read_bytes()
    assert (pod.folder / "jupyter" / "log").read_text() == "t1 in the environment\n"
    assert (pod.folder / "jupyter" / "token").stat().st_mode & 0o077 == 0


def test_started_twice_it_is_started_once(pod: Pod) -> None:
    pod.image_has(OPENS)
    pod.start()
    before = pod.pid

    assert pod.start() == ["running"]

    assert pod.pid == before


def test_another_token_ends_the_one_before(pod: Pod) -> None:
    pod.image_has(OPENS)
    pod.start("t1")
    before = pod.pid

    assert pod.start("t2") == ["running"]

    assert pod.pid != before
    assert (pod.folder / "jupyter" / "log").read_text() == "t2 in the environment\n"


def test_an_image_without_it_says_so(pod: Pod) -> None:
    assert pod.start() == ["missing"]


def test_a_port_that_another_program_has_is_told(pod: Pod) -> None:
    pod.image_has(OPENS)

    with socket.create_server(("127.0.0.1", pod.port)):
        assert pod.start() == ["taken"]


def test_what_it_wrote_last_is_told_where_it_ends_at_once(pod: Pod) -> None:
    pod.image_has(ENDS)

    assert pod.start() == ["failed", "no kernel here"]


def test_one_that_has_died_is_started_again(pod: Pod) -> None:
    pod.image_has(OPENS)
    pod.start()
    os.kill(pod.pid, signal.SIGKILL)
    until(lambda: not pod.is_open())

    assert pod.start() == ["running"]


def test_stopped_its_port_is_closed_and_nothing_of_it_is_left(pod: Pod) -> None:
    pod.image_has(OPENS)
    pod.start()

    assert pod.stop() == ["stopped"]

    until(lambda: not pod.is_open())
    assert not (pod.folder / "jupyter").exists()


def test_a_look_sees_that_it_runs_and_how_it_ended(pod: Pod) -> None:
    pod.image_has(OPENS)
    pod.start("t1")

    running = pod.look()
    os.kill(pod.pid, signal.SIGKILL)
    until(lambda: not pod.is_open())
    ended = pod.look()

    assert running == ["running"]
    assert ended == ["ended", "t1 in the environment"]


def test_a_look_takes_nobody_else_for_it(pod: Pod) -> None:
    pod.image_has(OPENS)
    pod.start()
    os.kill(pod.pid, signal.SIGKILL)
    until(lambda: not pod.is_open())

    with socket.create_server(("127.0.0.1", pod.port)):
        seen = pod.look()
        (pod.folder / "jupyter" / "pid").unlink()
        unknown = pod.look()

    assert seen[0] == "ended"
    assert unknown == ["running"], "nobody knows whose it is, and it answers"
