"""Containers of the image, by podman, as a cluster runs them: a root that can't be written to, no capability."""

import json
import re
import resource
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from worlds.fleet import PATIENCE_S, REPOSITORY, until
from worlds.network.ports import free_port

# What the chart's pods are: its restricted security context. They share the network of the machine, where all else is.
RESTRICTED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host")
# As Kubernetes waits before it kills: longer than a worker takes to drain.
GRACE_S = 90


def podman(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=PATIENCE_S * 2, check=False)
    assert not check or ended.returncode == 0, f"podman {arguments[0]}: {ended.stdout}{ended.stderr}"
    return ended


def built(tag: str, *, base: str, version: str) -> str:
    """The image of this checkout, by the target that people use; its id."""
    given = ("image", f"TAG={tag}", f"VERSION={version}", *([f"BASE={base}"] if base else []))
    subprocess.run(["make", *given], cwd=REPOSITORY, check=True)
    return podman("image", "inspect", "--format={{.Id}}", tag).stdout.strip()


def _limits() -> Iterator[str]:
    """Less than what this process has: without CAP_SYS_RESOURCE, podman's own defaults are more than one may give."""
    for name, number, most in (("nofile", resource.RLIMIT_NOFILE, 8192), ("nproc", resource.RLIMIT_NPROC, 4096)):
        hard = resource.getrlimit(number)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(hard, most)
        yield f"--ulimit={name}={limit}:{limit}"


def _options(environment: Mapping[str, Any], volumes: Mapping[Path, str]) -> list[str]:
    given = [f"--env={name}={value}" for name, value in environment.items()]
    return [*RESTRICTED, *_limits(), *given, *(f"--volume={path}:{place}:ro" for path, place in volumes.items())]


@dataclass(frozen=True)
class Container:
    """One that runs, or has ended; its port for metrics is open at this machine."""

    name: str
    metrics_port: int

    def log(self) -> str:
        """What it wrote, to stdout and stderr."""
        ended = podman("logs", self.name)
        return ended.stdout + ended.stderr

    def complaints(self) -> list[str]:
        """The lines of its log that are warnings or worse, or no JSON where only JSON is expected."""
        return [
            line
            for line in self.log().splitlines()
            if re.search(r'"level": ?"(warning|error|critical)"|Traceback', line)
        ]

    def running(self) -> bool:
        return self._state("Running") == "true"

    def exit_code(self) -> int:
        return int(self._state("ExitCode"))

    def healthy(self) -> bool:
        """Whether the image's own health check passes, asked now."""
        return podman("healthcheck", "run", self.name, check=False).returncode == 0

    def stop(self) -> int:
        """As a rolling upgrade does: SIGTERM, and SIGKILL much later; how it ended."""
        podman("stop", f"--time={GRACE_S}", self.name)
        return self.exit_code()

    def _state(self, field: str) -> str:
        return podman("inspect", f"--format={{{{.State.{field}}}}}", self.name).stdout.strip()


@dataclass
class Machine:
    """The containers of a test: by their names, the newest last, all gone in the end."""

    environment: Mapping[str, Any]
    volumes: Mapping[Path, str]
    all: list[Container] = field(default_factory=list)

    def start(self, image: str, *command: str, **environment: Any) -> Container:
        name, port = f"pgfleet-test-{uuid.uuid4().hex[:8]}", free_port()
        own = {**self.environment, "PGFLEET_METRICS_PORT": port, **environment}
        self.all.append(Container(name, port))
        podman("run", "--detach", f"--name={name}", *_options(own, self.volumes), image, *command)
        return self.all[-1]

    def run(self, image: str, *command: str, **environment: Any) -> str:
        """To its end; what it wrote to stdout."""
        own = {**self.environment, **environment}
        return podman("run", "--rm", *_options(own, self.volumes), image, *command).stdout

    def healthy(self, *containers: Container) -> None:
        for each in containers:
            until(partial(_settled, each), what=f"the health of {each.name}")
            assert each.running(), each.log()


def _settled(container: Container) -> bool:
    return container.healthy() or not container.running()


@contextmanager
def machine(environment: Mapping[str, Any], volumes: Mapping[Path, str]) -> Iterator[Machine]:
    made = Machine(environment, volumes)
    try:
        yield made
    finally:
        for each in made.all:
            podman("rm", "--force", "--time=0", each.name, check=False)


def inspected(image: str) -> dict[str, Any]:
    (found,) = json.loads(podman("image", "inspect", image).stdout)
    return dict(found)
