"""The processes that `pgfleet up` and `pgfleet demo` start: the sandbox and workers. They never outlive it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pgfleet.console.commands.running.worker import kinds
from pgfleet.console.sandbox.aws.handle import BUCKET
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.errors import FleetError
from pgfleet.schema.settings import read_settings

# Beyond the time that a worker has to end by itself.
PATIENCE_S = 5.0
# How long a server may take to listen, and how often it is looked for.
START_S, LOOK_S = 60.0, 0.1
# The API's, where it is free.
FIRST_PORT = 8080
SHOWN_LINES = 15


@dataclass(frozen=True)
class Child:
    """One process. It is in a session of its own: Ctrl-C reaches only its parent, which ends its children in order."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def end_of_log(self) -> str:
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-SHOWN_LINES:]) or "(its log is empty)"

    def stop(self, until: float) -> None:
        """Wait for it to end after SIGTERM; kill it with all its processes if it has not by then (time.monotonic)."""
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass(frozen=True)
class Children:
    """Starts processes with one environment, whose logs are files in one folder."""

    folder: Path
    environment: Mapping[str, str]
    workers: list[Child] = field(default_factory=list)
    others: list[Child] = field(default_factory=list)

    def sandbox(self, nodes: Sequence[str], **options: float) -> Box:
        """Start the servers that stand for a cluster, AWS and GitHub.

        Raises:
            FleetError: it ended before it listened.
        """
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        place = [f"--kubeconfig={self.folder / 'kubeconfig'}", f"--nodes={','.join(nodes)}", "--aws"]
        child = self._start("sandbox", ["-m", "pgfleet.console.sandbox", "--exit-with-parent", *place, *flags])
        self.others.append(child)
        line = child.process.stdout.readline() if child.process.stdout else ""
        if not line:
            raise FleetError(f"The sandbox did not start:\n{child.end_of_log()}")
        answer = json.loads(line)
        return Box(answer["url"], answer["kubeconfig"], answer["aws_url"])

    def all_workers(self, settings: Mapping[str, str], *, reservation: int, without: Container[str] = ()) -> None:
        """Start a worker of every kind that is found, and as many as asked for of reservations."""
        for kind in kinds():
            if kind not in without:
                for number in range(1, (reservation if kind == "reservation" else 1) + 1):
                    self.worker(kind, settings, number)

    def worker(self, kind: str, settings: Mapping[str, str], number: int) -> None:
        """Start a worker process of a kind, with settings of its own."""
        command = ["-m", "pgfleet.console.main", "worker", kind, f"--parent={os.getpid()}"]
        self.workers.append(self._start(f"{kind}-worker-{number}", command, settings))

    def api(self, settings: Mapping[str, str]) -> str:
        """Start the HTTP API, at 8080 where that is free; its URL."""
        port = _free_port()
        command = ["-m", "pgfleet.console.main", "serve", f"--port={port}", f"--parent={os.getpid()}"]
        self.workers.append(self._start("api", command, settings))
        return f"http://127.0.0.1:{port}"

    def wait_for(self, url: str) -> None:
        """Until somebody listens there.

        Raises:
            FleetError: it ended before, or took too long.
        """
        place, until = urlsplit(url), time.monotonic() + START_S
        while time.monotonic() < until:
            self.check()
            with suppress(OSError), socket.create_connection((place.hostname or "", place.port or 80), timeout=1):
                return
            time.sleep(LOOK_S)
        raise FleetError(f"Nothing listens at {url} after {START_S:g} s; see the logs in {self.folder}.")

    def check(self) -> None:
        """Raises FleetError if one has ended, with the end of its log."""
        for child in (*self.workers, *self.others):
            code = child.process.poll()
            if code is not None:
                raise FleetError(f"The {child.name} ended with code {code}:\n{child.end_of_log()}")

    def _start(self, name: str, arguments: list[str], more: Mapping[str, str] | None = None) -> Child:
        log = self.folder / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: S603  # our own program, no shell
                # -P: nothing is imported from the folder in which we were called.
                [sys.executable, "-P", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if name == "sandbox" else output,
                stderr=output,
                env={**self.environment, **(more or {})},
                text=True,
                start_new_session=True,
            )
        return Child(name, process, log)


def _free_port() -> int:
    for port in (FIRST_PORT, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as listening:
            return int(listening.getsockname()[1])
    raise FleetError("No port of 127.0.0.1 is free for the HTTP API.")


@contextmanager
def children(folder: Path, environment: Mapping[str, str]) -> Iterator[Children]:
    """Processes that end with this block: the workers first, while the sandbox that they call still answers."""
    started = Children(folder, environment)
    try:
        yield started
    finally:
        for group in (started.workers, started.others):
            for child in group:
                child.process.terminate()
            until = time.monotonic() + read_settings().drain_s + PATIENCE_S
            for child in group:
                child.stop(until)
                if child.process.stdout:
                    child.process.stdout.close()


def cluster_settings(box: Box) -> dict[str, str]:
    """The settings that make a worker work with a sandbox instead of a real cluster and AWS."""
    return {
        "PGFLEET_KUBECONFIG": box.kubeconfig,
        "PGFLEET_SSH_KEYS_URL": box.ssh_keys_url + "/{user}.keys",
        "PGFLEET_CONTENTS_BUCKET": BUCKET,
        **box.aws_environment,
    }
