"""`pgfleet serve` as an operator starts it: a process of its own, whose stderr is a file."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from worlds.fleet import PATIENCE_S, REPOSITORY, until

URL = re.compile(r"^(http://\S+)  \(what there is", re.MULTILINE)


@dataclass(frozen=True)
class Process:
    """One that answers; `metrics_url` is its port for operators."""

    running: subprocess.Popen[bytes]
    url: str
    metrics_url: str
    log: Path

    def ready(self) -> httpx.Response:
        return get(f"{self.url}/readyz")

    def counted(self, name: str, **labels: str) -> float:
        """What a metric says now; 0 where it has not been counted yet."""
        families = text_string_to_metric_families(get(f"{self.metrics_url}/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())

    def ended(self) -> int:
        return self.running.wait(PATIENCE_S)


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=PATIENCE_S, trust_env=False)


def started(dsn: str, log: Path, *arguments: str, **settings: Any) -> subprocess.Popen[bytes]:
    own = {f"PGFLEET_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pgfleet.console.main", "serve", *arguments],
            env={**os.environ, "DATABASE_URL": dsn, **own},
            cwd=REPOSITORY,
            stderr=output,
            start_new_session=True,
        )


@contextmanager
def serving_process(dsn: str, folder: Path, **settings: Any) -> Iterator[Process]:
    """It has begun to answer; at the end of the block it is killed, unless it has ended."""
    log, port = folder / "serve.log", free_port()
    running = started(dsn, log, "--port", "0", metrics_port=port, **settings)
    try:
        found = until(lambda: URL.search(log.read_text()) or running.poll() is not None, what="its URL")
        assert isinstance(found, re.Match), log.read_text()
        yield Process(running, found[1], f"http://127.0.0.1:{port}", log)
    finally:
        running.kill()
        running.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
