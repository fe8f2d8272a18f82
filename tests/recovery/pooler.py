"""A PgBouncer in transaction mode between workers and the server, at a port that stays."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pgbouncer.pooler import answers, configuration, start
from pgfleet.console.local.pginstall import find_programs
from recovery.servers import Server, free_port
from worlds.fleet import until


@dataclass
class Pooler:
    """At a port that stays, whoever runs there."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}"

    @property
    def dsn(self) -> str:
        return f"{self.url}/pgfleet"

    def start(self) -> None:
        with (self.folder / "pgbouncer.log").open("ab") as said:
            account = find_programs(self.folder).account
            self.process = process = start(self.folder / "pgbouncer.ini", said.fileno(), account)
        until(lambda: process.poll() is not None or answers(self.url), what="PgBouncer's start")
        assert process.poll() is None, (self.folder / "pgbouncer.log").read_text("utf-8")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextmanager
def pooler_to(server: Server, folder: Path) -> Iterator[Pooler]:
    pooler = Pooler(folder)
    (folder / "pgbouncer.ini").write_text(configuration(server.dsn, pooler.port), encoding="utf-8")
    pooler.start()
    try:
        yield pooler
    finally:
        pooler.kill()
